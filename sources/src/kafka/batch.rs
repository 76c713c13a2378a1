//! Reads whole batches from librdkafka's queues, borrowed from its memory. All other `unsafe` of this crate is in `describe`.

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, c_char};
use std::time::{Duration, Instant};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::Offset;
use tidewatch_proto::source::Record;
use tidewatch_proto::time::LogTime;

/// How many messages are taken from a queue at once at most.
const BATCH_RECORDS_MAX: usize = 8_192;
/// How long a consumer may take to close; it leaves no group, so it needs no broker for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often is looked whether it has.
const CLOSE_POLL: Duration = Duration::from_millis(1);

/// A consumer whose messages are taken in batches, and whose events are kept apart from them.
pub(super) struct Fetcher {
    // Dropped in this order: the queues before the consumer that they belong to.
    messages: Queue,
    events: Queue,
    slots: Vec<*mut native::rd_kafka_message_t>,
    /// Of each message the headers, when they are wanted.
    headers: Option<Written>,
    pub(super) consumer: BaseConsumer,
}

/// Headers of messages, one behind the other.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// Where those of each message end.
    ends: Vec<usize>,
}

/// What librdkafka says about a client as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Its code; see [`is`].
    pub(super) code: i32,
    /// Whether the client is of no use any more.
    pub(super) fatal: bool,
    /// What it says.
    pub(super) text: String,
}

/// Something that the queue of messages held.
pub(super) enum Item<'b> {
    /// A record of a partition.
    Record(i32, Record<'b>),
    /// An error about a partition at a position, both negative when it is about neither.
    Error {
        partition: i32,
        offset: Offset,
        code: i32,
        text: String,
    },
}

/// Whether a code that librdkafka gave is this one.
pub(super) fn is(code: i32, known: RDKafkaErrorCode) -> bool {
    code == known as i32
}

impl Fetcher {
    /// Takes over a consumer that has a group id; `None` when librdkafka gives it no queue.
    pub(super) fn new(consumer: BaseConsumer) -> Option<Fetcher> {
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive, and both queues are dropped before the consumer (see the order of fields).
        let (messages, events) = unsafe {
            (
                Queue(native::rd_kafka_queue_get_consumer(client)),
                Queue(native::rd_kafka_queue_get_main(client)),
            )
        };
        if messages.0.is_null() || events.0.is_null() {
            return None;
        }
        // The client's wrapper forwards events to the messages, where a batch would swallow them: they are parted again.
        // SAFETY: the queue is alive; a null destination ends the forwarding.
        unsafe { native::rd_kafka_queue_forward(events.0, std::ptr::null_mut()) };
        Some(Fetcher {
            messages,
            events,
            slots: Vec::with_capacity(BATCH_RECORDS_MAX),
            headers: None,
            consumer,
        })
    }

    /// The same, with the headers of the records: each is copied.
    pub(super) fn with_headers(mut self) -> Fetcher {
        self.headers = Some(Written::default());
        self
    }

    /// The next error of the client as a whole, if there is one. It doesn't block.
    pub(super) fn trouble(&mut self) -> Option<Trouble> {
        loop {
            // SAFETY: the queue is alive; the event is ours and is destroyed by its guard.
            let event = Event(unsafe { native::rd_kafka_queue_poll(self.events.0, 0) });
            if event.0.is_null() {
                return None;
            }
            // SAFETY: the event is alive and not null; its kind says that it carries an error, whose text lives with it.
            unsafe {
                if native::rd_kafka_event_type(event.0) == native::RD_KAFKA_EVENT_ERROR {
                    return Some(Trouble {
                        code: native::rd_kafka_event_error(event.0) as i32,
                        fatal: native::rd_kafka_event_error_is_fatal(event.0) != 0,
                        text: text(native::rd_kafka_event_error_string(event.0)),
                    });
                }
            }
        }
    }

    /// Takes what has arrived, at most `records_max` of it. It doesn't block.
    pub(super) fn fetch(&mut self, records_max: usize) -> Batch<'_> {
        let wanted = records_max.min(BATCH_RECORDS_MAX);
        // SAFETY: the queue is alive and `slots` has room for `wanted` pointers, of which librdkafka writes the
        // first `taken`; each is a message that is ours, and the batch destroys it.
        unsafe {
            let taken = native::rd_kafka_consume_batch_queue(self.messages.0, 0, self.slots.as_mut_ptr(), wanted);
            self.slots.set_len(usize::try_from(taken).unwrap_or(0));
        }
        if let Some(written) = &mut self.headers {
            written.bytes.clear();
            written.ends.clear();
            for message in &self.slots {
                // SAFETY: the message is valid, and ours alone.
                unsafe { write_headers(*message, &mut written.bytes) };
                written.ends.push(written.bytes.len());
            }
        }
        Batch {
            slots: &mut self.slots,
            headers: self.headers.as_ref(),
        }
    }

    /// The offset after a partition's last record, as of its last fetch; it asks no broker.
    pub(super) fn high_watermark(&self, topic: &CStr, partition: i32) -> Option<Offset> {
        let (mut low, mut high) = (0, 0);
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client is alive, the topic ends with a zero byte, and both places are ours to write.
        let code =
            unsafe { native::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high) };
        (code as i32 == 0 && high >= 0).then_some(Offset(high))
    }
}

