//! Answers as text: what an oracle or a RESULT line says, read back.

use super::tally::Tally;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// Tallies by their labels, such as `steady` or `all flaky`, and the other numbers that a system gives of its run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    tallies: BTreeMap<String, Tally>,
    numbers: BTreeMap<String, f64>,
}

impl Answer {
    /// Reads lines of `label… rows=… count=… hash=…`; several labels may share a line. Of other pairs those count
    /// whose value is a number.
    pub fn parse(text: &str) -> Result<Self> {
        let mut answer = Self::default();
        for line in text.lines() {
            answer
                .parse_line(line)
                .with_context(|| format!("not an answer: {line}"))?;
        }
        Ok(answer)
    }

    /// The tally of a label.
    pub fn tally(&self, label: &str) -> Result<Tally> {
        self.tallies
            .get(label)
            .copied()
            .with_context(|| format!("no tally is called '{label}'"))
    }

    /// The number of a key, such as `run_s` or `messages`.
    pub fn number(&self, key: &str) -> Result<f64> {
        self.numbers
            .get(key)
            .copied()
            .with_context(|| format!("no number is called '{key}'"))
    }

    fn parse_line(&mut self, line: &str) -> Result<()> {
        let (mut label, mut complete) = (String::new(), false);
        for word in line.strip_prefix("RESULT").unwrap_or(line).split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                if complete {
                    label.clear();
                }
                complete = false;
                label.extend((!label.is_empty()).then_some(' '));
                label.push_str(word);
                continue;
            };
            complete = true;
            match key {
                "rows" => self.tallies.entry(label.clone()).or_default().rows = value.parse()?,
                "count" => self.tallies.entry(label.clone()).or_default().count = value.parse()?,
                "hash" => self.tallies.entry(label.clone()).or_default().hash = value.parse()?,
                _ => self
                    .numbers
                    .extend(value.parse().ok().map(|number| (key.to_owned(), number))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_holds_several_tallies() {
        let answer = Answer::parse(
            "RESULT run_s=1.25 steady rows=1 count=2 hash=3 flaky rows=4 count=5 hash=6 messages=7\n\
             all flaky rows=8 count=9 hash=10\nlate messages 11",
        )
        .unwrap();
        assert_eq!(
            (answer.number("run_s").unwrap(), answer.number("messages").unwrap()),
            (1.25, 7.0)
        );
        assert!(answer.number("readings").is_err());
        assert_eq!(
            answer.tally("steady").unwrap(),
            Tally {
                rows: 1,
                count: 2,
                hash: 3
            }
        );
        assert_eq!(
            answer.tally("flaky").unwrap(),
            Tally {
                rows: 4,
                count: 5,
                hash: 6
            }
        );
        assert_eq!(
            answer.tally("all flaky").unwrap(),
            Tally {
                rows: 8,
                count: 9,
                hash: 10
            }
        );
        assert!(answer.tally("late messages").is_err());
    }
}
