//! Tries a delivery again for as long as the store says that it may go through later.

use crate::{ErrorKind, Sink, SinkError, Storing};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{Epoch, stable_hash};
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_proto::straggler::Straggler;

/// The default of [`Backoff::first`].
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The default of [`Backoff::max`].
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How often a wait looks at the stop flag.
const STOP_POLL: Duration = Duration::from_millis(20);

/// How long to wait between attempts: doubled each time, less a random part of up to a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: BACKOFF_FIRST,
            max: BACKOFF_MAX,
        }
    }
}

impl Backoff {
    /// The wait after the attempt (1 is the first), where `random` spreads those who fail together.
    fn wait(self, attempt: u32, random: u64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << attempt.saturating_sub(1).min(20))
            .min(self.max);
        doubled - doubled.mul_f64((random % 1024) as f64 / 2048.0)
    }
}

/// What happens to deliveries, for logs and metrics.
#[derive(Debug)]
pub enum SinkEvent<'a> {
    /// An attempt failed and is made again after a wait.
    Failed {
        /// The sink's name.
        sink: &'static str,
        /// What failed.
        error: &'a SinkError,
        /// Which attempt it was, from 1 on: 1 begins an outage.
        attempt: u32,
        /// How long until the next.
        wait: Duration,
    },
    /// A delivery went through after failed attempts: the outage is over.
    Recovered {
        /// The sink's name.
        sink: &'static str,
        /// How many attempts failed.
        attempts: u32,
        /// How long it took.
        outage: Duration,
    },
}

impl SinkEvent<'_> {
    /// Whether the event belongs into a log: the first failure of an outage and its end do.
    pub fn is_news(&self) -> bool {
        !matches!(self, SinkEvent::Failed { attempt, .. } if *attempt > 1)
    }
}

impl fmt::Display for SinkEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkEvent::Failed {
                sink,
                error,
                attempt,
                wait,
            } => {
                write!(
                    f,
                    "sink {sink}: attempt {attempt} failed, the next is in {} ms: {error}",
                    wait.as_millis()
                )
            }
            SinkEvent::Recovered { sink, attempts, outage } => {
                write!(
                    f,
                    "sink {sink}: delivers again after {attempts} failed attempts in {} ms",
                    outage.as_millis()
                )
            }
        }
    }
}

/// What a retried sink has done so far. Shared with whoever shows metrics.
#[derive(Debug, Default)]
pub struct SinkCounts {
    /// Deliveries that went through.
    pub deliveries: AtomicU64,
    /// Their rows or rejects.
    pub items: AtomicU64,
    /// Attempts that failed and were made again.
    pub retries: AtomicU64,
    /// Times that a delivery didn't go through at once.
    pub outages: AtomicU64,
}

/// A sink that tries again until the delivery goes through, the error is final, or the stop flag is set
/// (then it returns the last error).
pub struct Retrying<S, F> {
    sink: S,
    backoff: Backoff,
    stop: Arc<AtomicBool>,
    on_event: F,
    counts: Arc<SinkCounts>,
}

impl<S, F: Fn(&SinkEvent<'_>)> Retrying<S, F> {
    /// Wraps a sink. `on_event` is told of every failed attempt and every recovery.
    pub fn new(sink: S, backoff: Backoff, stop: Arc<AtomicBool>, on_event: F) -> Retrying<S, F> {
        Retrying {
            sink,
            backoff,
            stop,
            on_event,
            counts: Arc::default(),
        }
    }

    /// What it has done so far.
    pub fn counts(&self) -> Arc<SinkCounts> {
        self.counts.clone()
    }

    /// Waits, unless stopped meanwhile.
    fn sleep(&self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(STOP_POLL));
        }
    }
}

impl<T, S: Sink<T>, F: Fn(&SinkEvent<'_>) + Send> Sink<T> for Retrying<S, F> {
    fn name(&self) -> &'static str {
        self.sink.name()
    }

    fn deliver(&mut self, delivery: &Delivery<T>) -> Result<(), SinkError> {
        let (name, size) = (self.sink.name(), (delivery.through, delivery.items.len()));
        self.persist(name, size, |sink| sink.deliver(delivery))
    }
}

impl<S: Storing, F: Fn(&SinkEvent<'_>) + Send> Storing for Retrying<S, F> {
    fn mend(&mut self, delivery: &Delivery<Row>, stragglers: &[Straggler]) -> Result<Vec<Row>, SinkError> {
        let (name, size) = (self.sink.name(), (delivery.through, delivery.items.len()));
        self.persist(name, size, |sink| sink.mend(delivery, stragglers))
    }
}

