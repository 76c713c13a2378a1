//! The library behind the binary.

pub mod check;
pub mod cli;
pub mod config;
pub mod reference;
pub mod registry;
pub mod run;
pub mod supervise;
pub mod topics;
pub mod worker;
