//! Takes what the engine yields: rows into tallies, positions, how far the workers have come.

use super::output::Output;
use super::saving::Saving;
use super::{Collector, Job, Outcome, Saved};
use crate::measure::{Usage, own_rss_bytes};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::capture::{Captured, reject_bytes};
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, Offset, Partition};
use tidewatch_proto::straggler::Straggler;

/// How long the engine may be silent; it says at every epoch that it is done with it.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks at the memory: each reads a file of the kernel's.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Takes what the engine yields.
pub struct Taker<'a> {
    captured: &'a Receiver<Captured>,
    stats: Arc<Stats>,
    collector: Collector,
    output: Option<Output>,
    saving: Option<Saving>,
    saved: Option<Saved>,
    positions: BTreeMap<Partition, Position>,
    /// By worker the last epoch that it has completed.
    through: Vec<Epoch>,
    running: usize,
    rejects: u64,
    begun: Mark,
    /// When the last rows so far had been taken.
    last_row: Mark,
    /// Resident bytes, looked at now and then.
    rss_bytes: u64,
    looked: Instant,
}

/// An instant, and what the process has used until then.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    usage: Usage,
}

impl Mark {
    fn now() -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            usage: Usage::now()?,
        })
    }
}

impl<'a> Taker<'a> {
    /// Takes what comes from the receiver of an engine that does a job and counts in `stats`. CPU time is counted
    /// from here.
    pub fn new(captured: &'a Receiver<Captured>, stats: Arc<Stats>, job: Job) -> Result<Self> {
        let begun = Mark::now()?;
        Ok(Self {
            captured,
            stats,
            collector: Collector::until(job.spec.map_or(i64::MAX, |spec| spec.end_ms())),
            output: None,
            saving: None,
            saved: None,
            positions: BTreeMap::new(),
            through: vec![Epoch(0); job.threads],
            running: job.threads,
            rejects: 0,
            begun,
            last_row: begun,
            rss_bytes: own_rss_bytes(),
            looked: begun.at,
        })
    }

    /// Gives rows to an output too.
    pub(super) fn with_output(self, output: Option<Output>) -> Self {
        Self { output, ..self }
    }

    /// Makes checkpoints too.
    pub(crate) fn with_saving(self, saving: Option<Saving>) -> Self {
        Self { saving, ..self }
    }

    /// Takes one message of the engine.
    pub fn take(&mut self) -> Result<()> {
        let captured = self
            .captured
            .recv_timeout(SILENCE_MAX)
            .context("the engine is silent")?;
        match captured {
            Captured::Rows(epoch, list) => {
                list.try_each(|row| self.collector.take(&row))?;
                match (&mut self.output, &mut self.saving) {
                    (Some(output), _) => output.hold(epoch, list),
                    (None, Some(saving)) if saving.takes_rows() => {
                        self.stats.outbox_bytes.add(-(list.bytes() as i64));
                        saving.hold(epoch, list);
                    }
                    _ => self.stats.outbox_bytes.add(-(list.bytes() as i64)),
                }
                self.last_row = Mark::now()?;
                if self.looked.elapsed() > LOOK_EVERY {
                    (self.rss_bytes, self.looked) = (own_rss_bytes(), Instant::now());
                }
            }
            Captured::Rejects(_, rejects) => {
                self.rejects += rejects.len() as u64;
                let bytes: i64 = rejects.iter().map(reject_bytes).sum();
                self.stats.outbox_bytes.add(-bytes);
            }
            Captured::Stragglers(_, list) => {
                let bytes: i64 = list.iter().map(Straggler::bytes).sum();
                self.stats.outbox_bytes.add(-bytes);
            }
            Captured::Anomalies(_, list) => {
                let bytes: i64 = list.iter().map(Anomaly::bytes).sum();
                self.stats.outbox_bytes.add(-bytes);
            }
            Captured::Positions(_, positions) => {
                let positions = positions.into_iter().map(|position| (position.partition, position));
                self.positions.extend(positions);
            }
            Captured::Through { worker, epoch } => {
                self.through[worker] = epoch;
                if let (Some(output), Some(complete)) = (&mut self.output, self.through.iter().min()) {
                    output.deliver(*complete)?;
                }
                if let (Some(saving), Some(complete)) = (&mut self.saving, self.through.iter().min()) {
                    saving.complete(*complete, self.positions.values().copied());
                }
            }
            // Why comes with its end.
            Captured::Crashed { .. } => {}
            Captured::State(_) | Captured::Journal { .. } => {
                if let Some(saving) = &mut self.saving {
                    saving.take(captured);
                }
            }
            Captured::Ended { worker, error } => {
                if let Some(error) = error {
                    bail!("worker {worker} ended: {error}");
                }
                self.running -= 1;
            }
        }
        Ok(())
    }

    /// What was used since the start; only of use to the thread that takes.
    ///
    /// # Errors
    /// When the system has no such clock.
    pub fn used(&self) -> Result<Usage> {
        Ok(Usage::now()?.since(self.begun.usage))
    }

    /// Is there a worker that has not ended?
    pub fn is_running(&self) -> bool {
        self.running > 0
    }

    /// Was every partition read up to its end, as of the end of an epoch?
    pub fn has_read(&self, ends: &[Offset]) -> bool {
        (0..).map(Partition).zip(ends).all(|(partition, end)| {
            let position = self.positions.get(&partition);
            end.0 == 0 || position.is_some_and(|position| position.next >= *end)
        })
    }

    /// Has every worker completed this epoch?
    pub fn is_through(&self, epoch: Epoch) -> bool {
        self.through.iter().all(|through| *through >= epoch)
    }

    /// Waits until the output, if there is one, has every row so far: the last row counts as taken then.
    pub(super) fn finish_output(&mut self) -> Result<()> {
        let Some(mut output) = self.output.take() else {
            return Ok(());
        };
        output.deliver(Epoch(u64::MAX - 1))?;
        let (written, rows) = (output.finish()?, self.collector.rows);
        ensure!(written == rows, "{written} rows were written of {rows}");
        self.last_row = Mark::now()?;
        Ok(())
    }

    /// Waits until the last checkpoint, if there are any, is durable; all workers have ended.
    pub(crate) fn finish_saving(&mut self) -> Result<()> {
        let last = self.through.iter().max().copied().unwrap_or_default();
        let positions = self.positions.values().copied();
        self.saved = match self.saving.take() {
            Some(saving) => Some(saving.finish(last, positions)?),
            None => None,
        };
        Ok(())
    }

    /// What the run did, of which seconds are counted from `begun`; all workers have ended.
    pub fn outcome(self, begun: Instant) -> Result<Outcome> {
        let whole_s = begun.elapsed().as_secs_f64();
        let run_s = self.last_row.at.duration_since(begun).as_secs_f64();
        let left = self.stats.outbox_bytes.get();
        ensure!(left == 0, "the outbox still counts {left} bytes although all was taken");
        let used = self.last_row.usage.since(self.begun.usage);
        let Collector {
            minutes,
            hops,
            sites,
            rows,
            ..
        } = self.collector;
        Ok(Outcome {
            run_s,
            stop_s: whole_s - run_s,
            engine_cpu_s: used.process_s - used.thread_s,
            minutes,
            hops,
            sites,
            rows,
            corrected: self.stats.rows_corrected.get(),
            messages: self.stats.messages.get(),
            readings: self.stats.readings.get(),
            late: self.stats.late.get(),
            duplicates: self.stats.duplicates.get(),
            rejects: self.rejects,
            rss_bytes: self.rss_bytes,
            process_cpu_s: used.process_s,
            saved: self.saved,
        })
    }
}
