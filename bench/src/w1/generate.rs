//! The telemetry stream: message `i` is a pure function of the parameters and `i`.
//!
//! Values are multiples of 1/64, so sums are exact in any order and every system must find the same ones.

use super::spec::Spec;
use super::{FLAKY_EVERY, LATENESS_MS, METRICS, WINDOW_MS};
use anyhow::{Result, ensure};

/// Event time of the start of every stream, in milliseconds since the epoch: a whole hour.
pub const BASE_MS: i64 = 1_750_003_200_000;

/// Messages on time are out of order by less than this, in milliseconds.
const DISORDER_MS: u64 = 5_000;

/// A late message is late by at least this, in milliseconds.
const LATE_MIN_MS: i64 = 120_000;

/// A late message is late by less than this beyond `LATE_MIN_MS`, in milliseconds.
const LATE_SPREAD_MS: u64 = 480_000;

/// Bytes of the opaque payload in each message.
const RAW_BYTES: usize = 24;

/// A metric's value is `floor + (device % 1000) / divisor + spread * noise`, noise in [0, 1).
struct Shape {
    floor: f64,
    divisor: f64,
    spread: f64,
}

const SHAPES: [Shape; METRICS.len()] = [
    Shape {
        floor: 15.0,
        divisor: 100.0,
        spread: 5.0,
    },
    Shape {
        floor: 30.0,
        divisor: 50.0,
        spread: 20.0,
    },
    Shape {
        floor: 980.0,
        divisor: 40.0,
        spread: 10.0,
    },
    Shape {
        floor: 0.5,
        divisor: 1000.0,
        spread: 2.0,
    },
];

/// One message, before it is encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Number of the device.
    pub device: u32,
    /// Event time in milliseconds since the epoch.
    pub ts_ms: i64,
    /// Was it made late on purpose?
    pub late: bool,
    /// The value of each metric, in the order of [`METRICS`].
    pub values: [f64; METRICS.len()],
    /// Bytes that nobody aggregates.
    pub raw: [u8; RAW_BYTES],
}

impl Telemetry {
    /// Message `index` of the stream.
    pub fn at(spec: &Spec, index: u64) -> Self {
        let root = mix(spec.seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        let draw = |n: u64| mix(root.wrapping_add(n));
        let (who, lateness, noise) = (draw(1), draw(2), draw(3));
        let device = (who % u64::from(spec.devices)) as u32;
        let late = device.is_multiple_of(FLAKY_EVERY) && lateness.is_multiple_of(10);
        let progress_ms = (index as f64 * spec.span_ms as f64 / spec.messages as f64) as i64;
        let mut ts_ms = BASE_MS + progress_ms - ((who >> 32) % DISORDER_MS) as i64;
        if late {
            ts_ms -= LATE_MIN_MS + ((lateness >> 8) % LATE_SPREAD_MS) as i64;
        }
        let mut raw = [0; RAW_BYTES];
        for (n, word) in (4..).zip(raw.chunks_exact_mut(8)) {
            word.copy_from_slice(&draw(n).to_le_bytes());
        }
        Self {
            device,
            ts_ms,
            late,
            values: values(device, noise),
            raw,
        }
    }
}

/// All messages of a stream, in the order in which they are sent.
pub fn stream(spec: Spec) -> impl Iterator<Item = Telemetry> {
    (0..spec.messages).map(move |index| Telemetry::at(&spec, index))
}

/// The values of one message, rounded to 1/64; `noise` gives 16 bits to each.
fn values(device: u32, noise: u64) -> [f64; METRICS.len()] {
    let own = f64::from(device % 1000);
    std::array::from_fn(|metric| {
        let Shape { floor, divisor, spread } = SHAPES[metric];
        let share = f64::from((noise >> (16 * metric)) as u16) / 65536.0;
        let value = floor + own / divisor + spread * share;
        (value * 64.0).round() / 64.0
    })
}

/// The finaliser of splitmix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Proves, as the stream goes by, that the messages a partition's watermark leaves behind are exactly the late ones.
pub struct LateCheck {
    ts_max_ms: Vec<i64>,
    /// Messages made late on purpose so far.
    pub late: u64,
    dropped: u64,
}

impl LateCheck {
    /// A check for a topic of so many partitions.
    pub fn new(partitions: u32) -> Self {
        Self {
            ts_max_ms: vec![0; partitions as usize],
            late: 0,
            dropped: 0,
        }
    }

    /// Takes the next message of a partition; an error when one on time would be dropped.
    pub fn see(&mut self, partition: u32, telemetry: &Telemetry) -> Result<()> {
        let ts_max_ms = &mut self.ts_max_ms[partition as usize];
        *ts_max_ms = telemetry.ts_ms.max(*ts_max_ms);
        let window_end_ms = telemetry.ts_ms - telemetry.ts_ms.rem_euclid(WINDOW_MS) + WINDOW_MS;
        let dropped = window_end_ms <= *ts_max_ms - LATENESS_MS;
        ensure!(
            telemetry.late || !dropped,
            "a message of device {} would be dropped on time",
            telemetry.device
        );
        self.late += u64::from(telemetry.late);
        self.dropped += u64::from(dropped);
        Ok(())
    }

    /// At the end of the stream: an error when a late message would not be dropped.
    pub fn finish(&self) -> Result<()> {
        let Self { late, dropped, .. } = self;
        ensure!(
            late == dropped,
            "{late} late messages, {dropped} would be dropped: choose another seed"
        );
        Ok(())
    }
}
