//! Records at which a worker has crashed: those of a range are taken one by one, so that the next crash names one, and
//! one at which a worker has crashed twice is poison.

use crate::witness::Crash;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::Record;

/// How a record is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Like any other.
    Clear,
    /// By itself: a worker has crashed at it or near it.
    Suspect,
    /// Not at all: a worker has crashed at it twice, and said this.
    Poison(String),
}

/// Where workers have crashed.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects(Vec<Crash>);

impl Suspects {
    pub(super) fn new(crashes: &[Crash]) -> Suspects {
        Suspects(crashes.to_vec())
    }

    /// Whether any of these records, which are in the order of the log, is not clear.
    #[inline]
    pub(super) fn concern(&self, partition: Partition, records: &[Record<'_>]) -> bool {
        !self.0.is_empty() && self.are_among(partition, records)
    }

    #[cold]
    fn are_among(&self, partition: Partition, records: &[Record<'_>]) -> bool {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return false;
        };
        let mut ats = self.0.iter().map(|crash| crash.at);
        ats.any(|at| at.partition == partition && at.first <= last.offset && first.offset <= at.last)
    }

    /// How a record is to be taken.
    pub(super) fn verdict(&self, partition: Partition, offset: Offset) -> Verdict {
        let (mut crashes, mut named) = (0, None);
        for crash in self.0.iter().filter(|crash| crash.at.covers(partition, offset)) {
            crashes += 1;
            if crash.at.first == crash.at.last {
                named = Some(&crash.problem);
            }
        }
        match (crashes, named) {
            (0, _) => Verdict::Clear,
            (2.., Some(problem)) => Verdict::Poison(format!(
                "a worker has crashed at it {crashes} times, the last time: {problem}"
            )),
            _ => Verdict::Suspect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::At;
    use tidewatch_proto::headers::Headers;

    fn suspects(ranges: &[(u32, i64, i64)]) -> Suspects {
        let crash = |(partition, first, last): &(u32, i64, i64)| Crash {
            at: At {
                partition: Partition(*partition),
                first: Offset(*first),
                last: Offset(*last),
            },
            problem: "overflow".to_owned(),
        };
        Suspects(ranges.iter().map(crash).collect())
    }

    #[test]
    fn a_record_is_poison_when_a_second_crash_names_it() {
        let verdict = |ranges: &[(u32, i64, i64)]| match suspects(ranges).verdict(Partition(1), Offset(7)) {
            Verdict::Clear => "clear",
            Verdict::Suspect => "suspect",
            Verdict::Poison(_) => "poison",
        };
        assert_eq!(verdict(&[]), "clear");
        assert_eq!(verdict(&[(0, 0, 9), (1, 8, 9), (1, 1, 6)]), "clear");
        assert_eq!(verdict(&[(1, 7, 7)]), "suspect");
        assert_eq!(verdict(&[(1, 0, 9)]), "suspect");
        assert_eq!(verdict(&[(1, 0, 9), (1, 5, 8)]), "suspect", "neither says which");
        assert_eq!(verdict(&[(1, 0, 9), (1, 8, 8)]), "suspect", "the second was another");
        assert_eq!(verdict(&[(1, 0, 9), (1, 7, 7)]), "poison");
        assert_eq!(verdict(&[(1, 7, 7), (1, 7, 7)]), "poison");
    }

    #[test]
    fn records_near_a_crash_are_looked_at() {
        let record = |offset| Record {
            offset: Offset(offset),
            log_time: None,
            key: None,
            payload: b"",
            headers: Headers::NONE,
        };
        let suspects = suspects(&[(1, 5, 8)]);
        let concern = |partition, first, last| suspects.concern(Partition(partition), &[record(first), record(last)]);
        assert!(concern(1, 0, 5) && concern(1, 8, 9) && concern(1, 0, 99));
        assert!(!concern(1, 0, 4) && !concern(1, 9, 10) && !concern(0, 5, 8));
        assert!(!suspects.concern(Partition(1), &[]));
    }
}
