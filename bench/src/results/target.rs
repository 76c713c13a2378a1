//! What a figure should be, and whether it is.

use std::fmt::{self, Display};

/// The side on which a figure should lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

/// A target and what was measured of it; its display is a line of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What the figure is, with its unit.
    pub what: String,
    /// What it should be.
    pub bound: Bound,
    /// What it is; `None` when the run could not tell, because no rivals were given, say.
    pub measured: Option<f64>,
}

impl Target {
    /// A figure that should be this much or more.
    pub fn at_least(what: impl Into<String>, bound: f64, measured: Option<f64>) -> Self {
        Self {
            what: what.into(),
            bound: Bound::AtLeast(bound),
            measured,
        }
    }

    /// A figure that should be this much or less.
    pub fn at_most(what: impl Into<String>, bound: f64, measured: Option<f64>) -> Self {
        Self {
            what: what.into(),
            bound: Bound::AtMost(bound),
            measured,
        }
    }

    fn is_met(&self, measured: f64) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => measured >= bound,
            Bound::AtMost(bound) => measured <= bound,
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = match self.bound {
            Bound::AtLeast(bound) => format!("at least {bound}"),
            Bound::AtMost(bound) => format!("at most {bound}"),
        };
        write!(f, "* target: {}, {bound}: ", self.what)?;
        match self.measured {
            None => write!(f, "not measured"),
            Some(measured) if self.is_met(measured) => write!(f, "{measured:.2}, met"),
            Some(measured) => write!(f, "{measured:.2}, **missed**"),
        }
    }
}

/// The targets as a list.
pub fn list(targets: &[Target]) -> String {
    let lines: String = targets.iter().map(|target| format!("{target}\n")).collect();
    format!("\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_met_says_so() {
        let speed = |measured| Target::at_least("speed", 0.7, measured).to_string();
        assert_eq!(speed(Some(0.7)), "* target: speed, at least 0.7: 0.70, met");
        assert_eq!(speed(Some(0.694)), "* target: speed, at least 0.7: 0.69, **missed**");
        assert_eq!(speed(None), "* target: speed, at least 0.7: not measured");
        let cost = |measured| Target::at_most("cost", 2.0, measured).to_string();
        assert_eq!(cost(Some(1.5)), "* target: cost, at most 2: 1.50, met");
        assert_eq!(cost(Some(2.5)), "* target: cost, at most 2: 2.50, **missed**");
    }
}
