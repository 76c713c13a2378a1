//! The checks of a sink for dead letters.

use crate::hot::LetterStore;
use crate::{ErrorKind, Sink};
use tidewatch_proto::ids::{Epoch, Generation, Offset, Partition};
use tidewatch_proto::query::{Letter, LetterQuery, Replay};
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::row::Delivery;
use tidewatch_proto::time::LogTime;

/// A large payload: near the largest message that Kafka takes by default.
pub const LARGE_BYTES: usize = 700_000;

/// A sink for dead letters under test.
pub struct LetterSubject<'a> {
    /// Opens the sink, anew each time, on the same store.
    pub sink: &'a dyn Fn() -> Box<dyn Sink<Reject>>,
    /// Reads back every (partition, offset) once, in any order.
    pub letters: &'a dyn Fn() -> Vec<Reject>,
    /// Whether an older generation is refused.
    pub fences: bool,
    /// The largest payload to try, [`LARGE_BYTES`] where nothing speaks against it.
    pub payload_bytes: usize,
}

/// Checks that a store gives dead letters back as they were delivered. The store must be empty; partition 0 is used, and
/// called `name`.
///
/// # Panics
/// When it fails.
pub fn letter_store(sink: &mut dyn Sink<Reject>, store: &dyn LetterStore, name: &str) {
    let given = samples(1_000);
    let given: Vec<Reject> = given.into_iter().filter(|letter| letter.partition.0 == 0).collect();
    let delivery = Delivery {
        generation: Generation(1),
        through: Epoch(1),
        items: given.clone(),
    };
    if let Err(error) = sink.deliver(&delivery) {
        panic!("the delivery failed: {error}");
    }
    let ask = |reason, before, limit| match store.letters(&LetterQuery { reason, before, limit }) {
        Ok(letters) => letters,
        Err(error) => panic!("reading letters: {error}"),
    };
    let all = ask(None, None, 100);
    assert_eq!(all.len(), given.len(), "each once");
    for (letter, reject) in all.iter().rev().zip(&given) {
        assert_eq!(letter, &as_read(reject, letter.number, name), "the latest come first");
    }
    assert!(all.windows(2).all(|two| two[0].number > two[1].number), "in order");
    assert_eq!(ask(None, None, 2), all[..2], "a limit");
    assert_eq!(ask(None, Some(all[1].number), 3), all[2..5], "before one");
    let of_reason: Vec<Letter> = all
        .iter()
        .filter(|letter| letter.reason == Reason::Future)
        .cloned()
        .collect();
    assert_eq!(ask(Some(Reason::Future), None, 100), of_reason, "of a reason");
    assert_eq!(ask(None, Some(1), 100), [], "before the first");
    replays(store, all[1].number, all[0].number + 1);
    assert_eq!(
        ask(None, Some(all[1].number), 3),
        all[2..5],
        "the others are as they were"
    );
}

/// Checks that a letter has the last replay that was noted in place of the one before, and only of that.
fn replays(store: &dyn LetterStore, number: u64, missing: u64) {
    let noted = |number, before, replay: &Replay| match store.note_replay(number, before, replay) {
        Ok(noted) => noted,
        Err(error) => panic!("noting a replay: {error}"),
    };
    let read = || {
        let before = Some(number + 1);
        let query = LetterQuery {
            reason: None,
            before,
            limit: 1,
        };
        let letters = store
            .letters(&query)
            .unwrap_or_else(|error| panic!("reading letters: {error}"));
        letters[0].replay
    };
    let begun = Replay {
        id: u64::MAX,
        at_ms: 1_700_000_000_001,
        from: Offset(7),
        offset: None,
    };
    let done = Replay {
        offset: Some(Offset(9)),
        ..begun
    };
    let again = Replay { id: 5, ..begun };
    assert_eq!(read(), None, "not replayed");
    assert!(!noted(number, Some(5), &done), "another replay's");
    assert!(noted(number, None, &begun), "the first");
    assert!(!noted(number, None, &again), "a second at the same time");
    assert_eq!(read(), Some(begun), "on its way");
    assert!(noted(number, Some(u64::MAX), &done), "it is there");
    assert_eq!(read(), Some(done), "done");
    assert!(noted(number, Some(u64::MAX), &again), "once more, on purpose");
    assert_eq!(read(), Some(again), "on its way again");
    assert!(!noted(missing, None, &begun), "a letter that isn't there");
}

