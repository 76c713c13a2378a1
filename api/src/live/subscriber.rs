//! One subscriber, and what waits for it.

use super::found::Found;
use super::message;
use super::subscription::Subscription;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::row::{Job, Row, Status};
use tidewatch_proto::time::EventTime;
use tokio::sync::mpsc;

/// Messages that wait for the connection at most.
pub(super) const MESSAGES_MAX: usize = 8;
/// Rows of a message at most.
const MESSAGE_ROWS_MAX: usize = 2_000;
/// Rows that wait for a subscriber at most, each the last of its window.
const PENDING_MAX: usize = 20_000;
/// How long a snapshot is collected: every worker says what is open at its next step.
const COLLECTING: Duration = Duration::from_millis(500);

/// What a subscriber waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing: it wants no rows.
    Idle,
    /// That the engine is listened to anew.
    Waits,
    /// That all workers have said what is open, until then.
    Collects(Instant),
    /// Changes.
    Live,
    /// That it has read what it was sent: rows were dropped.
    Slow,
}

type Window = (Job, Name, Name, EventTime);

/// One who listens.
#[derive(Debug)]
pub(super) struct Subscriber {
    out: mpsc::Sender<String>,
    /// What it wants.
    pub(super) wants: Subscription,
    state: State,
    pending: BTreeMap<Window, Row>,
    found: Found,
    flushed: Instant,
    dropped: u64,
}

impl Subscriber {
    /// One who has not said yet what it wants.
    pub(super) fn new(out: mpsc::Sender<String>, wants: Subscription) -> Subscriber {
        Subscriber {
            out,
            wants,
            state: State::Idle,
            pending: BTreeMap::new(),
            found: Found::default(),
            flushed: Instant::now(),
            dropped: 0,
        }
    }

    /// It wants this from now on.
    pub(super) fn subscribe(&mut self, wants: Subscription) {
        self.state = match wants.wants_rows() {
            true => State::Waits,
            false => State::Idle,
        };
        self.wants = wants;
        self.pending.clear();
        self.found.clear();
    }

    /// Whether the engine is to be listened to anew for it.
    pub(super) fn waits(&self) -> bool {
        self.state == State::Waits
    }

    /// The engine is listened to anew.
    pub(super) fn watched(&mut self, now: Instant) {
        if self.state == State::Waits {
            self.pending.clear();
            self.state = State::Collects(now + COLLECTING);
        }
    }

    /// A row that it wants. Of one window the later one stays; a published one is not replaced by an open one.
    pub(super) fn take(&mut self, row: Row) {
        match self.state {
            State::Idle | State::Waits => return,
            State::Slow => {
                self.dropped += 1;
                return;
            }
            State::Collects(_) | State::Live => {}
        }
        let window = (row.job, row.key.clone(), row.metric.clone(), row.window_start);
        let stays = |old: &Row| row.status == Status::Live && old.status != Status::Live;
        if !self.pending.get(&window).is_some_and(stays) {
            self.pending.insert(window, row);
        }
        if self.pending.len() > PENDING_MAX {
            self.dropped += self.pending.len() as u64;
            self.pending.clear();
            self.state = State::Slow;
        }
    }

    /// An anomaly that it wants.
    pub(super) fn take_anomaly(&mut self, anomaly: &Arc<Anomaly>) {
        self.found.take(anomaly);
    }

    /// Sends what is due and what there is room for.
    pub(super) fn flush(&mut self, now: Instant, durable: Epoch) {
        self.send_anomalies(durable);
        match self.state {
            State::Idle | State::Waits => {}
            State::Collects(until) if now < until => {}
            State::Collects(_) => self.begin(now, durable),
            State::Live => self.go_on(now, durable),
            State::Slow => self.own_up(),
        }
    }

    /// Sends the snapshot.
    fn begin(&mut self, now: Instant, durable: Epoch) {
        if self.send_rows(message::SNAPSHOT, durable) {
            self.state = State::Live;
            self.flushed = now;
        }
    }

