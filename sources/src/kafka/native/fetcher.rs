//! The thread that fetches: a connection to each broker that leads a partition, the next request on its way before the
//! answer is walked.

use super::cluster::{Cluster, too_old};
use super::codes::{self, Way};
use super::link::{Asked, Link, Lost};
use super::part::{At, Part};
use super::protocol::fetch::{self, Limits};
use super::protocol::metadata::{Leader, Metadata};
use super::protocol::offsets::{self, Found};
use super::protocol::{Garbled, Input};
use super::queue::{Item, Queue};
use super::settings::{NativeSettings, end, tell};
use crate::event::EventHook;
use crate::kafka::source::{LOST, MISSING};
use mio::{Events, Poll, Token};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewatch_proto::source::SourceError;

/// The token of the queue's waker; links are looked at whichever of them is ready, so they share one.
pub(super) const WAKER: Token = Token(0);
const LINKS: Token = Token(1);
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Where an answer begins behind its correlation number.
const BODY: usize = 4;

/// The state of the thread.
pub(super) struct Fetcher {
    settings: NativeSettings,
    queue: Arc<Queue>,
    hook: EventHook,
    poll: Poll,
    parts: Vec<Part>,
    /// By the broker's number.
    links: BTreeMap<i32, Link>,
    cluster: Cluster,
    /// How many fetches were sent: each begins with another partition, so that none is always the last.
    fetches: usize,
}

impl Fetcher {
    pub(super) fn new(
        settings: NativeSettings,
        parts: Vec<Part>,
        (poll, queue): (Poll, Arc<Queue>),
        hook: EventHook,
    ) -> Fetcher {
        let cluster = Cluster::new(&settings.brokers, LINKS);
        Fetcher {
            settings,
            queue,
            hook,
            poll,
            parts,
            links: BTreeMap::new(),
            cluster,
            fetches: 0,
        }
    }

