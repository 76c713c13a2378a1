//! Metric names and the shapes of messages, as a reading worker knows them.

use crate::batch::NO_SHAPE;
use std::collections::HashMap;
use tidewatch_proto::ids::stable_hash;
use tidewatch_proto::template::Template;
use tidewatch_proto::walk::Metric;

/// Metric names, numbered in the order they were first seen.
#[derive(Debug, Default)]
pub struct Metrics {
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    hashes: Vec<u64>,
}

impl Metrics {
    /// The number of a name, if it is known.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The number of a name, which it gets now if it has none.
    pub fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.find(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        self.hashes.push(stable_hash(name.as_bytes()));
        number
    }

    /// All names, by number.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }
}

/// Which metrics a message holds, and in which order: most devices send the same shape over and over.
#[derive(Debug, Default)]
pub struct Shape {
    names: Vec<Box<[u8]>>,
    /// The metrics' numbers.
    pub numbers: Vec<u32>,
    /// The stable hashes of the metrics' names.
    pub hashes: Vec<u64>,
    /// The wire form of its messages, if it has one.
    pub template: Option<Template>,
}

impl Shape {
    /// A shape of known metrics.
    pub fn of(numbers: &[u32], metrics: &Metrics) -> Shape {
        Shape {
            names: numbers
                .iter()
                .map(|n| metrics.names[*n as usize].as_bytes().into())
                .collect(),
            numbers: numbers.to_vec(),
            hashes: numbers.iter().map(|n| metrics.hashes[*n as usize]).collect(),
            template: Template::of(numbers.iter().map(|n| metrics.names[*n as usize].as_bytes())),
        }
    }

    /// Whether a message's metrics have exactly this shape, and therefore good and distinct names.
    #[inline]
    pub fn matches(&self, metrics: &[Metric<'_>]) -> bool {
        self.names.len() == metrics.len() && self.names.iter().zip(metrics).all(|(own, metric)| **own == *metric.0)
    }
}

/// The shapes seen so far, at most [`SHAPES_MAX`].
#[derive(Debug, Default)]
pub struct Shapes {
    numbers: HashMap<Box<[u32]>, u32>,
    shapes: Vec<Shape>,
}

/// How many shapes are kept; a device of a further one takes the slow path each time.
const SHAPES_MAX: usize = 16_384;

impl Shapes {
    /// The shape of a number.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Shape> {
        self.shapes.get(number as usize)
    }

    /// The metrics' numbers of each shape, by number from `from` on.
    pub fn since(&self, from: usize) -> impl Iterator<Item = &[u32]> {
        self.shapes[from..].iter().map(|shape| shape.numbers.as_slice())
    }

    /// The number of the shape of these metrics, [`NO_SHAPE`] when there are too many.
    pub fn intern(&mut self, metric_numbers: &[u32], metrics: &Metrics) -> u32 {
        if let Some(number) = self.numbers.get(metric_numbers) {
            return *number;
        }
        if self.shapes.len() == SHAPES_MAX {
            return NO_SHAPE;
        }
        let number = self.shapes.len() as u32;
        self.numbers.insert(metric_numbers.into(), number);
        self.shapes.push(Shape::of(metric_numbers, metrics));
        number
    }
}
