//! What more aggregates cost on the same topics: the full set, W2, a rollup by site.

use super::Context;
use crate::results::target::{Target, list};
use crate::w1::contestant::{Contestant, Figures};
use crate::w1::report::{Entry, best_ratio};
use crate::w1::tidewatch::Set;
use anyhow::Result;

/// The places of the sets among the systems.
const MINUTES: usize = 0;
const HOURS: usize = 1;
const FULL: usize = 2;
const W2: usize = 3;
const SITES: usize = 4;

/// The sets by their names in the table.
const SETS: [(&str, Set); 5] = [
    ("minutes", Set::Minutes),
    ("hours", Set::Hours),
    ("full", Set::Full),
    ("W2", Set::W2),
    ("sites", Set::Sites),
];

pub(super) fn run(context: &Context) -> Result<String> {
    let mut text = String::from(
        "`minutes` is W1. `hours` has quantiles and one-hour windows too, `full`, the default of a service, also \
         five-minute windows hopping by one. `W2` has quantiles and five-minute windows hopping by one. `sites` has minutes and their rollup by site, of a \
         hundred devices each. Every answer is checked, five-minute windows and sites too.\n",
    );
    let entries = measure(context, "w1.s", &mut text)?;
    text.push_str(&list(&targets(&entries)));
    measure(context, "w1.l", &mut text)?;
    Ok(text)
}

/// Runs sets over a topic and appends the table.
fn measure(context: &Context, topic: &str, text: &mut String) -> Result<Vec<Entry>> {
    let ours = SETS
        .iter()
        .map(|(name, set)| Contestant::tidewatch_set(&context.programs, name, *set));
    let mut contestants: Vec<Contestant> = ours.collect();
    contestants.extend(context.rivals(Contestant::rival_w2));
    let (entries, table) = context.compare(topic, contestants)?;
    text.push('\n');
    text.push_str(&table);
    Ok(entries)
}

fn targets(entries: &[Entry]) -> Vec<Target> {
    let cpu = |run: &Figures| run.cpu_s_per_million;
    let to_minutes = |place: usize| {
        let minutes = &entries[MINUTES..=MINUTES];
        best_ratio(&entries[place], minutes, cpu).map(|spread| spread.median)
    };
    vec![
        Target::at_most(
            "CPU with quantiles and hours to that of minutes",
            1.6,
            to_minutes(HOURS),
        ),
        Target::at_most("CPU of the full set to that of minutes", 1.6, to_minutes(FULL)),
        Target::at_most("CPU s per M messages of W2", 2.0, entries[W2].median(cpu)),
        Target::at_most("CPU with the rollup by site to that of minutes", 1.5, to_minutes(SITES)),
    ]
}