    /// Fetches until it is told to stop, or until that can't go on, which the reader is told.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(16);
        while !self.queue.is_stopped() {
            if let Err(error) = self.turn(&mut events) {
                self.queue.push(Item::Failed(error));
                return;
            }
        }
    }

    fn turn(&mut self, events: &mut Events) -> Result<(), SourceError> {
        let now = Instant::now();
        let asking = (self.poll.registry(), &*self.queue);
        if let Some(metadata) = self.cluster.drive(&self.settings, asking, &self.hook, now)? {
            self.learn(&metadata, now)?;
        }
        let brokers: Vec<i32> = self.links.keys().copied().collect();
        for broker in brokers {
            self.serve(broker, now)?;
        }
        let sleep = self.wakes_at(now).saturating_duration_since(Instant::now());
        match self.poll.poll(events, Some(sleep)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(SourceError::new(
                self.settings.object(),
                format!("can't wait for the brokers: {error}"),
            )),
            _ => Ok(()),
        }
    }

    fn wakes_at(&self, now: Instant) -> Instant {
        let links = self.links.values().filter_map(|link| link.wakes_at(now));
        let parts = self.parts.iter().filter_map(|part| part.wakes_at(now));
        let soonest = links.chain(parts).chain(self.cluster.wakes_at(now)).min();
        soonest.unwrap_or(now + SLEEP_MAX).min(now + SLEEP_MAX)
    }

    /// Takes over who leads what.
    fn learn(&mut self, metadata: &Metadata, now: Instant) -> Result<(), SourceError> {
        if metadata.code != codes::NONE && metadata.code != codes::UNKNOWN_TOPIC {
            let (text, way) = codes::meaning(metadata.code);
            if let Way::End(way_on) = way {
                return Err(end(self.settings.object(), &text, way_on));
            }
            tell(&self.hook, self.settings.object(), text);
            self.cluster.ask_again(now);
            return Ok(());
        }
        let mut settled = true;
        for part in &mut self.parts {
            let known = metadata
                .partitions
                .iter()
                .find(|known| known.partition == part.partition);
            settled &= follow(part, known, &self.settings, &self.hook, now)?;
        }
        if !settled {
            self.cluster.ask_again(now);
        }
        self.connect_to(&metadata.brokers);
        Ok(())
    }

    /// Keeps a link to each broker that leads a partition, and no other.
    fn connect_to(&mut self, brokers: &[(i32, String)]) {
        let parts = &self.parts;
        self.links
            .retain(|broker, _| parts.iter().any(|part| part.leader == Some(*broker)));
        for (broker, address) in brokers {
            let leads = parts.iter().any(|part| part.leader == Some(*broker));
            let moved = self.links.get(broker).is_none_or(|link| link.address != *address);
            if leads && moved {
                self.links.insert(
                    *broker,
                    Link::new(address.clone(), LINKS, self.settings.patience.silence_max),
                );
            }
        }
    }

    /// Takes a broker's answers and asks on.
    fn serve(&mut self, broker: i32, now: Instant) -> Result<(), SourceError> {
        while let Some(link) = self.links.get_mut(&broker) {
            let answer = link
                .open(self.poll.registry(), now)
                .and_then(|()| link.drive(&self.queue, now));
            let taken = match answer {
                Ok(Some((asked, frame))) => self.take(broker, asked, frame, now),
                Ok(None) if self.ask(broker, now) => continue,
                Ok(None) => return Ok(()),
                Err(lost) => Ok(Err(lost)),
            };
            if let Err(lost) = taken? {
                self.lose(broker, lost, now)?;
            }
        }
        Ok(())
    }

    /// A connection is of no use any more: others may lead by now what it led.
    fn lose(&mut self, broker: i32, lost: Lost, now: Instant) -> Result<(), SourceError> {
        let Some(link) = self.links.get_mut(&broker) else {
            return Ok(());
        };
        match lost {
            Lost::TooOld(request) => Err(too_old(&link.address, request)),
            Lost::Retry(problem) => {
                tell(&self.hook, format!("kafka.brokers {}", link.address), problem);
                link.close(now, true);
                self.cluster.ask_again(now);
                Ok(())
            }
        }
    }

    /// Sends a broker the next request, if it can take one and there is one.
    fn ask(&mut self, broker: i32, now: Instant) -> bool {
        let response_bytes = self.settings.response_bytes();
        let under_way = self.links.values().filter(|link| link.is_fetching()).count();
        let Some(link) = self.links.get_mut(&broker).filter(|link| link.is_free(now)) else {
            return false;
        };
        let due = || self.parts.iter().filter(|part| part.is_due(broker, now));
        let topic = &self.settings.topic;
        let ends: Vec<offsets::Wanted> = due().filter_map(Part::wants_end).collect();
        if !ends.is_empty() {
            link.ask(Asked::Offsets, now, |number| offsets::request(number, topic, &ends));
            return true;
        }
        let mut batches: Vec<fetch::Wanted> = due().filter_map(Part::wants_batches).collect();
        if batches.is_empty() || !self.queue.has_room((under_way + 1) * response_bytes as usize) {
            return false;
        }
        let first = self.fetches % batches.len();
        batches.rotate_left(first);
        self.fetches += 1;
        let limits = Limits {
            wait_ms: self.settings.wait_ms(),
            bytes_max: response_bytes,
        };
        link.ask(Asked::Fetch, now, |number| {
            fetch::request(number, topic, limits, &batches)
        });
        true
    }

    /// Takes an answer. The inner error is about the connection, the outer one ends the reading.
    fn take(
        &mut self,
        broker: i32,
        asked: Asked,
        frame: Vec<u8>,
        now: Instant,
    ) -> Result<Result<(), Lost>, SourceError> {
        let garbled = |garbled: Garbled| Ok(Err(Lost::Retry(garbled.to_string())));
        match asked {
            Asked::Fetch => {
                let frame = self.queue.frame(frame);
                match fetch::read(&frame.bytes, BODY) {
                    Ok(answer) => self.take_batches(broker, &answer, &frame, now),
                    Err(error) => garbled(error),
                }
            }
            Asked::Offsets => {
                let found = offsets::read(Input(&frame[BODY..]));
                self.queue.give_back(frame);
                match found {
                    Ok(found) => self.take_ends(&found, now).map(Ok),
                    Err(error) => garbled(error),
                }
            }
            Asked::Versions | Asked::Metadata => Ok(Ok(())),
        }
    }

    fn take_batches(
        &mut self,
        broker: i32,
        answer: &fetch::Answer,
        frame: &Arc<super::queue::Frame>,
        now: Instant,
    ) -> Result<Result<(), Lost>, SourceError> {
        if answer.code != codes::NONE {
            let (text, way) = codes::meaning(answer.code);
            return match way {
                Way::End(way_on) => Err(end(self.settings.object(), &text, way_on)),
                Way::Leader | Way::Again => Ok(Err(Lost::Retry(text))),
            };
        }
        if let (Ok(throttle_ms @ 1..), Some(link)) = (u64::try_from(answer.throttle_ms), self.links.get_mut(&broker)) {
            link.pause(now + Duration::from_millis(throttle_ms));
        }
        for fetched in &answer.partitions {
            let place = self.parts.iter().position(|part| part.partition == fetched.partition);
            let Some(place) = place else { continue };
            if fetched.code != codes::NONE {
                self.fail(place, fetched.code, now)?;
                continue;
            }
            let part = &mut self.parts[place];
            if fetched.diverged {
                let object = self.settings.place(part.partition, part.offset());
                return Err(end(object, "the log was truncated below what was read", LOST));
            }
            if let Some(piece) = part.take(fetched, frame, place, &self.settings)? {
                self.queue.push(Item::Piece(piece));
            }
            self.cluster.settle();
        }
        Ok(Ok(()))
    }

    fn take_ends(&mut self, found: &[Found], now: Instant) -> Result<(), SourceError> {
        for one in found {
            let place = self.parts.iter().position(|part| part.partition == one.partition);
            let Some(place) = place else { continue };
            match one.code {
                codes::NONE => self.parts[place].at = At::Offset(one.offset),
                code => self.fail(place, code, now)?,
            }
        }
        Ok(())
    }

    /// Deals with an error about a partition.
    fn fail(&mut self, place: usize, code: i16, now: Instant) -> Result<(), SourceError> {
        let part = &mut self.parts[place];
        let object = self.settings.place(part.partition, part.offset());
        let (text, way) = codes::meaning(code);
        match way {
            Way::End(way_on) => return Err(end(object, &text, way_on)),
            Way::Leader => self.cluster.ask_again(now),
            Way::Again => {}
        }
        part.pause(now);
        tell(&self.hook, object, text);
        Ok(())
    }
}

