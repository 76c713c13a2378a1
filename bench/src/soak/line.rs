//! A straight line through figures over time.

use anyhow::{Result, ensure};

/// The line with the least squares of distances.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// The mean of the figures.
    pub mean: f64,
    /// By how much it rises in a second.
    pub per_s: f64,
    /// By how much it rises from the first figure to the last.
    pub rise: f64,
    /// The greatest figure.
    pub max: f64,
}

impl Line {
    /// Through points of (second, figure), in the order of time.
    ///
    /// # Errors
    /// When there are less than ten.
    pub fn through(points: impl Iterator<Item = (f64, f64)>) -> Result<Self> {
        let points: Vec<(f64, f64)> = points.collect();
        ensure!(
            points.len() >= 10,
            "{} looks are too few to judge by: run it for longer",
            points.len()
        );
        let count = points.len() as f64;
        let mean_of = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (at, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let with = points
            .iter()
            .map(|point| (point.0 - at) * (point.1 - mean))
            .sum::<f64>();
        let square = points.iter().map(|point| (point.0 - at).powi(2)).sum::<f64>();
        let per_s = if square > 0.0 { with / square } else { 0.0 };
        Ok(Self {
            mean,
            per_s,
            rise: per_s * (points[points.len() - 1].0 - points[0].0),
            max: points.iter().map(|point| point.1).fold(f64::MIN, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(figure: impl Fn(f64) -> f64) -> Line {
        Line::through((0..301).map(|at| (2.0 * f64::from(at), figure(f64::from(at))))).expect("enough")
    }

    #[test]
    fn what_goes_up_and_down_is_flat_and_what_leaks_is_not() {
        let saw = |at: f64| 500.0 + (at % 30.0);
        let flat = line(saw);
        assert!(flat.rise.abs() < 0.01 * flat.mean, "{flat:?}");
        // A leak of 5 %, below the teeth.
        let leak = line(|at| saw(at) + 0.0875 * at);
        assert!(
            leak.rise > 0.045 * leak.mean && leak.rise < 0.055 * leak.mean,
            "{leak:?}"
        );
        let shrinking = line(|at| 1_000.0 - at);
        assert!(
            (shrinking.rise + 300.0).abs() < 1e-6 && (shrinking.per_s + 0.5).abs() < 1e-9,
            "{shrinking:?}"
        );
        assert!(Line::through((0..9).map(|at| (f64::from(at), 1.0))).is_err());
    }
}
