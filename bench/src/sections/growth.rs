//! The engine over more and more devices: what a message costs, what a series takes, and no cliff between.

use super::Context;
use crate::growth::chart::{self, Axis, Panel, Point};
use crate::w1::METRICS;
use crate::w1::report::Spread;
use anyhow::{Context as _, Result, ensure};

/// Numbers of devices, and how they are written.
const DEVICES: [(u32, &str); 4] = [(10_000, "10k"), (100_000, "100k"), (1_000_000, "1M"), (2_000_000, "2M")];

/// Messages of a run: at 2 million devices two minutes of event time.
const MESSAGES: &str = "8000000";

/// How many times as much CPU a message may cost at the next number of devices.
const CLIFF: f64 = 2.5;

/// The picture's name, in the folder of the results.
const PICTURE: &str = "growth.png";

/// The runs with one number of devices.
#[derive(Default)]
struct Size {
    cpu_ns: Vec<f64>,
    series_bytes: Vec<f64>,
}

pub(super) fn run(context: &Context) -> Result<String> {
    let mut sizes: [Size; DEVICES.len()] = Default::default();
    for round in 0..context.rounds {
        let mut order: Vec<usize> = (0..DEVICES.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for turn in order {
            let (devices, name) = DEVICES[turn];
            let arguments = ["--devices", &devices.to_string(), "--messages", MESSAGES];
            let (answer, _) = context.result("growth", &arguments)?;
            let cpu_ns = answer.number("engine_cpu_s")? / answer.number("messages")? * 1e9;
            let series_bytes = answer.number("grown_bytes")? / answer.number("series")?;
            eprintln!(
                "growth round {} {name}: {cpu_ns:.0} CPU ns a message, {series_bytes:.0} bytes a series",
                round + 1
            );
            sizes[turn].cpu_ns.push(cpu_ns);
            sizes[turn].series_bytes.push(series_bytes);
        }
    }
    let spread = |figures: &[f64]| Spread::of(figures.iter().copied()).context("there is nothing to run");
    let cpu = sizes
        .iter()
        .map(|size| spread(&size.cpu_ns))
        .collect::<Result<Vec<_>>>()?;
    let bytes = sizes
        .iter()
        .map(|size| spread(&size.series_bytes))
        .collect::<Result<Vec<_>>>()?;
    let slope = bytes_of_further_series(&bytes);
    let panels = [
        panel("CPU ns per message", &cpu),
        panel("bytes per open series", &bytes),
    ];
    chart::write(&context.pictures.join(PICTURE), &panels)?;
    no_cliff(&cpu)?;
    Ok(text(&cpu, &bytes, slope))
}

fn panel(title: &str, spreads: &[Spread]) -> Panel {
    let points = DEVICES.iter().zip(spreads).map(|((devices, label), spread)| Point {
        label: (*label).to_owned(),
        x: f64::from(*devices),
        median: spread.median,
        min: spread.min,
        max: spread.max,
    });
    Panel {
        title: title.to_owned(),
        axis: Axis::Logarithmic("devices"),
        points: points.collect(),
    }
}

/// An error where a message suddenly costs far more.
fn no_cliff(cpu: &[Spread]) -> Result<()> {
    for (pair, names) in cpu.windows(2).zip(DEVICES.windows(2)) {
        let growth = pair[1].median / pair[0].median;
        ensure!(
            growth <= CLIFF,
            "a cliff: a message costs {growth:.2} times as much CPU at {} devices as at {}, more than {CLIFF}",
            names[1].1,
            names[0].1
        );
    }
    Ok(())
}

/// What each series takes beyond those of the fewest devices, up to the most.
fn bytes_of_further_series(bytes: &[Spread]) -> f64 {
    let (first, last) = (0, DEVICES.len() - 1);
    let series = [first, last].map(|place| f64::from(DEVICES[place].0) * METRICS.len() as f64);
    (bytes[last].median * series[1] - bytes[first].median * series[0]) / (series[1] - series[0])
}

fn text(cpu: &[Spread], bytes: &[Spread], slope: f64) -> String {
    let rows = DEVICES
        .iter()
        .zip(cpu)
        .zip(bytes)
        .map(|(((devices, name), cpu), bytes)| {
            let series = u64::from(*devices) * METRICS.len() as u64;
            format!("| {name} | {series} | {cpu:.0} | {bytes:.0} |\n")
        });
    format!(
        "Minutes from memory on one thread: {MESSAGES} messages of four metrics, two of each device in a minute, so \
         that more devices cover less event time. The correction horizon is a minute, so that what is in memory is \
         open or closed lately. Bytes are what the process has grown by, per series, names and duplicates' hashes \
         included; with few devices most of it does not depend on them: rows on their way, buffers, closed panes of an \
         epoch that covers minutes. Each series beyond those of {} devices takes {slope:.0} bytes. The section fails when a message costs more than {CLIFF} times as much CPU from one size to the \
         next.\n\n\
         | devices | open series | CPU ns per message | bytes per open series |\n|---|---|---|---|\n{}\n\
         ![CPU per message and bytes per series over the number of devices]({PICTURE})\n",
        DEVICES[0].1,
        rows.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spreads(medians: [f64; 4]) -> Vec<Spread> {
        medians
            .map(|median| Spread {
                median,
                min: median,
                max: median,
            })
            .to_vec()
    }

    #[test]
    fn what_is_fixed_is_not_a_further_series() {
        // 1 GB whatever the number, and 500 bytes a series.
        let sizes = DEVICES.map(|(devices, _)| f64::from(devices) * 4.0);
        let bytes = spreads(sizes.map(|series| 1e9 / series + 500.0));
        assert!((bytes_of_further_series(&bytes) - 500.0).abs() < 1e-6);
    }

    #[test]
    fn a_cliff_is_an_error_that_says_where() {
        assert!(no_cliff(&spreads([100.0, 250.0, 500.0, 400.0])).is_ok());
        let error = no_cliff(&spreads([100.0, 150.0, 450.0, 450.0]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("3.00 times") && error.contains("at 1M devices as at 100k"),
            "{error}"
        );
    }
}
