//! The operators, one a file. They are chained in [`crate::render`] and nowhere else.

pub mod capture;
pub mod ingest;
pub mod panes;
pub mod partials;
pub mod series;
