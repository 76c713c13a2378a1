//! What the fetching thread hands to the reader, bounded by bytes; the memory of answers goes around.

use super::aborted::Aborted;
use mio::Waker;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewatch_proto::source::SourceError;

/// How many answers' memory is kept when nobody needs it.
const SPARE_FRAMES_MAX: usize = 8;
/// Memory above this, in bytes, is not kept.
const SPARE_BYTES_MAX: usize = 64 << 20;

/// Something for the reader.
#[derive(Debug)]
pub(super) enum Item {
    /// News of a partition.
    Piece(Piece),
    /// Reading can't go on.
    Failed(SourceError),
}

/// Whole batches of one partition, perhaps none, and where the partition stands behind them.
#[derive(Debug)]
pub(super) struct Piece {
    /// The partition, by its place among those that are assigned.
    pub(super) place: usize,
    /// The answer that the batches lie in.
    pub(super) frame: Arc<Frame>,
    /// Where in it they lie.
    pub(super) batches: Range<usize>,
    /// The aborted transactions among them.
    pub(super) aborted: Aborted,
    /// The first offset that is wanted of them; the first batch may begin before it.
    pub(super) from: i64,
    /// The offset after the batches.
    pub(super) next: i64,
    /// The offset after the log's last record.
    pub(super) high_watermark: i64,
    /// Whether nothing that can be read lies ahead.
    pub(super) ended: bool,
}

/// What both sides hold.
#[derive(Debug)]
pub(super) struct Queue {
    items: Mutex<VecDeque<Item>>,
    spare: Mutex<Vec<Vec<u8>>>,
    /// Bytes of the answers that the reader hasn't finished.
    held_bytes: AtomicUsize,
    bytes_max: usize,
    /// Whether the fetching thread waits for room.
    wants_room: AtomicBool,
    stopped: AtomicBool,
    waker: Waker,
}

/// An answer of a broker; when the last piece of it is let go of, its bytes no longer count and its memory goes back.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    queue: Arc<Queue>,
}

impl Queue {
    /// An empty queue for so many bytes; the waker is the fetching thread's.
    pub(super) fn new(bytes_max: usize, waker: Waker) -> Queue {
        Queue {
            items: Mutex::default(),
            spare: Mutex::default(),
            held_bytes: AtomicUsize::new(0),
            bytes_max,
            wants_room: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            waker,
        }
    }

    /// Hands something to the reader, if there still is one: what nobody takes would hold the queue by its frame.
    pub(super) fn push(&self, item: Item) {
        let mut items = lock(&self.items);
        if !self.is_stopped() {
            items.push_back(item);
        }
    }

    pub(super) fn pop(&self) -> Option<Item> {
        lock(&self.items).pop_front()
    }

    /// Whether so many bytes more may be asked for. If not, the fetching thread is woken when there is room.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        if self.fits(bytes) {
            return true;
        }
        self.wants_room.store(true, Ordering::SeqCst);
        // Room may have come in between.
        self.fits(bytes)
    }

    /// One request is always allowed when nothing is held, however small the queue.
    fn fits(&self, bytes: usize) -> bool {
        let held = self.held_bytes.load(Ordering::SeqCst);
        held == 0 || held + bytes <= self.bytes_max
    }

    /// Makes an answer one that counts.
    pub(super) fn frame(self: &Arc<Queue>, bytes: Vec<u8>) -> Arc<Frame> {
        self.held_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
        let queue = Arc::clone(self);
        Arc::new(Frame { bytes, queue })
    }

    /// Memory for an answer.
    pub(super) fn memory(&self) -> Vec<u8> {
        lock(&self.spare).pop().unwrap_or_default()
    }

    /// Takes memory back.
    pub(super) fn give_back(&self, memory: Vec<u8>) {
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE_FRAMES_MAX && memory.capacity() <= SPARE_BYTES_MAX {
            spare.push(memory);
        }
    }

    /// Tells the fetching thread to end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake();
        lock(&self.items).clear();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// A waker that fails has no thread left to wake.
    fn wake(&self) {
        let _ = self.waker.wake();
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let bytes = self.bytes.len();
        let held = self.queue.held_bytes.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        self.queue.give_back(std::mem::take(&mut self.bytes));
        // Half of the room at once, so that the thread isn't woken for every answer.
        if held <= self.queue.bytes_max / 2 && self.queue.wants_room.swap(false, Ordering::SeqCst) {
            self.queue.wake();
        }
    }
}

/// Nothing that is done under these locks can leave them broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token};

    fn piece(frame: &Arc<Frame>) -> Item {
        Item::Piece(Piece {
            place: 0,
            frame: Arc::clone(frame),
            batches: 0..0,
            aborted: Aborted::default(),
            from: 0,
            next: 0,
            high_watermark: 0,
            ended: false,
        })
    }

    #[test]
    fn bytes_count_until_the_last_piece_is_let_go_of() {
        let poll = Poll::new().unwrap();
        let queue = Arc::new(Queue::new(1_000, Waker::new(poll.registry(), Token(0)).unwrap()));
        assert!(queue.has_room(5_000), "one answer is always asked for");
        let frame = queue.frame(vec![0; 600]);
        (0..2).for_each(|_| queue.push(piece(&frame)));
        drop(frame);
        assert!(queue.has_room(400) && !queue.has_room(401));
        drop(queue.pop());
        assert!(!queue.has_room(401));
        drop(queue.pop());
        assert!(queue.has_room(401) && queue.memory().capacity() == 600);
    }

    #[test]
    fn nothing_is_left_behind_a_reader_that_is_gone() {
        let poll = Poll::new().unwrap();
        let queue = Arc::new(Queue::new(1_000, Waker::new(poll.registry(), Token(0)).unwrap()));
        let frame = queue.frame(vec![0; 600]);
        queue.push(piece(&frame));
        queue.stop();
        queue.push(piece(&frame));
        assert!(queue.pop().is_none());
        drop(frame);
        assert_eq!(Arc::strong_count(&queue), 1);
    }
}
