//! The fault harness: the binary between a real Kafka and a real PostgreSQL, killed and hindered from a seed, and an
//! oracle that recomputes what must have come out.
//!
//! * [`workload`]: the fleet's messages, from a seed.
//! * [`ledger`]: what the topic held, written down as it is written, since the topic is cut behind each checkpoint.
//! * [`schedule`]: who runs when, and what happens to it; a new way to run or to fail is an entry there.
//! * [`process`]: the binary, which may end at any time.
//! * [`trial`]: a workload, a schedule, and what came of it.
//! * [`outputs`]: what sinks hold; a new sink is an entry there, and a check in `tests/oracle/oracle.py`.
//! * [`oracle`]: asks the oracle, which shares no code with the engine.
//! * [`flips`]: damaged checkpoints.

pub mod flips;
pub mod ledger;
pub mod oracle;
pub mod outputs;
pub mod process;
pub mod schedule;
pub mod trial;
pub mod workload;

/// What is wrong with the program, or with the harness' surroundings: where it was seen, and what was seen.
pub type Problem = String;
