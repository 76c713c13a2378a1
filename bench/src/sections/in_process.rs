//! The engine from memory, one process a run, beside the bare chain on timely.

use super::Context;
use crate::results::target::{Target, list};
use crate::w1::answer::Answer;
use crate::w1::compare::alternate;
use crate::w1::contestant::{Check, Figures, Lateness};
use crate::w1::prepare::{Store, prepare_files};
use crate::w1::report::{Entry, Spread, best_ratio};
use crate::w1::spec::Spec;
use anyhow::{Context as _, Result};

/// A way to read the stream.
struct Variant {
    name: &'static str,
    arguments: &'static [&'static str],
    check: Check,
}

const CHAIN: Check = Check::Minutes(Lateness::PerPartition);
const MINUTES: Check = Check::Minutes(Lateness::Kept);

/// What is read on S, and, as far as `L_VARIANTS`, on L. The targets know their places.
const VARIANTS: [Variant; 8] = [
    Variant {
        name: "bare chain, 1 thread",
        arguments: &["--chain"],
        check: CHAIN,
    },
    Variant {
        name: "minutes, 1 thread",
        arguments: &[],
        check: MINUTES,
    },
    Variant {
        name: "minutes and quantiles, 1 thread",
        arguments: &["--set", "quantiles"],
        check: MINUTES,
    },
    Variant {
        name: "full set, 1 thread",
        arguments: &["--set", "full"],
        check: Check::Hops(Lateness::Kept),
    },
    Variant {
        name: "bare chain, 2 threads",
        arguments: &["--chain", "--threads", "2"],
        check: CHAIN,
    },
    Variant {
        name: "minutes, 2 threads",
        arguments: &["--threads", "2"],
        check: MINUTES,
    },
    Variant {
        name: "bare chain, 4 threads",
        arguments: &["--chain", "--threads", "4"],
        check: CHAIN,
    },
    Variant {
        name: "minutes, 4 threads",
        arguments: &["--threads", "4"],
        check: MINUTES,
    },
];
const ONE: usize = 1;
const QUANTILES: usize = 2;
const TWO: usize = 5;
const L_VARIANTS: usize = 3;

pub(super) fn run(context: &Context) -> Result<String> {
    let mut text = String::from(
        "The records lie in memory before the engine starts. Time and CPU count from there to the last row; the CPU is \
         that of the engine's threads, not of the one that takes the rows and checks them. The bare chain is W1 by \
         hand on timely: walk, exchange, dense panes, nothing that a service needs; its rows are checked by the \
         workers themselves.\n",
    );
    let entries = measure(context, "w1.s", &VARIANTS, &mut text)?;
    text.push_str(&list(&targets(&entries)));
    measure(context, "w1.l", &VARIANTS[..L_VARIANTS], &mut text)?;
    Ok(text)
}

/// Runs some variants over a stream and appends the table.
fn measure(context: &Context, stream: &str, variants: &[Variant], text: &mut String) -> Result<Vec<Entry>> {
    let spec = Spec::of_topic(stream).with_context(|| format!("no stream is called {stream}"))?;
    let store = Store::open(&context.folder)?;
    prepare_files(&store, stream, spec)?;
    let oracle = store.answer(stream, &spec)?;
    let names: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
    let entries = alternate(stream, &names, context.rounds, |turn| {
        one(context, stream, &spec, &variants[turn], &oracle)
    })?;
    text.push_str(&format!("\n### {stream} from memory: {spec}\n\n{HEAD}"));
    entries.iter().for_each(|entry| text.push_str(&row(entry, &entries[0])));
    Ok(entries)
}

fn one(context: &Context, stream: &str, spec: &Spec, variant: &Variant, oracle: &Answer) -> Result<Figures> {
    let arguments = [&["--stream", stream], variant.arguments].concat();
    let (answer, rss_mib) = context.result("in-process", &arguments)?;
    variant
        .check
        .check(&answer, oracle, spec)
        .with_context(|| format!("{} is wrong on {stream}", variant.name))?;
    let messages = spec.messages as f64;
    let msgs_per_s = messages / answer.number("run_s")?;
    Ok(Figures {
        msgs_per_s,
        running_msgs_per_s: msgs_per_s,
        cpu_s_per_million: answer.number("engine_cpu_s")? / messages * 1e6,
        rss_mib,
    })
}

const HEAD: &str = "\
| what | M msg/s | CPU ns per message | msg/s to the chain on 1 thread | CPU to it |
|---|---|---|---|---|
";

fn row(entry: &Entry, chain: &Entry) -> String {
    let shown = |spread: Option<Spread>, digits: usize| spread.map_or(String::new(), |s| format!("{s:.digits$}"));
    let spread = |figure: fn(&Figures) -> f64| Spread::of(entry.runs.iter().map(figure));
    let ratio = |figure: fn(&Figures) -> f64| best_ratio(entry, std::slice::from_ref(chain), figure);
    format!(
        "| {} | {} | {} | {} | {} |\n",
        entry.name,
        shown(spread(|run| run.msgs_per_s / 1e6), 2),
        shown(spread(|run| run.cpu_s_per_million * 1e3), 0),
        shown(ratio(|run| run.msgs_per_s), 2),
        shown(ratio(|run| run.cpu_s_per_million), 2),
    )
}

fn targets(entries: &[Entry]) -> Vec<Target> {
    let speed = |place: usize| entries[place].median(|run| run.msgs_per_s / 1e6);
    let growth = best_ratio(&entries[TWO], &entries[ONE..=ONE], |run| run.cpu_s_per_million);
    vec![
        Target::at_least("M msg/s of minutes on one thread, w1.s", 8.0, speed(ONE)),
        Target::at_least("M msg/s with quantiles on one thread, w1.s", 5.0, speed(QUANTILES)),
        Target::at_most(
            "CPU per message on two threads to that on one, w1.s",
            1.2,
            growth.map(|spread| spread.median),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::w1::tidewatch::Set;

    #[test]
    fn the_targets_know_the_places() {
        let names = [ONE, QUANTILES, TWO].map(|place| VARIANTS[place].name);
        assert_eq!(
            names,
            [
                "minutes, 1 thread",
                "minutes and quantiles, 1 thread",
                "minutes, 2 threads"
            ]
        );
        let set = |set: Set| Check::of_set(set);
        assert_eq!(VARIANTS[QUANTILES].check, set(Set::Quantiles));
        assert_eq!(VARIANTS[QUANTILES + 1].check, set(Set::Full));
    }
}
