//! The shapes of messages, as the worker that keeps their series knows them.

use std::collections::HashMap;

/// Lists of metrics, numbered in the order they were first seen.
#[derive(Debug, Default)]
pub struct Shapes {
    numbers: HashMap<Box<[u32]>, u32>,
    metrics: Vec<Box<[u32]>>,
}

impl Shapes {
    /// The number of the shape with these metrics, which it gets now if it has none.
    pub fn intern(&mut self, metrics: &[u32]) -> u32 {
        if let Some(number) = self.numbers.get(metrics) {
            return *number;
        }
        let number = self.metrics.len() as u32;
        self.numbers.insert(metrics.into(), number);
        self.metrics.push(metrics.into());
        number
    }

    /// The metrics of a shape.
    pub fn metrics(&self, shape: u32) -> &[u32] {
        &self.metrics[shape as usize]
    }
}
