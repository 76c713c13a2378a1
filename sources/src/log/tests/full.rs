//! A disk that is full: a small file system of its own, where the test may mount one.

use super::*;
use std::process::Command;

/// A file system of some mebibytes in memory, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path) -> Option<Small> {
        std::fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Small(path.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // It is only memory.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_is_told_and_what_waits_goes_on_when_there_is_room() {
    let place = Place::new(LogConfig {
        partitions: 2,
        segment_bytes: Size(500_000),
        ..quick()
    });
    let Some(small) = Small::mount(&place.path()) else {
        println!("not checked: this user may not mount a file system");
        return;
    };
    let ballast = small.0.join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let (writer, log) = place.open();
    let all = records(0, 60_000);
    let mut appended = 0;
    for some in all.chunks(1_000) {
        writer.append(Partition(0), &batch(some), Origin::default()).unwrap();
        appended += some.len() as i64;
        if !writer.flush(Duration::from_millis(500)) {
            break;
        }
    }
    assert!(appended < 60_000, "the disk is full");
    writer
        .append(Partition(1), &batch(&records(0, 10)), Origin::default())
        .unwrap();
    let heard = place.heard();
    assert!(heard[0].contains("No space left on device"), "{heard:?}");
    let end = writer.tail(Partition(0)).unwrap().end.0;
    assert!(end < appended);
    let health = log.health();
    assert!(
        health.failing_since_ms.is_some() && health.failures > 0 && health.waiting_bytes > 1_000,
        "{health:?}"
    );
    assert!(health.waiting_since_ms <= health.failing_since_ms, "{health:?}");
    assert_eq!(read(&log, 0, 0).unwrap(), records(0, end), "what is durable is read");
    std::fs::remove_file(ballast).unwrap();
    assert!(
        writer.wait(Partition(0), Offset(appended), LIMIT),
        "it goes on by itself"
    );
    assert!(writer.wait(Partition(1), Offset(10), LIMIT));
    assert!(writer.flush(LIMIT));
    let begun = Instant::now();
    while log.health().failing_since_ms.is_some() {
        assert!(begun.elapsed() < LIMIT, "{:?}", log.health());
        std::thread::sleep(Duration::from_millis(5));
    }
    let health = log.health();
    assert_eq!((health.waiting_bytes, health.waiting_since_ms), (0, None));
    assert_eq!(read(&log, 0, 0).unwrap(), records(0, appended));
    assert!(
        place
            .heard()
            .iter()
            .any(|line| line.contains("it can be written again"))
    );
    drop((writer, log));
    let (_writer, log) = place.open();
    assert_eq!(read(&log, 0, 0).unwrap(), records(0, appended));
    drop((_writer, log));
    drop(small);
}
