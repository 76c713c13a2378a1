//! What somebody may have meant.

/// The known name that is nearest to a written one, when one is near.
///
/// A name is near when few letters differ, when one begins with the other, or when only the section is missing.
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |name: &'a str| name.rsplit(['.', ']']).next().unwrap_or(name);
    let written = written.to_ascii_lowercase().replace('-', "_");
    let written_last = written.rsplit('.').next().unwrap_or(&written).to_owned();
    let cost = |name: &'a str| {
        let letters = distance(&written, &name.to_ascii_lowercase());
        let far = written_last.len().max(3) / 3;
        if letters <= far {
            Some(letters)
        } else if last(name) == written_last {
            Some(far + 1)
        } else if same_section(&written, name) && begins(&written_last, last(name)) {
            Some(far + 2)
        } else {
            None
        }
    };
    known
        .filter_map(|name| Some((cost(name)?, name)))
        .min_by_key(|(cost, _)| *cost)
        .map(|(_, name)| name)
}

fn same_section(a: &str, b: &str) -> bool {
    let section = |name: &str| name.rsplit_once('.').map(|(section, _)| section.to_owned());
    section(a) == section(b)
}

fn begins(a: &str, b: &str) -> bool {
    a.len().min(b.len()) >= 3 && (a.starts_with(b) || b.starts_with(a))
}

/// How many letters have to be added, left out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_found() {
        let known = [
            "engine.lateness",
            "engine.threads",
            "kafka.brokers",
            "kafka.password_file",
            "api.listen",
        ];
        let check = |written: &str, expected: Option<&str>| {
            assert_eq!(nearest(written, known.into_iter()), expected, "{written}");
        };
        check("engine.latenes", Some("engine.lateness"));
        check("engine.laetness", Some("engine.lateness"));
        check("lateness", Some("engine.lateness"));
        check("kafka.lateness", Some("engine.lateness"));
        check("kafka.password", Some("kafka.password_file"));
        check("kafka.broker", Some("kafka.brokers"));
        check("api.colour", None);
    }
}
