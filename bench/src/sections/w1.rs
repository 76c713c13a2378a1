//! W1 from Kafka: the bare loop, Tidewatch and other systems on the same topics.

use super::Context;
use crate::results::target::{Target, list};
use crate::w1::contestant::{Contestant, Figures};
use crate::w1::report::{Entry, best_ratio};
use anyhow::Result;

/// The place of the bare loop and of Tidewatch among the systems, and of the first that is another's.
const BARE: usize = 0;
const TIDEWATCH: usize = 1;
const RIVALS: usize = 4;

/// What is asked of Tidewatch on a topic.
struct Goals {
    topic: &'static str,
    of_bare: f64,
    of_best_rival: f64,
    cpu_s_per_million: f64,
    rss_mib: f64,
}

const GOALS: [Goals; 2] = [
    Goals {
        topic: "w1.s",
        of_bare: 0.7,
        of_best_rival: 2.5,
        cpu_s_per_million: 1.0,
        rss_mib: 512.0,
    },
    Goals {
        topic: "w1.l",
        of_bare: 0.7,
        of_best_rival: 3.0,
        cpu_s_per_million: 2.0,
        rss_mib: 1536.0,
    },
];

/// S and L, each process from its start.
pub(super) fn cold(context: &Context) -> Result<String> {
    let mut text = String::from(
        "Count, sum, least, greatest and mean of each series by the minute. `bare` is the hand-written loop on \
         librdkafka, `consume alone` the same without decoding and aggregating; the native client is `kafka.client = \
         \"native\"`.\n",
    );
    for goals in &GOALS {
        let (entries, table) = compare(context, goals.topic)?;
        text.push_str(&table);
        text.push_str(&list(&goals.targets(&entries)));
    }
    Ok(text)
}

/// Three times S, where what a system needs to warm up weighs a third.
pub(super) fn warm(context: &Context) -> Result<String> {
    let (_, table) = compare(context, "w1.s3")?;
    Ok(format!("The stream of w1.s going on for three hours.\n{table}"))
}

/// Runs all systems over a topic; their runs, and the table.
fn compare(context: &Context, topic: &str) -> Result<(Vec<Entry>, String)> {
    let programs = &context.programs;
    let mut contestants = vec![
        Contestant::bare(programs),
        Contestant::tidewatch(programs),
        Contestant::consume(programs),
        Contestant::tidewatch_native(programs),
    ];
    contestants.extend(context.rivals(Contestant::rival));
    let (entries, table) = context.compare(topic, contestants)?;
    Ok((entries, format!("\n{table}")))
}

impl Goals {
    fn targets(&self, entries: &[Entry]) -> Vec<Target> {
        let topic = self.topic;
        let ours = &entries[TIDEWATCH];
        let speed = |run: &Figures| run.msgs_per_s;
        let to = |others: &[Entry]| best_ratio(ours, others, speed).map(|spread| spread.median);
        let of_bare = to(&entries[BARE..=BARE]);
        let of_best = entries.get(RIVALS..).filter(|rivals| !rivals.is_empty()).and_then(to);
        let (cpu, rss) = (ours.median(|run| run.cpu_s_per_million), ours.median(|run| run.rss_mib));
        vec![
            Target::at_least(format!("msg/s on {topic} to the bare loop"), self.of_bare, of_bare),
            Target::at_least(
                format!("msg/s on {topic} to the best other system of each round"),
                self.of_best_rival,
                of_best,
            ),
            Target::at_most(format!("CPU s per M messages on {topic}"), self.cpu_s_per_million, cpu),
            Target::at_most(format!("RSS MiB on {topic}"), self.rss_mib, rss),
        ]
    }
}