impl Drop for Fetcher {
    /// Closes the consumer and empties its queue: what is left there would keep librdkafka's threads for ever, and with
    /// them whoever waits for the consumer to be gone.
    fn drop(&mut self) {
        if self.consumer.close_queue().is_ok() {
            let begun = Instant::now();
            while !self.consumer.closed() && begun.elapsed() < CLOSE_TIMEOUT {
                drop(self.fetch(BATCH_RECORDS_MAX));
                std::thread::sleep(CLOSE_POLL);
            }
        }
        while !self.fetch(BATCH_RECORDS_MAX).slots.is_empty() {}
    }
}

/// Messages that lie in librdkafka's memory; they are given back when the batch is dropped, also by a panic.
pub(super) struct Batch<'f> {
    slots: &'f mut Vec<*mut native::rd_kafka_message_t>,
    headers: Option<&'f Written>,
}

impl Batch<'_> {
    /// What the batch holds, in the order of the queue.
    pub(super) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let headers = |at: usize| self.headers.map_or(Headers::NONE, |written| written.of(at));
        let items = self.slots.iter().enumerate();
        // SAFETY: the slots hold valid messages until the batch is dropped, and the items borrow the batch.
        items.map(move |(at, message)| unsafe { item(*message, headers(at)) })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.slots.drain(..) {
            // SAFETY: the message is ours, and what was borrowed from it can't outlive the batch.
            unsafe { native::rd_kafka_message_destroy(message) };
        }
    }
}

impl Written {
    /// Those of the message at this place.
    fn of(&self, at: usize) -> Headers<'_> {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Headers::new(&self.bytes[begin..self.ends[at]])
    }
}

/// Writes the headers of a message behind what is there; nothing when it has none, or they can't be read.
///
/// # Safety
/// The pointer is to a message of librdkafka that nobody else uses: its headers are parsed in place.
unsafe fn write_headers(message: *mut native::rd_kafka_message_t, out: &mut Vec<u8>) {
    let mut list = std::ptr::null_mut();
    // SAFETY: the caller's promise, and the place for the list is ours to write; an error has no list.
    unsafe {
        if native::rd_kafka_message_headers(message, &mut list) as i32 != 0 || list.is_null() {
            return;
        }
    }
    // SAFETY: the list lives as long as the message.
    let count = unsafe { native::rd_kafka_header_cnt(list) };
    let header = |at: usize| {
        let (mut key, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: the list is alive; when there is one at this place its key ends with a zero, and its value is null or has
        // so many bytes; both live as long as the list.
        unsafe {
            let code = native::rd_kafka_header_get_all(list, at, &mut key, &mut value, &mut len);
            let is_there = code as i32 == 0 && !key.is_null();
            let key = if is_there { CStr::from_ptr(key).to_bytes() } else { &[] };
            (key, bytes(value, len).filter(|_| is_there))
        }
    };
    Headers::write((0..count).map(header), out);
}

/// Reads a message.
///
/// # Safety
/// The pointer is to a message of librdkafka that is not destroyed within `'b`.
unsafe fn item<'b>(pointer: *mut native::rd_kafka_message_t, headers: Headers<'b>) -> Item<'b> {
    // SAFETY: the caller's promise.
    let message = unsafe { &*pointer };
    // SAFETY: the field is a 32-bit number in C; it is read as one, since a broker's newer code is no value of the enum.
    let code = unsafe { (&raw const (*pointer).err).cast::<i32>().read() };
    if code != 0 {
        // SAFETY: the message is valid; its error's text lives as long as it does and is copied.
        let text = unsafe { text(native::rd_kafka_message_errstr(pointer)) };
        return Item::Error {
            partition: message.partition,
            offset: Offset(message.offset),
            code,
            text,
        };
    }
    // SAFETY: key and payload of a message without error are null or point to that many bytes, which live as long.
    let (key, payload) = unsafe { (bytes(message.key, message.key_len), bytes(message.payload, message.len)) };
    let offset = Offset(message.offset);
    // SAFETY: the message is valid.
    let log_time = unsafe { log_time(pointer) };
    Item::Record(
        message.partition,
        Record {
            offset,
            log_time,
            key,
            payload: payload.unwrap_or(&[]),
            headers,
        },
    )
}

/// The timestamp that the log holds for a message, by whichever clock.
///
/// # Safety
/// The pointer is to a message of librdkafka.
unsafe fn log_time(message: *const native::rd_kafka_message_t) -> Option<LogTime> {
    let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the caller's promise, and the place for the kind is ours to write.
    let time = unsafe { native::rd_kafka_message_timestamp(message, &mut kind) };
    let known = kind != native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && time >= 0;
    known.then_some(LogTime(time))
}

/// A slice of `len` bytes, or none at a null pointer.
///
/// # Safety
/// Unless it is null, `start` points to `len` bytes that live for `'b`.
unsafe fn bytes<'b>(start: *const std::ffi::c_void, len: usize) -> Option<&'b [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

/// A copy of a C string; empty at a null pointer.
///
/// # Safety
/// Unless it is null, `start` points to bytes that end with a zero.
pub(super) unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().trim().to_owned()
}

/// A queue of librdkafka that is let go of in the end.
pub(super) struct Queue(pub(super) *mut native::rd_kafka_queue_t);

impl Drop for Queue {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: this is the only reference that was taken, and the client is still alive.
            unsafe { native::rd_kafka_queue_destroy(self.0) };
        }
    }
}

/// An event of librdkafka that is let go of in the end.
pub(super) struct Event(pub(super) *mut native::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the event is ours and nothing borrowed from it is left.
            unsafe { native::rd_kafka_event_destroy(self.0) };
        }
    }
}
