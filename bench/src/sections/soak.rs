//! The program over twenty minutes: nothing of it grows.

use super::Context;
use crate::growth::chart::{self, Axis, Panel, Point};
use crate::soak::{HANDLES_MAX, Line, Outcome, Plan, RISE_MAX, Sample, run};
use anyhow::{Result, ensure};
use std::fs;

/// Messages a second.
const PER_S: u32 = 20_000;
/// The picture's name, in the folder of the results.
const PICTURE: &str = "soak.png";
/// How often it is said how things stand.
const SAY_S: f64 = 30.0;
/// Points of a curve, at most so many.
const POINTS: usize = 200;
const MIB: f64 = (1 << 20) as f64;

pub(super) fn measure(context: &Context) -> Result<String> {
    let folder = context.folder.join(format!("soak-{}", std::process::id()));
    let plan = Plan {
        program: context.programs.join("tidewatch"),
        folder: folder.clone(),
        per_s: PER_S,
        time: context.soak,
    };
    let mut said_s = 0.0;
    let outcome = run(&plan, |sample| {
        if sample.at_s >= said_s {
            said_s += SAY_S;
            eprintln!("soak {}", shown(sample));
        }
    })?;
    chart::write(&context.pictures.join(PICTURE), &panels(&outcome.samples))?;
    let growing = outcome.growing();
    ensure!(
        growing.is_empty(),
        "{}; the curve is in {PICTURE}, its data in {}",
        growing.join("; "),
        folder.display()
    );
    fs::remove_dir_all(&folder)?;
    Ok(text(&plan, &outcome))
}

fn shown(sample: &Sample) -> String {
    format!(
        "{:.0} s: {:.0} MiB resident, {:.0} handles, {:.0} MiB on the disk, archive {:.0} MiB, {:.0} messages, lag {:.0}",
        sample.at_s,
        sample.rss_bytes / MIB,
        sample.handles,
        sample.disk_bytes / MIB,
        sample.archive_bytes / MIB,
        sample.messages,
        sample.lag
    )
}

fn panels(samples: &[Sample]) -> Vec<Panel> {
    let every = samples.len().div_ceil(POINTS).max(1);
    let panel = |title: &str, figure: fn(&Sample) -> f64| {
        let chosen: Vec<&Sample> = samples.iter().step_by(every).collect();
        let last = chosen.len().saturating_sub(1);
        let points = chosen.iter().enumerate().map(|(place, sample)| {
            let is_named = place == 0 || place == last / 2 || place == last;
            let label = match is_named {
                true => format!("{:.0}", sample.at_s / 60.0),
                false => String::new(),
            };
            let value = figure(sample);
            Point {
                label,
                x: sample.at_s,
                median: value,
                min: value,
                max: value,
            }
        });
        Panel {
            title: title.to_owned(),
            axis: Axis::Even("minutes"),
            points: points.collect(),
        }
    };
    vec![
        panel("MiB resident", |sample| sample.rss_bytes / MIB),
        panel("file handles", |sample| sample.handles),
        panel("MiB on the disk", |sample| sample.disk_bytes / MIB),
    ]
}

fn text(plan: &Plan, outcome: &Outcome) -> String {
    let row = |name: &str, line: &Line, unit: f64| {
        let rise = 100.0 * line.rise / line.mean;
        format!(
            "| {name} | {:.1} | {:.1} | {rise:+.2} % |\n",
            line.mean / unit,
            line.max / unit
        )
    };
    let [rss, handles, disk] = &outcome.lines;
    let archive = outcome.samples.last().map_or(0.0, |last| last.archive_bytes / MIB);
    format!(
        "The program on its embedded defaults (log, store, archive), retention made small, at {:.0} messages a second of \
         four metrics, for {:.0} minutes; what is judged is the second half: a straight line through what is resident and on \
         the disk may rise by {:.0} % of its mean, file handles by {HANDLES_MAX:.0}; otherwise the section fails. The archive \
         grows by design, here to {archive:.0} MiB, and is not in the disk's figure.\n\n\
         | | mean | most | rise |\n|---|---|---|---|\n{}{}{}\n\
         ![What is resident, open and on the disk, over time]({PICTURE})\n",
        outcome.per_s,
        plan.time.as_secs_f64() / 60.0,
        100.0 * RISE_MAX,
        row("MiB resident", rss, MIB),
        row("file handles", handles, 1.0),
        row("MiB on the disk", disk, MIB),
    )
}
