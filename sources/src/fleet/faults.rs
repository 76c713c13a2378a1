//! What is wrong with a device in an interval.

use super::config::FaultConfig;
use tidewatch_proto::ids::mix;

/// How many intervals' messages a late device sends together.
pub(super) const LATE_TICKS: i64 = 16;
/// How many messages a flood has.
pub(super) const FLOOD_MESSAGES: i64 = 50;

const SILENCE_MS: i64 = 20 * 60_000;
const DRIFT_MS: i64 = 30 * 60_000;
/// How far a drift goes, in degrees.
const DRIFT_MAX: f64 = 15.0;
const SPIKE_MAX: f64 = 60.0;
const HOUR_MS: f64 = 3_600_000.0;

/// A source of chance for one device: the same every time it is asked the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    state: u64,
}

impl Chance {
    pub(super) fn of(seed: u64, device: u32) -> Chance {
        Chance {
            state: mix(mix(seed) ^ u64::from(device)),
        }
    }

    /// 64 random bits for a purpose, at a time.
    pub(super) fn bits(self, purpose: Purpose, at: i64) -> u64 {
        mix(mix(self.state ^ purpose as u64).wrapping_add(at as u64))
    }

    /// A number from 0 up to 1.
    pub(super) fn unit(self, purpose: Purpose, at: i64) -> f64 {
        (self.bits(purpose, at) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn happens(self, purpose: Purpose, at: i64, share: f64) -> bool {
        share > 0.0 && self.unit(purpose, at) < share
    }

    /// Divides the time into episodes of a length, differently for each device; returns the episode and how far it is.
    fn episode(self, purpose: Purpose, at: i64, length: i64) -> (i64, i64) {
        let shifted = at + (self.bits(purpose, i64::MIN) % length as u64) as i64;
        (shifted.div_euclid(length), shifted.rem_euclid(length))
    }
}

/// What chance is asked for. Each has its own numbers, so that one doesn't depend on another.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum Purpose {
    Spike = 1,
    SpikeHeight,
    Drift,
    Silence,
    FastClock,
    SlowClock,
    Skew,
    Late,
    Flood,
    Garbage,
    GarbageBytes,
    Duplicate,
    NotANumber,
    Character,
    Noise,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Condition {
    /// What is added to the temperature.
    pub(super) temperature_shift: f64,
    /// How far the device's clock is ahead.
    pub(super) skew_ms: i64,
    /// Whether the vibration is not a number.
    pub(super) not_a_number: bool,
    /// Whether the message is garbage.
    pub(super) garbage: bool,
}

/// What a device sends in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sends {
    /// Nothing.
    Nothing,
    /// Its message, this many times.
    Message(i64),
    /// Many messages.
    Flood,
    /// The messages of this interval and the ones before it.
    Backlog,
}

impl Condition {
    /// What is wrong with the message of an interval that begins at `due_ms`.
    pub(super) fn of(faults: &FaultConfig, chance: Chance, tick: i64, due_ms: i64) -> Condition {
        let mut temperature_shift = 0.0;
        if chance.happens(Purpose::Spike, tick, faults.spike) {
            temperature_shift += SPIKE_MAX * (0.5 + 0.5 * chance.unit(Purpose::SpikeHeight, tick));
        }
        let (episode, into_ms) = chance.episode(Purpose::Drift, due_ms, DRIFT_MS);
        if chance.happens(Purpose::Drift, episode, faults.drift) {
            temperature_shift += DRIFT_MAX * into_ms as f64 / DRIFT_MS as f64;
        }
        Condition {
            temperature_shift,
            skew_ms: skew_ms(faults, chance),
            not_a_number: chance.happens(Purpose::NotANumber, tick, faults.nan),
            garbage: chance.happens(Purpose::Garbage, tick, faults.garbage),
        }
    }
}

impl Sends {
    /// What is sent in an interval that begins at `due_ms`.
    pub(super) fn of(faults: &FaultConfig, chance: Chance, tick: i64, due_ms: i64) -> Sends {
        let (episode, _) = chance.episode(Purpose::Silence, due_ms, SILENCE_MS);
        if chance.happens(Purpose::Silence, episode, faults.silence) {
            return Sends::Nothing;
        }
        let (episode, into) = chance.episode(Purpose::Late, tick, LATE_TICKS);
        if chance.happens(Purpose::Late, episode, faults.late) {
            return if into == LATE_TICKS - 1 {
                Sends::Backlog
            } else {
                Sends::Nothing
            };
        }
        if chance.happens(Purpose::Flood, tick, faults.flood) {
            return Sends::Flood;
        }
        Sends::Message(if chance.happens(Purpose::Duplicate, tick, faults.duplicate) {
            2
        } else {
            1
        })
    }
}

/// How far the device's clock is ahead, which never changes.
fn skew_ms(faults: &FaultConfig, chance: Chance) -> i64 {
    let far = chance.unit(Purpose::Skew, 0);
    if chance.happens(Purpose::FastClock, 0, faults.fast_clock) {
        return ((1.0 + 11.0 * far) * HOUR_MS) as i64;
    }
    if chance.happens(Purpose::SlowClock, 0, faults.slow_clock) {
        return -((0.1 + 1.9 * far) * HOUR_MS) as i64;
    }
    0
}
