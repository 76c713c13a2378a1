//! What appends to the log, and the thread that makes it durable.

use super::frame::{BATCH_BYTES_MAX, Batch, HEAD_BYTES, Head, Origin, Tail};
use super::health::Health;
use super::partition::{Part, Shared};
use super::retain;
use super::write::Active;
use crate::clock::Clock;
use crate::event::SourceEvent;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::SourceError;
use tidewatch_proto::time::LogTime;

/// How many bytes may wait to be durable.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// From so many bytes on nobody waits for the interval to end.
const FLUSH_BYTES: usize = 4 << 20;
/// How often is looked whether something is to leave.
const TEND_INTERVAL: Duration = Duration::from_secs(1);
/// How long until what failed is tried again, growing from the first to the second.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why a batch is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// More waits to be durable than may: the disk is slow, full or away. The same batch can be tried again after
    /// [`LogWriter::wait_for_room`].
    #[error("the log takes nothing more until what it has is durable")]
    Full,
    /// The batch has more bytes than [`LogWriter::batch_bytes_max`].
    #[error("the batch is larger than the log takes")]
    TooLarge,
    /// There is no such partition.
    #[error("the log has no such partition")]
    NoPartition,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// Appends to the log. Clones append to the same one; with the last of them the thread ends that makes it durable.
