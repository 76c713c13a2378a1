//! What leaves the log, and what stays.

use super::*;

/// A log that keeps records for an hour, and four mebibytes of them.
fn place() -> Place {
    Place::new(LogConfig {
        partitions: 1,
        retention: Span::from_secs(3_600),
        retention_bytes: Size(4 << 20),
        ..quick()
    })
}

/// Appends a batch of so many bytes at a time.
fn append_large(writer: &LogWriter, bytes: usize, time_ms: i64) -> Offset {
    let mut batch = Batch::default();
    batch.push(None, &vec![1; bytes], LogTime(time_ms));
    writer.append(Partition(0), &batch, Origin::default()).unwrap()
}

fn wait_until(what: &str, is_true: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn records_leave_when_their_time_has_come() {
    let place = place();
    let (writer, log) = place.open();
    log.let_go();
    for minute in 0..90 {
        let end = append_large(&writer, 100, minute * 60_000);
        assert!(writer.wait(Partition(0), end, LIMIT));
    }
    place.now_ms.store(90 * 60_000, Ordering::Relaxed);
    let first = || log.log.parts[0].first().0;
    // A file spans seven or eight minutes.
    wait_until("old files leave", || (22..=30).contains(&first()));
    assert!(place.files(0).len() >= 8);
    // Also when nothing more comes.
    place.now_ms.store(5 * HOUR_MS, Ordering::Relaxed);
    wait_until("all files leave", || first() == 90);
    let health = log.health();
    assert_eq!((health.by_age.records, health.by_room.records), (90, 0));
    assert!(health.by_age.files >= 10 && health.by_age.bytes > 9_000, "{health:?}");
    assert_eq!(place.files(0).len(), 1, "an empty one is left");
    let tail = writer.tail(Partition(0)).unwrap();
    assert_eq!((tail.end, tail.time), (Offset(90), Some(LogTime(89 * 60_000))));
    drop((writer, log));
    let (writer, log) = place.open();
    assert_eq!(
        writer.tail(Partition(0)),
        Some(tail),
        "it is still known where it ended"
    );
    append_large(&writer, 100, 5 * HOUR_MS);
    assert!(writer.flush(LIMIT));
    assert_eq!(read(&log, 0, 90).unwrap().len(), 1);
}

#[test]
fn the_oldest_leave_when_the_bytes_are_used_up() {
    let place = place();
    let (writer, log) = place.open();
    log.let_go();
    let mut end = Offset(0);
    for _ in 0..100 {
        end = append_large(&writer, 200_000, 0);
        assert!(writer.wait(Partition(0), end, LIMIT));
        let bytes: u64 = place.files(0).iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes <= 4 << 20, "{bytes} bytes");
    }
    assert_eq!(end, Offset(100));
    let first = log.log.parts[0].first();
    assert!((80..=90).contains(&first.0), "{first}");
    assert_eq!(read(&log, 0, first.0).unwrap().len() as i64, 100 - first.0);
}

#[test]
fn what_a_checkpoint_may_come_back_to_stays_and_the_writer_waits() {
    let place = place();
    let (writer, log) = place.open();
    log.begin(None).unwrap();
    for _ in 0..60 {
        append_large(&writer, 200_000, 0);
    }
    assert!(!writer.flush(Duration::from_millis(300)), "there is no room");
    let heard = place.heard();
    assert!(heard[0].contains("which is log.retention_bytes"), "{heard:?}");
    let end = || writer.tail(Partition(0)).unwrap().end;
    let stuck = end();
    assert!((15..=21).contains(&stuck.0), "{stuck}");
    assert_eq!(read(&log, 0, 0).unwrap().len() as i64, stuck.0, "nothing is lost");
    // By the first checkpoint the one before it is still where reading began.
    log.read_until(&[(Partition(0), stuck)]);
    assert!(!writer.flush(Duration::from_millis(300)));
    assert_eq!(end(), stuck);
    log.read_until(&[(Partition(0), stuck)]);
    wait_until("there is room again", || end() > stuck);
    while end() < Offset(60) {
        log.read_until(&[(Partition(0), end())]);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(writer.flush(LIMIT));
    wait_until("it is told", || {
        place
            .heard()
            .iter()
            .any(|line| line.contains("it can be written again"))
    });
}

#[test]
fn what_another_reader_still_needs_stays() {
    let place = place();
    let (writer, log) = place.open();
    log.let_go();
    log.hold(&[(Partition(0), Offset(10))]);
    for _ in 0..60 {
        append_large(&writer, 200_000, 0);
    }
    assert!(!writer.flush(Duration::from_millis(300)), "there is no room");
    let heard = place.heard();
    assert!(heard[0].contains("or the archive, have not come by"), "{heard:?}");
    let first = log.log.parts[0].first();
    assert!(first <= Offset(10), "{first}");
    assert_eq!(
        log.positions(None).unwrap(),
        [first],
        "who begins anew begins with what there is"
    );
    log.hold(&[(Partition(0), Offset(60))]);
    assert!(writer.flush(LIMIT), "what nobody needs makes room");
    assert!(log.log.parts[0].first() > Offset(10));
}
