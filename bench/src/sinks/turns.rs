//! Systems in turn, and what they did as a table: rows a second, and the ratio to the reference of the same round.

use crate::w1::report::Spread;
use anyhow::Result;

/// One system: its name, and a run of it that gives the seconds it took.
pub struct Turn<'a> {
    /// Its name in the table.
    pub name: String,
    /// Whether it is one that the others are compared with; with several, the fastest of the round.
    pub is_reference: bool,
    /// Runs it once.
    pub run: Box<dyn FnMut() -> Result<f64> + 'a>,
}

/// The seconds of every run of one system.
#[derive(Clone, Debug)]
pub struct Entry {
    name: String,
    is_reference: bool,
    seconds: Vec<f64>,
}

/// Runs every system once a round, every other round in reverse order.
///
/// # Errors
/// When a run fails.
pub fn in_turn(rounds: usize, turns: &mut [Turn<'_>]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = turns
        .iter()
        .map(|turn| Entry {
            name: turn.name.clone(),
            is_reference: turn.is_reference,
            seconds: Vec::new(),
        })
        .collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..turns.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let seconds = (turns[place].run)()?;
            eprintln!("round {} {}: {seconds:.2} s", round + 1, entries[place].name);
            entries[place].seconds.push(seconds);
        }
    }
    Ok(entries)
}

/// The entries as a markdown table, where each run was of so many rows.
pub fn table(rows: usize, entries: &[Entry]) -> String {
    let rounds = entries.first().map_or(0, |entry| entry.seconds.len());
    let mut text = format!("Median (min..max) of {rounds} alternating rounds of {rows} rows.\n\n");
    text.push_str("| system | k rows/s | to the reference of the round |\n|---|---|---|\n");
    for entry in entries {
        let rates = entry.seconds.iter().map(|seconds| rows as f64 / seconds / 1e3);
        let ratios = (0..rounds).filter_map(|round| {
            let references = entries.iter().filter(|entry| entry.is_reference);
            let best = references.map(|entry| entry.seconds[round]).min_by(f64::total_cmp)?;
            Some(best / entry.seconds[round])
        });
        let cell = |spread: Option<Spread>, digits: usize| spread.map_or(String::new(), |it| format!("{it:.digits$}"));
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            entry.name,
            cell(Spread::of(rates), 0),
            cell(Spread::of(ratios), 2)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_fastest_reference_of_the_round() {
        let entry = |name: &str, is_reference, seconds: &[f64]| Entry {
            name: name.into(),
            is_reference,
            seconds: seconds.to_vec(),
        };
        let entries = [
            entry("sink", false, &[2.0, 4.0]),
            entry("one", true, &[1.0, 4.0]),
            entry("other", true, &[2.0, 2.0]),
        ];
        let text = table(8_000, &entries);
        assert!(text.contains("| sink | 3 (2..4) | 0.50 (0.50..0.50) |"), "{text}");
        assert!(text.contains("| one | 5 (2..8) | 0.75 (0.50..1.00) |"), "{text}");
    }

    #[test]
    fn every_other_round_is_reversed() {
        let order = &std::cell::RefCell::new(Vec::new());
        let turn = |name: &'static str| Turn {
            name: name.into(),
            is_reference: false,
            run: Box::new(move || {
                order.borrow_mut().push(name);
                Ok(1.0)
            }),
        };
        in_turn(2, &mut [turn("a"), turn("b")]).unwrap();
        assert_eq!(*order.borrow(), ["a", "b", "b", "a"]);
    }
}
