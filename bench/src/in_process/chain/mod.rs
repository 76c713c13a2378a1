//! The bare chain: W1 by hand on timely, from the same log in memory: walk, exchange, dense panes, and nothing that a
//! service needs. Late messages are dropped, nothing is published while it runs, nothing could be restored.

mod panes;
mod reader;

use super::SliceLog;
use crate::measure::Usage;
use crate::w1::tally::Tallies;
use anyhow::{Result, anyhow, ensure};
use panes::Panes;
use reader::Reader;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

/// Messages that a reader takes in a step.
const STEP_MESSAGES: usize = 4_096;

/// Messages for one worker, in columns, of one partition and one state of its watermark.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Batch {
    target: usize,
    partition: usize,
    /// Minutes up to this one have closed before the batch.
    closed: i64,
    /// Devices seen for the first time: the number in their names. Their places count on from those before.
    new: Vec<u32>,
    /// Of each message the place of its device among those of the partition and worker.
    places: Vec<u32>,
    /// Of each message the minute.
    minutes: Vec<i64>,
    /// Of each message the values.
    values: Vec<[f64; 4]>,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Seconds from the start of the workers to the last row.
    pub run_s: f64,
    /// CPU seconds of all workers.
    pub cpu_s: f64,
    /// The answer.
    pub tallies: Tallies,
    /// Messages read.
    pub messages: u64,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RESULT run_s={:.3} {} messages={} engine_cpu_s={:.3}",
            self.run_s, self.tallies, self.messages, self.cpu_s
        )
    }
}

/// Runs the chain over a log on so many threads.
///
/// # Errors
/// When a record is not what the stream has, or a worker fails.
pub fn run(log: &SliceLog, threads: usize) -> Result<Outcome> {
    let (begun, used) = (Instant::now(), Usage::now()?);
    let config = match threads {
        1 => timely::Config::thread(),
        _ => timely::Config::process(threads),
    };
    let answers: Arc<Mutex<Vec<Result<Tallies>>>> = Arc::default();
    let (workers_log, workers_answers) = (log.clone(), answers.clone());
    let guards = timely::execute(config, move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let (log, answers) = (workers_log.clone(), workers_answers.clone());
        worker.dataflow::<u64, _, _>(|scope| {
            let reader = Reader::new(log.clone(), index, peers);
            let batches = read(scope, reader, answers.clone());
            aggregate(batches, Panes::new(log.lanes.len()), answers);
        });
    });
    let guards = guards.map_err(|error| anyhow!("timely does not start: {error}"))?;
    for ended in guards.join() {
        ended.map_err(|error| anyhow!("a worker failed: {error}"))?;
    }
    let mut outcome = Outcome {
        run_s: begun.elapsed().as_secs_f64(),
        cpu_s: Usage::now()?.since(used).process_s,
        messages: log.lanes.iter().map(|lane| lane.len() as u64).sum(),
        ..Outcome::default()
    };
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(answers.len() == threads.max(1), "{} workers answered", answers.len());
    for answer in answers.drain(..) {
        outcome.tallies += answer?;
    }
    Ok(outcome)
}

/// Reads to the end, a step at a time.
fn read<'scope>(
    scope: Scope<'scope, u64>,
    mut reader: Reader,
    answers: Arc<Mutex<Vec<Result<Tallies>>>>,
) -> Stream<'scope, u64, Vec<Batch>> {
    let mut builder = OperatorBuilder::new("read".into(), scope);
    let (out, batches) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Batch>>>::from(out);
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        move |_frontiers| {
            let Some(now) = capability.as_ref() else { return };
            let read = reader.step(STEP_MESSAGES);
            out.activate().session(now).give_iterator(reader.take().into_iter());
            match read {
                Ok(0) => capability = None,
                Ok(_) => activator.activate(),
                Err(error) => {
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push(Err(error));
                    capability = None;
                }
            }
        }
    });
    batches
}

/// Keeps the panes of the worker's devices and, at the end, leaves its answer.
fn aggregate(batches: Stream<'_, u64, Vec<Batch>>, panes: Panes, answers: Arc<Mutex<Vec<Result<Tallies>>>>) {
    let mut builder = OperatorBuilder::new("panes".into(), batches.scope());
    let mut input = builder.new_input(batches, Exchange::new(|batch: &Batch| batch.target as u64));
    builder.build(move |_capabilities| {
        let mut panes = Some(panes);
        move |frontiers| {
            let Some(open) = panes.as_mut() else { return };
            input.for_each(|_stamp, list| list.drain(..).for_each(|batch| open.take(&batch)));
            if frontiers[0].frontier().is_empty()
                && let Some(ended) = panes.take()
            {
                let answer = Ok(ended.tallies());
                answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::w1::answer::Answer;
    use crate::w1::contestant::Lateness;
    use crate::w1::oracle::Oracle;
    use crate::w1::outputs::{ColumnsOutput, generate};
    use crate::w1::spec::Spec;

    #[test]
    fn the_answer_is_the_oracles() {
        let spec = Spec {
            messages: 20_000,
            devices: 500,
            span_ms: 1_200_000,
            ..Spec::S
        };
        let mut columns = Vec::new();
        generate(spec, &mut [Box::new(ColumnsOutput::new(&mut columns))]).unwrap();
        let oracle = Oracle::compute(columns.as_slice(), None).unwrap().to_string();
        let log = SliceLog::of_stream(spec).unwrap();
        for threads in [1, 2] {
            let answer = run(&log, threads).unwrap().to_string();
            Lateness::PerPartition
                .check(&Answer::parse(&answer).unwrap(), &Answer::parse(&oracle).unwrap())
                .unwrap();
        }
    }
}
