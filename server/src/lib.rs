//! The library behind the binary.

pub mod backup;
pub mod check;
pub mod cli;
pub mod config;
pub mod metrics;
pub mod reference;
pub mod registry;
pub mod rules;
pub mod run;
pub mod supervise;
pub mod table;
pub mod topics;
pub mod worker;
