//! Of the rows of a delivery, the last of each key, by table and in the order of the key.

use super::tables::{Table, table};
use tidewatch_proto::ids::Name;
use tidewatch_proto::row::{Delivery, Job, Row};
use tidewatch_proto::time::EventTime;

/// The rows of one table, sorted, each key once: index pages are visited in order, and so are locks.
pub(super) fn of_table<'r>(delivery: &'r Delivery<Row>, wanted: &'static Table) -> Vec<&'r Row> {
    let of_table = delivery.items.iter().filter(|row| std::ptr::eq(table(row.job), wanted));
    // The beginning of the key decides nearly always, and is compared without a look at the row.
    let mut sorted: Vec<(u128, &Row)> = of_table.map(|row| (beginning(&row.key), row)).collect();
    // Stable: of rows with the same key the later stays behind.
    sorted.sort_by(|(left, left_row), (right, right_row)| {
        left.cmp(right).then_with(|| key(left_row).cmp(&key(right_row)))
    });
    let mut rows: Vec<&Row> = Vec::with_capacity(sorted.len());
    for (_, row) in sorted {
        match rows.last_mut() {
            Some(last) if key(last) == key(row) => *last = row,
            _ => rows.push(row),
        }
    }
    rows
}

/// What is unique in a table.
fn key(row: &Row) -> (&Name, Job, &Name, EventTime) {
    (&row.key, row.job, &row.metric, row.window_start)
}

/// The first bytes of a name as a number of the same order.
fn beginning(name: &str) -> u128 {
    let mut bytes = [0; 16];
    for (byte, of_name) in bytes.iter_mut().zip(name.as_bytes()) {
        *byte = *of_name;
    }
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::row;
    use crate::postgres::tables::WINDOWED;
    use tidewatch_proto::ids::{Epoch, Generation};

    #[test]
    fn the_last_of_each_key_in_order() {
        let rows = [
            row(Job::Minute, "a-long-name-of-a-device-2", 0, 1),
            row(Job::Minute, "b", 0, 1),
            row(Job::Hour, "b", 0, 1),
            row(Job::Minute, "b", 1, 2),
            row(Job::Minute, "a-long-name-of-a-device-1", 0, 2),
            row(Job::Minute, "b", 0, 3),
        ];
        let delivery = Delivery {
            generation: Generation(1),
            through: Epoch(3),
            items: rows.to_vec(),
        };
        let [minutes, _, hours, ..] = WINDOWED.map(|wanted| of_table(&delivery, wanted));
        assert_eq!(minutes, [&rows[4], &rows[0], &rows[5], &rows[3]]);
        assert_eq!(hours, [&rows[2]]);
    }
}