    /// Sends what has changed.
    fn go_on(&mut self, now: Instant, durable: Epoch) {
        if now < self.flushed + self.wants.throttle || self.pending.is_empty() {
            return;
        }
        while !self.pending.is_empty() && self.send_rows(message::ROWS, durable) {}
        self.flushed = now;
    }

    /// Says that rows were dropped, once what was sent before has been taken.
    fn own_up(&mut self) {
        let is_read = self.out.capacity() == MESSAGES_MAX;
        if is_read && self.out.try_send(message::slow(self.dropped)).is_ok() {
            self.dropped = 0;
            self.state = State::Waits;
        }
    }

    /// Sends anomalies as they came, or says that some were dropped.
    fn send_anomalies(&mut self, durable: Epoch) {
        let missed = self.found.missed();
        if missed > 0 && self.out.capacity() == MESSAGES_MAX && self.out.try_send(message::slow(missed)).is_ok() {
            self.found.clear();
        }
        while self.found.waits() {
            let Ok(room) = self.out.try_reserve() else { return };
            room.send(message::with_anomalies(&self.found.next(), durable));
        }
    }

    /// Sends a message that is for everybody; one who has no room for it misses it.
    pub(super) fn tell(&self, text: &str) {
        if let Ok(room) = self.out.try_reserve() {
            room.send(text.to_owned());
        }
    }

    /// Whether the connection has gone.
    pub(super) fn has_gone(&self) -> bool {
        self.out.is_closed()
    }

