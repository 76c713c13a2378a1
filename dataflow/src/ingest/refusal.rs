//! Why a record can't be used: the checks of what a message says about itself, and their words.

use crate::config::EngineConfig;
use tidewatch_proto::limits::Limits;
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::Record;
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime};
use tidewatch_proto::walk::{Message, WalkError};

/// The reason, and what exactly was wrong.
pub(super) type Refusal = (Reason, String);

/// The refusal of a name, which it shows as far as it can be shown.
pub(super) fn bad_name(reason: Reason, what: &str, (name, bytes_max): (&[u8], usize)) -> Refusal {
    let shown: String = String::from_utf8_lossy(&name[..name.len().min(40)])
        .escape_debug()
        .collect();
    (
        reason,
        format!(
            "{what} \"{shown}\" of {} bytes is not 1 to {bytes_max} bytes of text",
            name.len()
        ),
    )
}

/// The refusal of bytes that are no message.
pub(super) fn broken(error: WalkError) -> Refusal {
    (Reason::Schema, error.to_string())
}

/// The refusal of a message whose windows can't be corrected any more.
pub(super) fn beyond_horizon(watermark_ms: i64) -> Refusal {
    let detail = format!("its windows left memory when the watermark passed; it is at {watermark_ms}");
    (Reason::BeyondHorizon, detail)
}

/// Checks the size of `raw`.
#[inline]
pub(super) fn check_raw(message: &Message<'_>, limits: &Limits) -> Result<(), Refusal> {
    if message.raw.len() <= limits.raw_bytes_max {
        return Ok(());
    }
    let detail = format!(
        "raw has {} bytes; {} are allowed",
        message.raw.len(),
        limits.raw_bytes_max
    );
    Err((Reason::RawTooLarge, detail))
}

/// Checks an event time against the calendar and against the log's time.
#[inline]
pub(super) fn check_time(event_time: EventTime, record: &Record<'_>, config: &EngineConfig) -> Result<(), Refusal> {
    if !(EVENT_TIME_MIN..=EVENT_TIME_MAX).contains(&event_time) {
        return Err((
            Reason::EventTime,
            format!("ts {} is outside of the years 0000 to 5999", event_time.0),
        ));
    }
    let Some(log_time) = record.log_time else { return Ok(()) };
    let ahead = event_time.0.saturating_sub(log_time.0);
    if ahead > config.future_max_ms {
        let detail = format!("ts {} is {ahead} ms ahead of the log's {}", event_time.0, log_time.0);
        return Err((Reason::Future, detail));
    }
    let behind = log_time.0.saturating_sub(event_time.0);
    match config.age_max_ms {
        Some(age_max) if behind > age_max => Err((
            Reason::TooOld,
            format!("ts {} is {behind} ms behind the log's {}", event_time.0, log_time.0),
        )),
        _ => Ok(()),
    }
}
