//! What a device measures, and the messages that it sends.

use super::config::FleetSettings;
use super::faults::{Chance, Condition, FLOOD_MESSAGES, LATE_TICKS, Purpose, Sends};
use crate::encode;
use std::f64::consts::TAU;
use tidewatch_proto::metric::Metadata;
use tidewatch_proto::time::EventTime;

/// How many messages a device sends in an interval at most.
pub(super) const MESSAGES_MAX: i64 = 64;
const _: () = assert!(LATE_TICKS <= MESSAGES_MAX && FLOOD_MESSAGES <= MESSAGES_MAX);

const DAY_MS: i64 = 86_400_000;
/// How long the weather takes to come round.
const WEATHER_MS: i64 = 4 * DAY_MS + DAY_MS / 3;
/// No message begins with this: the key of a field of a type that doesn't exist.
const GARBAGE_BYTE: u8 = 0x07;

/// One device of the fleet.
pub(super) struct Device {
    id: String,
    chance: Chance,
    /// Where in the interval it sends.
    phase_ms: i64,
}

impl Device {
    pub(super) fn new(settings: &FleetSettings, number: u32, phase_ms: i64) -> Device {
        Device {
            id: id(number),
            chance: Chance::of(settings.seed, number),
            phase_ms,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// When the device sends what belongs to an interval.
    pub(super) fn due_ms(&self, settings: &FleetSettings, tick: i64) -> i64 {
        tick * settings.interval_ms + self.phase_ms
    }

    /// Calls `send` with each message of an interval, in order; at most [`MESSAGES_MAX`].
    pub(super) fn messages(&self, settings: &FleetSettings, tick: i64, mut send: impl FnMut(&[u8])) {
        let mut payload = Vec::with_capacity(128);
        let due_ms = self.due_ms(settings, tick);
        match Sends::of(&settings.faults, self.chance, tick, due_ms) {
            Sends::Nothing => {}
            Sends::Message(times) => {
                self.write(settings, tick, 0, &mut payload);
                (0..times).for_each(|_| send(&payload));
            }
            Sends::Flood => {
                for later_ms in 0..FLOOD_MESSAGES {
                    self.write(settings, tick, later_ms, &mut payload);
                    send(&payload);
                }
            }
            Sends::Backlog => {
                for tick in tick - LATE_TICKS + 1..=tick {
                    self.write(settings, tick, 0, &mut payload);
                    send(&payload);
                }
            }
        }
    }

    fn write(&self, settings: &FleetSettings, tick: i64, later_ms: i64, payload: &mut Vec<u8>) {
        payload.clear();
        let due_ms = self.due_ms(settings, tick);
        let condition = Condition::of(&settings.faults, self.chance, tick, due_ms);
        if condition.garbage {
            payload.push(GARBAGE_BYTE);
            let noise = self.chance.bits(Purpose::GarbageBytes, tick);
            payload.extend_from_slice(&noise.to_le_bytes()[..1 + noise as usize % 8]);
            return;
        }
        let readings = self.readings(due_ms, tick, &condition);
        encode::head(payload, &self.id, EventTime(due_ms + later_ms + condition.skew_ms));
        for (name, value) in readings {
            encode::metric(payload, name, value);
        }
    }

    fn readings(&self, due_ms: i64, tick: i64, condition: &Condition) -> [(&'static str, f64); 4] {
        let character = |n| self.chance.unit(Purpose::Character, n);
        // Four numbers around 0 from one draw.
        let noise = self.chance.bits(Purpose::Noise, tick);
        let noise = |n: u32| f64::from((noise >> (16 * n)) as u16) / 32_768.0 - 1.0;
        let day = due_ms.rem_euclid(DAY_MS) as f64 / DAY_MS as f64;
        let weather = due_ms.rem_euclid(WEATHER_MS) as f64 / WEATHER_MS as f64;

        // Warmest in the middle of the afternoon.
        let daily = (TAU * (day - 0.375)).sin();
        let climate = 12.0 + 12.0 * character(0) + (3.0 + 4.0 * character(1)) * daily;
        let temperature = climate + 0.3 * noise(0) + condition.temperature_shift;
        let humidity = (75.0 - 1.1 * climate + 15.0 * character(2) + noise(1)).clamp(0.0, 100.0);
        let pressure = 1_013.0 + 9.0 * (TAU * (weather + 0.05 * character(3))).sin() + 0.2 * noise(2);
        let vibration = (0.4 + 0.6 * character(4)) * (1.2 + 0.4 * daily) + 0.05 * noise(3);
        [
            ("temperature", rounded(temperature)),
            ("humidity", rounded(humidity)),
            ("pressure", rounded(pressure)),
            (
                "vibration",
                if condition.not_a_number {
                    f64::NAN
                } else {
                    rounded(vibration)
                },
            ),
        ]
    }
}

/// What people should know about the four metrics.
pub fn metrics() -> [(&'static str, Metadata); 4] {
    let about = |name: &str, unit: &str, (min, max), description: &str| Metadata {
        name: Some(name.into()),
        unit: Some(unit.into()),
        min: Some(min),
        max: Some(max),
        description: Some(description.into()),
    };
    [
        (
            "temperature",
            about("Temperature", "°C", (-10.0, 40.0), "Of the air around the device."),
        ),
        (
            "humidity",
            about("Humidity", "%", (0.0, 100.0), "Relative humidity of the air."),
        ),
        (
            "pressure",
            about("Pressure", "hPa", (980.0, 1_045.0), "Of the air, reduced to sea level."),
        ),
        (
            "vibration",
            about(
                "Vibration",
                "mm/s",
                (0.0, 2.8),
                "Of the device, the root mean square of its velocity.",
            ),
        ),
    ]
}

/// The id of a device.
pub(super) fn id(number: u32) -> String {
    format!("dev-{number:06}")
}

/// To a hundredth, as devices do; it also hides the last bits, in which machines' sines differ.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{FaultConfig, FleetConfig};
    use prost::Message;
    use tidewatch_proto::wire::Telemetry;

    const TICK: i64 = 1_767_225_600;

    fn settings(faults: FaultConfig) -> FleetSettings {
        FleetConfig {
            faults,
            ..FleetConfig::default()
        }
        .resolve()
        .unwrap()
    }

    /// What device 7 sends in each of some intervals.
    fn sent(settings: &FleetSettings, ticks: i64) -> Vec<Vec<Vec<u8>>> {
        let device = Device::new(settings, 7, 500);
        let of = |tick| {
            let mut messages = Vec::new();
            device.messages(settings, tick, |message| messages.push(message.to_vec()));
            messages
        };
        (TICK..TICK + ticks).map(of).collect()
    }

    fn always(set: impl Fn(&mut FaultConfig, f64)) -> FleetSettings {
        let mut faults = FaultConfig::NONE;
        set(&mut faults, 1.0);
        settings(faults)
    }

    #[test]
    fn a_healthy_device_sends_one_plausible_message_an_interval() {
        for (n, messages) in sent(&settings(FaultConfig::NONE), 1_000).iter().enumerate() {
            let [message] = messages.as_slice() else {
                panic!("{} messages", messages.len())
            };
            let read = Telemetry::decode(message.as_slice()).unwrap();
            assert_eq!(
                (read.device_id.as_str(), read.ts),
                ("dev-000007", (TICK + n as i64) * 1_000 + 500)
            );
            let within =
                |name: &str, low: f64, high: f64| assert!((low..=high).contains(&read.metrics[name]), "{read:?}");
            within("temperature", -10.0, 40.0);
            within("humidity", 0.0, 100.0);
            within("pressure", 1_000.0, 1_030.0);
            within("vibration", 0.0, 3.0);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same() {
        let mut config = FleetConfig::default();
        let first = sent(&config.resolve().unwrap(), 500);
        assert_eq!(first, sent(&config.resolve().unwrap(), 500));
        config.seed += 1;
        assert_ne!(first, sent(&config.resolve().unwrap(), 500));
    }

    #[test]
    fn each_fault_shows() {
        let healthy = sent(&settings(FaultConfig::NONE), 64);
        let counts = |settings: &FleetSettings| sent(settings, 64).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(&always(|faults, share| faults.silence = share)), [0; 64]);
        assert_eq!(counts(&always(|faults, share| faults.duplicate = share)), [2; 64]);
        assert_eq!(
            counts(&always(|faults, share| faults.flood = share)),
            [FLOOD_MESSAGES as usize; 64]
        );

        let late = sent(&always(|faults, share| faults.late = share), 64);
        assert_eq!(
            late.iter()
                .filter(|messages| messages.len() == LATE_TICKS as usize)
                .count(),
            4
        );
        let last = late.iter().rposition(|messages| !messages.is_empty()).unwrap();
        let on_time: Vec<_> = healthy[last + 1 - LATE_TICKS as usize..=last].concat();
        assert_eq!(late[last], on_time, "late, but the same");

        let first = |settings: &FleetSettings| Telemetry::decode(sent(settings, 1)[0][0].as_slice());
        let normal = first(&settings(FaultConfig::NONE)).unwrap();
        let far = |ms: i64| first(&always(|faults, share| faults.fast_clock = share)).unwrap().ts - normal.ts >= ms;
        assert!(far(3_600_000));
        assert!(first(&always(|faults, share| faults.slow_clock = share)).unwrap().ts <= normal.ts - 360_000);
        let spike = first(&always(|faults, share| faults.spike = share)).unwrap();
        assert!(spike.metrics["temperature"] >= normal.metrics["temperature"] + 29.0);
        assert!(first(&always(|faults, share| faults.nan = share)).unwrap().metrics["vibration"].is_nan());
        assert!(first(&always(|faults, share| faults.garbage = share)).is_err());
        let drift = sent(&always(|faults, share| faults.drift = share), 64);
        assert_ne!(drift, healthy);
    }

    #[test]
    fn faults_are_as_frequent_as_configured() {
        let faults = FaultConfig {
            duplicate: 0.1,
            ..FaultConfig::NONE
        };
        let twice = sent(&settings(faults), 10_000)
            .iter()
            .filter(|messages| messages.len() == 2)
            .count();
        assert!((800..1_200).contains(&twice), "{twice}");
    }
}
