//! A picture of curves, one panel a figure: over the number of devices, on a logarithmic axis, or over time.

use super::font::{HEIGHT, WIDTH, glyph};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Dots of a panel.
const PANEL_WIDTH: usize = 480;
const PANEL_HEIGHT: usize = 360;
/// Room around the axes of a panel.
const LEFT: usize = 90;
const RIGHT: usize = 30;
const TOP: usize = 50;
const BOTTOM: usize = 60;

/// Dots of the picture for each dot of a glyph.
const SCALE: usize = 2;
/// Dots from the start of a glyph to that of the next.
const STEP: usize = (WIDTH + 1) * SCALE;

/// Steps of the vertical axis.
const TICKS: usize = 5;

const WHITE: u8 = 255;
const GREY: u8 = 220;
const BLACK: u8 = 0;

/// A point of a curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name on the axis; without one it is only a part of the curve.
    pub label: String,
    /// How far right it is.
    pub x: f64,
    /// The figure's median.
    pub median: f64,
    /// Its least value.
    pub min: f64,
    /// Its greatest value.
    pub max: f64,
}

/// What a figure is drawn over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// A logarithmic axis of this name.
    Logarithmic(&'static str),
    /// An even axis of this name.
    Even(&'static str),
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What the figure is, with its unit.
    pub title: String,
    /// What is below it.
    pub axis: Axis,
    /// The curve, from left to right.
    pub points: Vec<Point>,
}

/// Draws panels side by side into a PNG file.
///
/// # Errors
/// When a panel has less than two points, or the file can't be written.
pub fn write(path: &Path, panels: &[Panel]) -> Result<()> {
    let mut canvas = Canvas::new(PANEL_WIDTH * panels.len(), PANEL_HEIGHT);
    for (place, panel) in panels.iter().enumerate() {
        ensure!(panel.points.len() > 1, "{} has no curve", panel.title);
        draw(&mut canvas, place * PANEL_WIDTH, panel);
    }
    let what = || format!("cannot write {}", path.display());
    let file = BufWriter::new(File::create(path).with_context(what)?);
    let mut encoder = png::Encoder::new(file, canvas.width as u32, canvas.height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&canvas.dots))
        .with_context(what)
}

/// Where a panel's figures are on the canvas.
struct Scale {
    left: usize,
    axis: Axis,
    x_range: (f64, f64),
    y_max: f64,
}

impl Scale {
    fn x(&self, x: f64) -> usize {
        let (from, to) = self.x_range;
        let share = match self.axis {
            Axis::Logarithmic(_) => (x.ln() - from.ln()) / (to.ln() - from.ln()),
            Axis::Even(_) => (x - from) / (to - from),
        };
        self.left + (share * (PANEL_WIDTH - LEFT - RIGHT) as f64).round() as usize
    }

    fn y(&self, y: f64) -> usize {
        let height = (PANEL_HEIGHT - TOP - BOTTOM) as f64;
        PANEL_HEIGHT - BOTTOM - (y / self.y_max * height).round() as usize
    }
}

fn draw(canvas: &mut Canvas, at: usize, panel: &Panel) {
    let points = &panel.points;
    let greatest = points.iter().map(|point| point.max).fold(0.0, f64::max);
    let tick = tick_of(greatest);
    let scale = Scale {
        left: at + LEFT,
        axis: panel.axis,
        x_range: (points[0].x, points[points.len() - 1].x),
        y_max: tick * TICKS as f64,
    };
    let (right, floor) = (at + PANEL_WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM);
    canvas.text(at + PANEL_WIDTH / 2, TOP / 2, &panel.title);
    let (Axis::Logarithmic(name) | Axis::Even(name)) = panel.axis;
    canvas.text(at + PANEL_WIDTH / 2, PANEL_HEIGHT - BOTTOM / 3, name);
    for step in 0..=TICKS {
        let value = tick * step as f64;
        let y = scale.y(value);
        canvas.line((scale.left, y), (right, y), if step == 0 { BLACK } else { GREY });
        let label = short(value);
        canvas.text(scale.left - 12 - label.len() * STEP / 2, y, &label);
    }
    canvas.line((scale.left, scale.y(scale.y_max)), (scale.left, floor), BLACK);
    for point in points.iter().filter(|point| !point.label.is_empty()) {
        let x = scale.x(point.x);
        canvas.line((x, floor), (x, floor + 5), BLACK);
        canvas.text(x, floor + 18, &point.label);
        canvas.line((x, scale.y(point.min)), (x, scale.y(point.max)), BLACK);
        canvas.square(x, scale.y(point.median), 3);
    }
    for pair in points.windows(2) {
        let [from, to] = [&pair[0], &pair[1]].map(|point| (scale.x(point.x), scale.y(point.median)));
        canvas.line(from, to, BLACK);
        canvas.line((from.0, from.1 + 1), (to.0, to.1 + 1), BLACK);
    }
}