    fn send_rows(&mut self, kind: &'static str, durable: Epoch) -> bool {
        let Ok(room) = self.out.try_reserve() else {
            return false;
        };
        let rows = self.pending.values().take(MESSAGE_ROWS_MAX);
        room.send(message::with_rows(kind, rows, durable));
        match self.pending.keys().nth(MESSAGE_ROWS_MAX).cloned() {
            Some(next) => self.pending = self.pending.split_off(&next),
            None => self.pending.clear(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use tidewatch_proto::row::Values;

    fn row(device: usize, count: u64, status: Status) -> Row {
        Row {
            job: Job::Minute,
            key: format!("d{device:05}").into(),
            metric: "t".into(),
            window_start: EventTime(0),
            window_end: EventTime(60_000),
            values: Values {
                count,
                ..Values::default()
            },
            status,
            revision: Epoch(count),
        }
    }

    fn subscribed(begun: Instant) -> (Subscriber, mpsc::Receiver<String>) {
        let (out, messages) = mpsc::channel(MESSAGES_MAX);
        let wants = Subscription::parse(r#"{"search":""}"#).expect("it is good");
        let mut subscriber = Subscriber::new(out, wants.clone());
        subscriber.subscribe(wants);
        assert!(subscriber.waits());
        subscriber.watched(begun);
        (subscriber, messages)
    }

    fn next(messages: &mut mpsc::Receiver<String>) -> Value {
        serde_json::from_str(&messages.try_recv().expect("a message")).expect("JSON")
    }

    #[test]
    fn a_snapshot_comes_first_and_then_what_has_changed() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let (mut subscriber, mut messages) = subscribed(begun);
        subscriber.take(row(1, 5, Status::Live));
        subscriber.flush(at(499), Epoch(3));
        assert!(messages.try_recv().is_err(), "workers may still say something");
        subscriber.flush(at(500), Epoch(3));
        let snapshot = next(&mut messages);
        assert_eq!(
            (&snapshot["type"], &snapshot["epoch"], &snapshot["durable"]),
            (&"snapshot".into(), &5.into(), &3.into())
        );
        assert_eq!(snapshot["rows"][0]["device_id"], "d00001");
        subscriber.take(row(1, 6, Status::Live));
        subscriber.take(row(1, 7, Status::Final));
        subscriber.take(row(1, 6, Status::Live));
        subscriber.flush(at(1_499), Epoch(7));
        assert!(messages.try_recv().is_err(), "it is not time");
        subscriber.flush(at(1_500), Epoch(7));
        let rows = next(&mut messages);
        assert_eq!(
            (&rows["type"], rows["rows"].as_array().map(Vec::len)),
            (&"rows".into(), Some(1))
        );
        assert_eq!(
            (&rows["rows"][0]["status"], &rows["rows"][0]["window"]),
            (&"final".into(), &"1m".into())
        );
    }

    #[test]
    fn rows_wait_for_a_slow_reader_put_together() {
        let begun = Instant::now();
        let (mut subscriber, mut messages) = subscribed(begun);
        let mut now = begun + COLLECTING;
        subscriber.flush(now, Epoch(1));
        for count in 0..100 {
            now += Duration::from_secs(1);
            subscriber.take(row(1, count, Status::Live));
            subscriber.flush(now, Epoch(1));
        }
        let mut counts = Vec::new();
        while let Ok(text) = messages.try_recv() {
            let message: Value = serde_json::from_str(&text).expect("JSON");
            counts.extend(message["rows"][0]["count"].as_u64());
        }
        assert_eq!(
            counts,
            (0..7).collect::<Vec<_>>(),
            "beside the snapshot there was room for so many"
        );
        subscriber.flush(now + Duration::from_secs(1), Epoch(1));
        assert_eq!(next(&mut messages)["rows"][0]["count"], 99, "the last one is there");
    }

    #[test]
    fn too_many_rows_are_dropped_and_said() {
        let begun = Instant::now();
        let (mut subscriber, mut messages) = subscribed(begun);
        let now = begun + COLLECTING;
        subscriber.flush(now, Epoch(1));
        (0..=PENDING_MAX).for_each(|device| subscriber.take(row(device, 1, Status::Live)));
        subscriber.take(row(0, 2, Status::Live));
        subscriber.flush(now, Epoch(1));
        assert_eq!(next(&mut messages)["type"], "snapshot");
        assert!(messages.try_recv().is_err(), "it has something to read yet");
        subscriber.flush(now, Epoch(1));
        let slow = next(&mut messages);
        assert_eq!((&slow["type"], &slow["dropped"]), (&"slow".into(), &20_002.into()));
        assert!(subscriber.waits(), "for a new snapshot");
    }

    #[test]
    fn anomalies_wait_for_a_slow_reader_and_what_is_missed_is_said() {
        let (out, mut messages) = mpsc::channel(MESSAGES_MAX);
        let wants = Subscription::parse(r#"{"anomalies":true}"#).expect("it is good");
        let mut subscriber = Subscriber::new(out, wants);
        let now = Instant::now();
        let take = |subscriber: &mut Subscriber, minutes: std::ops::Range<i64>| {
            minutes.for_each(|minute| subscriber.take_anomaly(&crate::anomaly::tests::silent(minute)));
            subscriber.flush(now, Epoch(1));
        };
        take(&mut subscriber, 0..5_000);
        assert_eq!(subscriber.out.capacity(), 0, "there was room for so many messages");
        take(&mut subscriber, 5_000..10_000);
        take(&mut subscriber, 10_000..10_001);
        let mut heard = 0;
        while let Ok(text) = messages.try_recv() {
            let message: Value = serde_json::from_str(&text).expect("JSON");
            heard += message["anomalies"].as_array().map_or(0, Vec::len);
        }
        assert_eq!(heard, 4_000);
        subscriber.flush(now, Epoch(1));
        let slow = next(&mut messages);
        assert_eq!((&slow["type"], &slow["dropped"]), (&"slow".into(), &6_001.into()));
        take(&mut subscriber, 0..1);
        assert_eq!(next(&mut messages)["type"], "anomalies");
    }

    #[test]
    fn a_message_holds_so_many_rows_and_the_rest_follows() {
        let begun = Instant::now();
        let (mut subscriber, mut messages) = subscribed(begun);
        (0..MESSAGE_ROWS_MAX + 1).for_each(|device| subscriber.take(row(device, 1, Status::Live)));
        let now = begun + COLLECTING;
        subscriber.flush(now, Epoch(1));
        subscriber.flush(now + Duration::from_secs(1), Epoch(1));
        let (first, rest) = (next(&mut messages), next(&mut messages));
        assert_eq!(first["rows"].as_array().map(Vec::len), Some(MESSAGE_ROWS_MAX));
        assert_eq!(
            (&rest["type"], rest["rows"].as_array().map(Vec::len)),
            (&"rows".into(), Some(1))
        );
    }
}