impl<S, F: Fn(&SinkEvent<'_>)> Retrying<S, F> {
    /// Tries to deliver so many items of epochs up to one until it is done.
    fn persist<R: Default>(
        &mut self,
        name: &'static str,
        (through, items): (Epoch, usize),
        mut work: impl FnMut(&mut S) -> Result<R, SinkError>,
    ) -> Result<R, SinkError> {
        let begun = Instant::now();
        let mut attempt = 0;
        let done = loop {
            let error = match work(&mut self.sink) {
                Ok(done) => break done,
                Err(error) => error,
            };
            if has_bug(Bug::SwallowError) {
                return Ok(R::default());
            }
            attempt += 1;
            if error.kind != ErrorKind::Retry || self.stop.load(Ordering::Relaxed) {
                return Err(error);
            }
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            self.counts
                .outages
                .fetch_add(u64::from(attempt == 1), Ordering::Relaxed);
            let wait = self.backoff.wait(attempt, random(through.0, attempt));
            (self.on_event)(&SinkEvent::Failed {
                sink: name,
                error: &error,
                attempt,
                wait,
            });
            if !self.sleep(wait) {
                return Err(error);
            }
        };
        if attempt > 0 {
            (self.on_event)(&SinkEvent::Recovered {
                sink: name,
                attempts: attempt,
                outage: begun.elapsed(),
            });
        }
        self.counts.deliveries.fetch_add(1, Ordering::Relaxed);
        self.counts.items.fetch_add(items as u64, Ordering::Relaxed);
        Ok(done)
    }
}

/// Differs between processes, threads, deliveries and attempts; nothing depends on its quality.
fn random(epoch: u64, attempt: u32) -> u64 {
    let nanos = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |age| age.subsec_nanos());
    let seed = format!("{} {nanos} {epoch} {attempt}", std::process::id());
    stable_hash(seed.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tidewatch_proto::ids::{Epoch, Generation};
    use tidewatch_proto::row::Row;

    /// Fails as often as told, then takes everything.
    struct Flaky {
        failures: u32,
        kind: ErrorKind,
    }

    impl Sink<Row> for Flaky {
        fn name(&self) -> &'static str {
            "flaky"
        }

        fn deliver(&mut self, _: &Delivery<Row>) -> Result<(), SinkError> {
            if self.failures == 0 {
                return Ok(());
            }
            self.failures -= 1;
            Err(SinkError {
                kind: self.kind,
                object: "flaky".into(),
                problem: "not now".into(),
            })
        }
    }

    const QUICK: Backoff = Backoff {
        first: Duration::from_millis(1),
        max: Duration::from_millis(4),
    };

    fn empty() -> Delivery<Row> {
        Delivery {
            generation: Generation(1),
            through: Epoch(1),
            items: Vec::new(),
        }
    }

    #[test]
    fn goes_through_in_the_end_and_makes_news_twice() {
        let news = Mutex::new(Vec::new());
        let tell = |event: &SinkEvent<'_>| {
            if event.is_news() {
                news.lock().unwrap().push(event.to_string());
            }
        };
        let mut sink = Retrying::new(
            Flaky {
                failures: 5,
                kind: ErrorKind::Retry,
            },
            QUICK,
            Arc::default(),
            tell,
        );
        let counts = sink.counts();
        sink.deliver(&empty()).unwrap();
        assert_eq!(counts.retries.load(Ordering::Relaxed), 5);
        assert_eq!(counts.outages.load(Ordering::Relaxed), 1);
        assert_eq!(counts.deliveries.load(Ordering::Relaxed), 1);
        let news = news.lock().unwrap();
        assert_eq!(news.len(), 2);
        assert!(news[0].contains("flaky: not now"), "{}", news[0]);
        assert!(news[1].contains("after 5 failed attempts"), "{}", news[1]);
    }

    #[test]
    fn ends_at_a_final_error_and_when_stopped() {
        let mut sink = Retrying::new(
            Flaky {
                failures: 1,
                kind: ErrorKind::Stop,
            },
            QUICK,
            Arc::default(),
            |_| {},
        );
        assert_eq!(sink.deliver(&empty()).unwrap_err().kind, ErrorKind::Stop);

        let stop = Arc::new(AtomicBool::new(false));
        let slow = Backoff {
            first: Duration::from_secs(3600),
            max: Duration::from_secs(3600),
        };
        let set = stop.clone();
        let mut sink = Retrying::new(
            Flaky {
                failures: 1,
                kind: ErrorKind::Retry,
            },
            slow,
            stop,
            move |_| {
                set.store(true, Ordering::Relaxed);
            },
        );
        assert_eq!(sink.deliver(&empty()).unwrap_err().kind, ErrorKind::Retry);
    }

    #[test]
    fn waits_grow_to_the_limit_and_spread() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, 0), BACKOFF_FIRST);
        assert_eq!(backoff.wait(2, 0), BACKOFF_FIRST * 2);
        assert_eq!(backoff.wait(u32::MAX, 0), BACKOFF_MAX);
        assert!(backoff.wait(u32::MAX, 1023) >= BACKOFF_MAX / 2);
    }
}