#[derive(Clone)]
pub struct LogWriter(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What is on its way to the disk.
struct Queue {
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
    /// Something has become durable.
    done: Condvar,
}

struct State {
    /// For each partition frames, the offset after the last of them, and where that one came from.
    parts: Vec<(Vec<u8>, Offset, Origin)>,
    /// Bytes of these frames.
    waiting: usize,
    /// Bytes of them and of what is being written.
    bytes: usize,
    /// Since when the first of them wait, and when what is being written was taken, milliseconds since 1970.
    since_ms: i64,
    taken_ms: i64,
    /// Whether somebody wants it durable at once.
    is_wanted: bool,
    is_closed: bool,
}

impl LogWriter {
    /// Starts the thread.
    pub(super) fn start(shared: Arc<Shared>, actives: Vec<Active>) -> Result<LogWriter, SourceError> {
        let ends = shared.parts.iter().map(Part::tail);
        let ends = ends.map(|tail| (Vec::new(), tail.end, tail.origin));
        let queue = Arc::new(Queue {
            state: Mutex::new(State {
                parts: ends.collect(),
                waiting: 0,
                bytes: 0,
                since_ms: 0,
                taken_ms: 0,
                is_wanted: false,
                is_closed: false,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let flusher = Flusher {
            shared: shared.clone(),
            queue: queue.clone(),
            actives,
            failing: None,
        };
        let thread = std::thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(move || flusher.run());
        let thread = thread.map_err(|error| shared.settings.error(format!("its thread can't start: {error}")))?;
        Ok(LogWriter(Arc::new(Owner {
            shared,
            queue,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.0.shared.parts.len()
    }

    /// How many bytes a batch may have.
    pub fn batch_bytes_max(&self) -> usize {
        let share = self.0.shared.settings.retention_bytes / (4 * self.partitions() as u64);
        BATCH_BYTES_MAX.min(usize::try_from(share).unwrap_or(BATCH_BYTES_MAX))
    }

    /// How a partition ends, as far as it is durable: with where the last batch came from.
    pub fn tail(&self, partition: Partition) -> Option<Tail> {
        Some(self.0.shared.parts.get(partition.index())?.tail())
    }

    /// The offset after all that was appended to a partition, durable or not.
    pub(super) fn appended(&self, partition: Partition) -> Option<Offset> {
        let state = self.0.queue.lock();
        state.parts.get(partition.index()).map(|(_, end, _)| *end)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Puts a batch behind all others of the partition, and gives the offset after it. It is in the log for good, and
    /// can be read, when [`wait`](LogWriter::wait) says so for that offset: only then may it be acknowledged to whoever
    /// sent it. Doesn't block for the disk.
    ///
    /// # Errors
    /// When it isn't taken; see [`AppendError`].
    pub fn append(&self, partition: Partition, batch: &Batch, origin: Origin) -> Result<Offset, AppendError> {
        self.put(partition, batch, Some(origin))
    }

    /// Appends for somebody who hasn't to go on anywhere: whoever appended last still goes on behind that.
    ///
    /// # Errors
    /// As [`append`](LogWriter::append).
    pub(super) fn append_beside(&self, partition: Partition, batch: &Batch) -> Result<Offset, AppendError> {
        self.put(partition, batch, None)
    }

    fn put(&self, partition: Partition, batch: &Batch, origin: Option<Origin>) -> Result<Offset, AppendError> {
        let part = self.0.shared.parts.get(partition.index());
        let part = part.ok_or(AppendError::NoPartition)?;
        let bytes = HEAD_BYTES + batch.bytes();
        if batch.bytes() > self.batch_bytes_max() {
            return Err(AppendError::TooLarge);
        }
        let mut state = self.0.queue.lock();
        if batch.is_empty() {
            return Ok(state.parts[partition.index()].1);
        }
        if state.is_closed {
            return Err(AppendError::Closed);
        }
        if state.bytes > 0 && state.bytes + bytes > QUEUE_BYTES_MAX {
            return Err(AppendError::Full);
        }
        let (frames, end, last) = &mut state.parts[partition.index()];
        *last = origin.unwrap_or(*last);
        *end = Head::write(batch, (*end, part.end()), *last, frames).end();
        let end = *end;
        let before = state.waiting;
        if state.bytes == 0 {
            state.since_ms = (self.0.shared.clock)();
        }
        state.waiting += bytes;
        state.bytes += bytes;
        self.0.shared.health.waits(state.bytes, state.since_ms);
        // It knows of the rest when it wakes up.
        if before == 0 || (before < FLUSH_BYTES && state.waiting >= FLUSH_BYTES) {
            self.0.queue.work.notify_one();
        }
        Ok(end)
    }

    /// Waits until the records before an offset are durable, and says whether they are; not longer than `limit`.
    pub fn wait(&self, partition: Partition, offset: Offset, limit: Duration) -> bool {
        let Some(part) = self.0.shared.parts.get(partition.index()) else {
            return false;
        };
        if has_bug(Bug::LogEarlyAck) {
            return true;
        }
        let state = self.0.queue.lock();
        let is_missing = |state: &mut State| part.end() < offset && !state.is_closed;
        drop(self.0.queue.done.wait_timeout_while(state, limit, is_missing));
        part.end() >= offset
    }

    /// Makes what was appended durable without waiting for the interval's end, and says whether it is; not longer than
    /// `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        let mut state = self.0.queue.lock();
        state.is_wanted = true;
        self.0.queue.work.notify_one();
        let waited = self
            .0
            .queue
            .done
            .wait_timeout_while(state, limit, |state| state.bytes > 0);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.bytes == 0
    }

    /// Waits until half of what may wait to be durable is; not longer than `limit`.
    pub fn wait_for_room(&self, limit: Duration) {
        let state = self.0.queue.lock();
        let is_full = |state: &mut State| state.bytes > QUEUE_BYTES_MAX / 2 && !state.is_closed;
        drop(self.0.queue.done.wait_timeout_while(state, limit, is_full));
    }

    /// Takes nothing more, tries once to make durable what was appended, and ends.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Owner {
    fn close(&self) {
        self.queue.lock().is_closed = true;
        self.queue.work.notify_all();
        self.queue.done.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // When it has panicked, what it had not written was never acknowledged.
        thread.map(JoinHandle::join);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to do, takes all that waits, and says whether it is the last time.
    fn take(&self, actives: &mut [Active], (begun, interval): (Instant, Duration), clock: &Clock) -> bool {
        let mut state = self.lock();
        loop {
            let wait = match state.waiting {
                _ if interval.is_zero() => Duration::ZERO,
                0 => TEND_INTERVAL,
                FLUSH_BYTES.. => Duration::ZERO,
                _ => interval,
            };
            let left = wait.saturating_sub(begun.elapsed());
            if left.is_zero() || state.is_wanted || state.is_closed {
                break;
            }
            let waited = self.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        for (active, (frames, ..)) in actives.iter_mut().zip(&mut state.parts) {
            match active.pending.is_empty() {
                // The room goes back and forth.
                true => std::mem::swap(&mut active.pending, frames),
                false => active.pending.append(frames),
            }
        }
        state.waiting = 0;
        state.taken_ms = clock();
        state.is_wanted = false;
        state.is_closed
    }

    fn written(&self, bytes: usize, health: &Health) {
        let mut state = self.lock();
        state.bytes -= bytes;
        // What is left came after what was taken.
        state.since_ms = state.taken_ms;
        health.waits(state.bytes, state.since_ms);
        drop(state);
        self.done.notify_all();
    }

    /// Waits before what failed is tried again, and says whether it is not worth it.
    fn pause(&self, wait: Duration) -> bool {
        let waited = self
            .work
            .wait_timeout_while(self.lock(), wait, |state| !state.is_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }
}

/// Makes durable what was appended.
struct Flusher {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    actives: Vec<Active>,
    /// While it fails, how long to wait before the next try.
    failing: Option<Duration>,
}

impl Flusher {
    fn run(mut self) {
        let mut begun = Instant::now();
        loop {
            // What failed has waited already.
            let interval = match self.failing {
                Some(_) => Duration::ZERO,
                None => self.shared.settings.sync_interval,
            };
            let is_last = self
                .queue
                .take(&mut self.actives, (begun, interval), &self.shared.clock);
            begun = Instant::now();
            match self.flush() {
                Ok(()) => self.succeeded(),
                Err(error) if is_last || self.failed(&error) => {
                    self.give_up(&error);
                    return;
                }
                Err(_) => {}
            }
            if is_last {
                return;
            }
        }
    }

    /// Writes what there is to each partition, also when another one can't be written; then lets go of what is old.
    fn flush(&mut self) -> io::Result<()> {
        let mut flushed = Ok(());
        for (active, part) in self.actives.iter_mut().zip(&self.shared.parts) {
            let mut written = 0;
            let done = active.flush(&self.shared, part, &mut written);
            if written > 0 {
                self.queue.written(written, &self.shared.health);
            }
            flushed = flushed.and(done);
        }
        flushed.and_then(|()| self.expire())
    }

    fn expire(&mut self) -> io::Result<()> {
        let retention = i64::try_from(self.shared.settings.retention.as_millis()).unwrap_or(i64::MAX);
        let oldest = LogTime((self.shared.clock)().saturating_sub(retention));
        for (active, part) in self.actives.iter_mut().zip(&self.shared.parts) {
            active.retire(&self.shared, part, oldest)?;
        }
        retain::expire(&self.shared, oldest)
    }

    fn succeeded(&mut self) {
        self.shared.health.succeeded();
        self.queue.done.notify_all();
        if self.failing.take().is_some() {
            (self.shared.hook)(SourceEvent::Recovered {
                object: self.shared.settings.object(),
                problem: "it can be written again".to_owned(),
            });
        }
    }

    /// Tells it, waits, and says whether the log is closed meanwhile.
    fn failed(&mut self, error: &io::Error) -> bool {
        let wait = self.failing.unwrap_or(WAIT.0);
        self.failing = Some((wait * 2).min(WAIT.1));
        self.shared.health.failed((self.shared.clock)());
        (self.shared.hook)(SourceEvent::Retrying {
            object: self.shared.settings.object(),
            problem: format!("it can't be written: {error}; nothing is lost, what writes to it waits"),
        });
        self.queue.pause(wait)
    }

    fn give_up(&self, error: &io::Error) {
        if self.actives.iter().any(|active| !active.pending.is_empty()) {
            (self.shared.hook)(SourceEvent::Skipped {
                object: self.shared.settings.object(),
                problem: format!("it can't be written: {error}; what was appended last is not in it"),
            });
        }
    }
}