/// Turns a partition to its leader; false when the brokers have to be asked again.
///
/// # Errors
/// When the partition has been unknown for too long.
fn follow(
    part: &mut Part,
    known: Option<&Leader>,
    settings: &NativeSettings,
    hook: &EventHook,
    now: Instant,
) -> Result<bool, SourceError> {
    let doubted =
        |part: &mut Part| now.duration_since(*part.doubted_since.get_or_insert(now)) >= settings.patience.doubt_max;
    let object = settings.place(part.partition, part.offset());
    let Some(known) = known else {
        let (text, _) = codes::meaning(codes::UNKNOWN_TOPIC);
        if doubted(part) {
            return Err(end(object, &text, MISSING));
        }
        tell(hook, object, text);
        return Ok(false);
    };
    // A leader from before the one we know is old news, unless that is all there is: then the topic was made anew, and
    // the broker finds that what was read is not in its log.
    if known.epoch >= 0 && known.epoch < part.leader_epoch && !doubted(part) {
        tell(hook, object, "the broker doesn't know the newest leader yet".to_owned());
        return Ok(false);
    }
    part.leader = (known.broker >= 0).then_some(known.broker);
    part.leader_epoch = known.epoch;
    part.doubted_since = None;
    if part.leader.is_none() {
        tell(hook, object, "the partition has no leader".to_owned());
    }
    Ok(part.leader.is_some())
}