/// A round step, five of which reach a figure.
fn tick_of(greatest: f64) -> f64 {
    let least = (greatest / TICKS as f64).max(f64::MIN_POSITIVE);
    let power = 10.0_f64.powf(least.log10().floor());
    let rounds = [1.0, 2.0, 2.5, 5.0, 10.0].map(|round| round * power);
    rounds.into_iter().find(|round| *round >= least).unwrap_or(10.0 * power)
}

/// A number of the vertical axis.
fn short(value: f64) -> String {
    match value {
        _ if value >= 10_000.0 => format!("{:.0}k", value / 1e3),
        _ => format!("{value:.0}"),
    }
}

/// Dots from white to black, row by row.
struct Canvas {
    width: usize,
    height: usize,
    dots: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            dots: vec![WHITE; width * height],
        }
    }

    fn dot(&mut self, x: usize, y: usize, shade: u8) {
        if x < self.width && y < self.height {
            self.dots[y * self.width + x] = shade;
        }
    }

    fn line(&mut self, from: (usize, usize), to: (usize, usize), shade: u8) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let between = |a: usize, b: usize, step: usize| {
            let share = step as f64 / steps as f64;
            (a as f64 + (b as f64 - a as f64) * share).round() as usize
        };
        for step in 0..=steps {
            self.dot(between(from.0, to.0, step), between(from.1, to.1, step), shade);
        }
    }

    fn square(&mut self, x: usize, y: usize, around: usize) {
        for row in y.saturating_sub(around)..=y + around {
            self.line((x.saturating_sub(around), row), (x + around, row), BLACK);
        }
    }

    /// Writes a text around a point.
    fn text(&mut self, x: usize, y: usize, text: &str) {
        let left = x.saturating_sub(text.chars().count() * STEP / 2);
        let top = y.saturating_sub(HEIGHT * SCALE / 2);
        for (place, character) in text.chars().enumerate() {
            for (row, bits) in glyph(character).into_iter().enumerate() {
                for column in (0..WIDTH).filter(|column| bits >> (WIDTH - 1 - column) & 1 == 1) {
                    let (x, y) = (left + place * STEP + column * SCALE, top + row * SCALE);
                    (0..SCALE).for_each(|by| self.line((x, y + by), (x + SCALE - 1, y + by), BLACK));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_above_the_greatest_figure() {
        for (greatest, tick) in [(9.0, 2.0), (10.0, 2.0), (10.1, 2.5), (740.0, 200.0), (0.4, 0.1)] {
            assert!(
                (tick_of(greatest) - tick).abs() < 1e-9,
                "{greatest}: {}",
                tick_of(greatest)
            );
        }
    }

    #[test]
    fn a_picture_is_as_large_as_its_panels() {
        let point = |x: f64, median: f64| Point {
            label: format!("{x}"),
            x,
            median,
            min: median * 0.9,
            max: median * 1.1,
        };
        let panel = Panel {
            title: "bytes".into(),
            axis: Axis::Logarithmic("devices"),
            points: vec![point(1e4, 10.0), point(1e6, 20.0)],
        };
        let even = Panel {
            axis: Axis::Even("minutes"),
            ..panel.clone()
        };
        let path = std::env::temp_dir().join(format!("chart-{}.png", std::process::id()));
        write(&path, &[panel.clone(), even]).unwrap();
        let decoder = png::Decoder::new(std::io::BufReader::new(File::open(&path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut dots = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut dots).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((info.width, info.height), (960, 360));
        let dark = |dots: &[u8]| dots.iter().filter(|dot| **dot == BLACK).count();
        assert!(dark(&dots) > 1_000, "{}", dark(&dots));
        let empty = Panel {
            points: Vec::new(),
            ..panel
        };
        assert!(write(&path, &[empty]).is_err());
    }
}
