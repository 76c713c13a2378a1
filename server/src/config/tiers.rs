//! How long windows are kept where: what contradicts itself, and what is said of it.

use super::error::ConfigError;
use super::keys::{DAY, HOUR, MINUTE};
use super::parsed::{Config, StoreKind, Window};
use tidewatch_settings::Span;
use tidewatch_sinks::postgres::Timescale;
use tidewatch_sinks::postgres::config::FOR_EVER;

/// A kind of windows in a store.
struct Tier {
    key: &'static str,
    /// What it is called, and how long the longest of its windows is, in milliseconds.
    noun: &'static str,
    window: (Option<Window>, i64),
    kept: Span,
}

impl Tier {
    /// The tiers of a store, from what is kept of minutes, five minutes, hours, days and rollups.
    fn of(keys: [&'static str; 5], kept: [Span; 5]) -> Vec<Tier> {
        let windows = [
            ("minutes", (Some(Window::Minute), MINUTE)),
            ("five minutes", (Some(Window::FiveMinutes), 5 * MINUTE)),
            ("hours", (Some(Window::Hour), HOUR)),
            ("days", (Some(Window::Day), DAY + HOUR)),
            ("rollups", (None, MINUTE)),
        ];
        let tiers = windows.into_iter().zip(keys).zip(kept);
        tiers
            .map(|(((noun, window), key), kept)| Tier {
                key,
                noun,
                window,
                kept,
            })
            .collect()
    }
}

fn postgres(config: &Config) -> Vec<Tier> {
    let keys = [
        "postgres.minute_retention",
        "postgres.five_minute_retention",
        "postgres.hour_retention",
        "postgres.day_retention",
        "postgres.rollup_retention",
    ];
    let kept = config.postgres.as_ref().map(|own| {
        let minutes = [own.minute_retention, own.five_minute_retention];
        [
            minutes[0],
            minutes[1],
            own.hour_retention,
            own.day_retention,
            own.rollup_retention,
        ]
    });
    kept.map(|kept| Tier::of(keys, kept)).unwrap_or_default()
}

fn embedded(config: &Config) -> Vec<Tier> {
    if config.store() != StoreKind::Embedded {
        return Vec::new();
    }
    let keys = [
        "embedded.minute_retention",
        "embedded.five_minute_retention",
        "embedded.hour_retention",
        "embedded.day_retention",
        "embedded.rollup_retention",
    ];
    let own = &config.embedded;
    let minutes = [own.minute_retention, own.five_minute_retention];
    Tier::of(
        keys,
        [
            minutes[0],
            minutes[1],
            own.hour_retention,
            own.day_retention,
            own.rollup_retention,
        ],
    )
}

/// Refuses what contradicts itself; `wrong` makes an error of a key and what is wrong with it.
pub(super) fn check(config: &Config, wrong: impl Fn(&str, String) -> ConfigError) -> Result<(), ConfigError> {
    let engine = &config.engine;
    let changes_ms = engine
        .lateness
        .as_millis()
        .saturating_add(engine.correction_horizon.as_millis());
    for tier in postgres(config).into_iter().chain(embedded(config)) {
        let (window, length_ms) = tier.window;
        let is_kept = window.is_none_or(|window| engine.windows.contains(&window));
        if is_kept && tier.kept.as_millis() < changes_ms.saturating_add(length_ms) {
            let problem = format!(
                "is shorter than a window and engine.correction_horizon: {} could still change when they leave; keep them \
                 longer",
                tier.noun
            );
            return Err(wrong(tier.key, problem));
        }
    }
    let Some((postgres, after)) = config
        .postgres
        .as_ref()
        .and_then(|own| Some((own, own.compress_after?)))
    else {
        return Ok(());
    };
    let key = "postgres.compress_after";
    if postgres.timescale == Timescale::Never {
        let problem = "is set, but postgres.timescale is \"never\", and only hypertables are compressed: leave out one";
        return Err(wrong(key, problem.to_owned()));
    }
    if after.as_millis() < changes_ms {
        let problem = "is shorter than engine.correction_horizon: chunks would be compressed while they are corrected";
        return Err(wrong(key, problem.to_owned()));
    }
    Ok(())
}

/// What is kept how long, a line for each store.
pub fn tiers(config: &Config) -> Vec<String> {
    let line = |store: &str, tiers: &[Tier], more: String| {
        let kept = tiers.iter().map(|tier| match tier.kept.0 >= FOR_EVER.0 {
            true => format!("{} for ever", tier.noun),
            false => format!("{} for {}", tier.noun, super::key::span(tier.kept.as_millis())),
        });
        let kept: Vec<String> = kept.collect();
        (!tiers.is_empty()).then(|| format!("retention: {store} keeps {}{more}", kept.join(", ")))
    };
    let after = config.postgres.as_ref().and_then(|own| own.compress_after);
    let compressed = after.map_or(String::new(), |after| {
        format!(
            "; hypertables are compressed after {}",
            super::key::span(after.as_millis())
        )
    });
    let lines = [
        line("postgres", &postgres(config), compressed),
        line("embedded", &embedded(config), String::new()),
    ];
    lines.into_iter().flatten().collect()
}
