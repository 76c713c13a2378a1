//! The fault harness: the binary between a real Kafka, a real PostgreSQL and a real object store, killed and hindered
//! from a seed, and an oracle that recomputes what must have come out.
//!
//! * [`workload`]: the fleet's messages, from a seed.
//! * `feed`: the topic, which is written, and cut behind each checkpoint.
//! * [`ledger`]: what the topic held, written down as it is written.
//! * [`own`]: what a trial has for itself, and how the program is told of it.
//! * [`schedule`]: who runs when, and what happens to it; a new way to run or to fail is an entry there.
//! * [`services`]: Kafka, PostgreSQL and the object store, which can be killed.
//! * [`process`], [`run`]: the binary, one or several processes, which may end at any time.
//! * `nemesis`: what happens to runs.
//! * [`trial`]: a workload, a schedule, and what came of it.
//! * [`outputs`]: what sinks hold; a new sink is an entry there, and a check in `tests/oracle/oracle.py`.
//! * [`oracle`]: asks the oracle, which shares no code with the engine.
//! * [`archive`]: where raw telemetry goes.
//! * [`embedded`]: trials of the program on its embedded log and store; [`appender`]: that log alone.
//! * [`flips`]: damaged checkpoints.
//! * [`recovery`]: how long it takes until a cluster goes on.

pub mod appender;
pub mod archive;
pub mod embedded;
mod feed;
pub mod flips;
pub mod ledger;
mod nemesis;
pub mod oracle;
pub mod outputs;
pub mod own;
pub mod process;
pub mod recovery;
pub mod run;
pub mod schedule;
pub mod services;
pub mod trial;
pub mod workload;

/// What is wrong with the program, or with the harness' surroundings: where it was seen, and what was seen.
pub type Problem = String;