fn as_read(reject: &Reject, number: u64, name: &str) -> Letter {
    Letter {
        number,
        partition: name.to_owned(),
        offset: reject.offset,
        log_time_ms: reject.log_time.map(|time| time.0),
        reason: reject.reason,
        detail: reject.detail.clone(),
        key: reject.key.clone(),
        payload: reject.payload.clone(),
        replay: None,
    }
}

/// Puts a sink through every check. The store must be empty; partitions 0 and 1 are used.
///
/// # Panics
/// When it fails one.
pub fn dead_letter_sink(subject: &LetterSubject<'_>) {
    let deliver = |generation: u64, through: u64, items: &[Reject]| {
        let delivery = Delivery {
            generation: Generation(generation),
            through: Epoch(through),
            items: items.to_vec(),
        };
        (subject.sink)().deliver(&delivery)
    };
    let accept = |through, items: &[Reject]| {
        if let Err(error) = deliver(1, through, items) {
            panic!("the delivery through {through} failed: {error}");
        }
    };
    let mut letters = samples(subject.payload_bytes);
    accept(1, &letters[..2]);
    expect(subject, "two letters", &letters[..2]);
    accept(2, &letters);
    accept(2, &letters);
    expect(subject, "the same again in a larger delivery", &letters);
    accept(3, &[]);
    letters.extend((0..3_000).map(|offset| letter(1, 1_000 + offset, b"many")));
    accept(4, &letters);
    expect(subject, "three thousand more", &letters);
    if subject.fences {
        if let Err(error) = deliver(2, 3, &[]) {
            panic!("the new generation was refused: {error}");
        }
        match deliver(1, 5, &[letter(0, 9_999, b"late")]) {
            Ok(()) => panic!("an old generation was let in"),
            Err(error) => assert_eq!(error.kind, ErrorKind::Stop, "{error}"),
        }
        expect(subject, "what an old generation wrote", &letters);
    }
}

fn letter(partition: u32, offset: i64, payload: &[u8]) -> Reject {
    Reject {
        partition: Partition(partition),
        offset: Offset(offset),
        log_time: Some(LogTime(1_700_000_000_000 + offset)),
        reason: Reason::Schema,
        detail: "field 3 ends after the message".into(),
        key: Some(b"dev-1".to_vec()),
        payload: payload.to_vec(),
    }
}

/// Every reason, awkward keys, bytes and texts; the same offset in two partitions.
fn samples(payload_bytes: usize) -> Vec<Reject> {
    let mut letters: Vec<Reject> = Reason::ALL
        .into_iter()
        .zip(1..)
        .map(|(reason, offset)| Reject {
            reason,
            ..letter(0, offset, &[0, 255, 10, offset as u8])
        })
        .collect();
    letters.push(Reject {
        key: None,
        log_time: None,
        ..letter(1, 1, b"")
    });
    letters.push(Reject {
        key: Some(vec![0, 159, 146, 150]),
        ..letter(1, 2, &[0; 32])
    });
    letters.push(Reject {
        detail: "Ünïcøde 温度 \"quoted\"".into(),
        ..letter(1, 3, b"x")
    });
    letters.push(letter(1, 4, &vec![7; payload_bytes]));
    letters
}

fn expect(subject: &LetterSubject<'_>, what: &str, expected: &[Reject]) {
    let mut found = (subject.letters)();
    let place = |reject: &Reject| (reject.partition, reject.offset);
    found.sort_by_key(place);
    let mut expected = expected.to_vec();
    expected.sort_by_key(place);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{what}");
    }
}
