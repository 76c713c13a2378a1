//! Asks the brokers who leads the partitions, one broker after the other, until one answers.

use super::link::{Asked, Link, Lost};
use super::protocol::metadata::{self, Metadata};
use super::protocol::{Garbled, Input};
use super::queue::Queue;
use super::settings::{NativeSettings, end, tell};
use crate::event::EventHook;
use mio::{Registry, Token};
use std::time::{Duration, Instant};
use tidewatch_proto::source::SourceError;

/// The first pause before it is asked again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Where an answer begins behind its correlation number.
const BODY: usize = 4;

/// What to do about a broker that lacks a request.
pub(super) const TOO_OLD: &str = "the broker is older than Kafka 2.7; set kafka.client = \"rdkafka\"";

/// The way to whoever leads the partitions.
pub(super) struct Cluster {
    /// The addresses that were configured, and those that brokers told.
    seeds: Vec<String>,
    known: Vec<String>,
    link: Option<Link>,
    token: Token,
    /// Whose turn it is.
    turn: usize,
    wanted: bool,
    not_before: Instant,
    pauses: u32,
}

impl Cluster {
    pub(super) fn new(brokers: &str, token: Token) -> Cluster {
        Cluster {
            seeds: brokers.split(',').map(|broker| with_port(broker.trim())).collect(),
            known: Vec::new(),
            link: None,
            token,
            turn: 0,
            wanted: true,
            not_before: Instant::now(),
            pauses: 0,
        }
    }

    /// Asks again, after a pause that grows until [`Cluster::settle`].
    pub(super) fn ask_again(&mut self, now: Instant) {
        if !self.wanted {
            self.wanted = true;
            self.not_before = now + (PAUSE_MIN * (1 << self.pauses.min(8))).min(PAUSE_MAX);
            self.pauses = self.pauses.saturating_add(1);
        }
    }

    /// All is well: the next pause is a short one.
    pub(super) fn settle(&mut self) {
        self.pauses = 0;
    }

    /// When there is something to do although nothing comes.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let wanted = self.wanted.then_some(self.not_before);
        match &self.link {
            Some(link) if now >= self.not_before => wanted.and(link.wakes_at(now)),
            _ => wanted,
        }
    }

    /// Goes on asking, if there is a question; gives the answer when it is there.
    ///
    /// # Errors
    /// When a broker is too old.
    pub(super) fn drive(
        &mut self,
        settings: &NativeSettings,
        (registry, queue): (&Registry, &Queue),
        hook: &EventHook,
        now: Instant,
    ) -> Result<Option<Metadata>, SourceError> {
        if !self.wanted || now < self.not_before {
            return Ok(None);
        }
        match self.exchange(settings, registry, queue, now) {
            Ok(None) => Ok(None),
            Ok(Some(metadata)) => {
                (self.link, self.wanted) = (None, false);
                self.known = metadata.brokers.iter().map(|(_, address)| address.clone()).collect();
                Ok(Some(metadata))
            }
            Err(lost) => {
                let broker = self.link.take().map_or(String::new(), |link| link.address);
                self.turn += 1;
                self.wanted = false;
                self.ask_again(now);
                match lost {
                    Lost::Retry(problem) => {
                        tell(hook, format!("kafka.brokers {broker}"), problem);
                        Ok(None)
                    }
                    Lost::TooOld(request) => Err(too_old(&broker, request)),
                }
            }
        }
    }

    fn exchange(
        &mut self,
        settings: &NativeSettings,
        registry: &Registry,
        queue: &Queue,
        now: Instant,
    ) -> Result<Option<Metadata>, Lost> {
        let addresses: Vec<&String> = self.seeds.iter().chain(&self.known).collect();
        let address = addresses[self.turn % addresses.len()];
        let link = self
            .link
            .get_or_insert_with(|| Link::new(address.clone(), self.token, settings.patience.silence_max));
        link.open(registry, now)?;
        loop {
            if let Some((Asked::Metadata, frame)) = link.drive(queue, now)? {
                let metadata = metadata::read(Input(&frame[BODY..]));
                queue.give_back(frame);
                return metadata
                    .map(Some)
                    .map_err(|garbled: Garbled| Lost::Retry(garbled.to_string()));
            }
            if !link.is_free(now) {
                return Ok(None);
            }
            link.ask(Asked::Metadata, now, |correlation| {
                metadata::request(correlation, &settings.topic)
            });
        }
    }
}

/// The error about a broker that lacks a request.
pub(super) fn too_old(broker: &str, request: &str) -> SourceError {
    let problem = format!("it doesn't know the request {request} as kafka.client = \"native\" sends it");
    end(format!("kafka.brokers {broker}"), &problem, TOO_OLD)
}

/// The address with Kafka's port, when it has none.
fn with_port(broker: &str) -> String {
    const PORT: u16 = 9092;
    let host_end = broker.rfind(']').map_or(0, |end| end + 1);
    match broker[host_end..].contains(':') {
        true => broker.to_owned(),
        false => format!("{broker}:{PORT}"),
    }
}
