//! What the environment asks for, and doing it.

use crate::{Bug, Injected, Point};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Fail,
    Wait(Duration),
    Hang,
}

/// When it happens: from which passing on, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    action: Action,
    from: u64,
    times: u64,
}

#[derive(Debug)]
struct Orders {
    at: BTreeMap<Point, Order>,
    bug: Option<Bug>,
    seen: Option<PathBuf>,
    passed: Mutex<BTreeMap<Point, u64>>,
}

static ORDERS: LazyLock<Orders> = LazyLock::new(|| {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let at = variable("TIDEWATCH_FAILPOINT").map_or(Ok(BTreeMap::new()), |text| parse(&text));
    let bug = variable("TIDEWATCH_BUG").map(|name| {
        let found = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
        found.ok_or_else(|| format!("TIDEWATCH_BUG: there is no bug {name}"))
    });
    match (at, bug.transpose()) {
        (Ok(at), Ok(bug)) => Orders {
            at,
            bug,
            seen: variable("TIDEWATCH_FAILPOINTS_SEEN").map(PathBuf::from),
            passed: Mutex::default(),
        },
        (Err(problem), _) | (_, Err(problem)) => {
            eprintln!("{problem}");
            std::process::exit(2);
        }
    }
});

/// Reads `point=action` with `;` between.
fn parse(text: &str) -> Result<BTreeMap<Point, Order>, String> {
    let orders = text.split(';').map(|order| {
        parse_order(order).ok_or_else(|| format!("TIDEWATCH_FAILPOINT: {order:?} is no order such as remove=kill@2"))
    });
    orders.collect()
}

fn parse_order(text: &str) -> Option<(Point, Order)> {
    let (name, rest) = text.split_once('=')?;
    let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
    let (rest, from) = rest.split_once('@').unwrap_or((rest, "1"));
    let (action, times) = rest.split_once('*').unwrap_or((rest, "1"));
    let action = match action.split_once(':') {
        None if action == "kill" => Action::Kill,
        None if action == "error" && point.can_fail() => Action::Fail,
        None if action == "hang" => Action::Hang,
        Some(("delay", ms)) => Action::Wait(Duration::from_millis(ms.parse().ok()?)),
        _ => return None,
    };
    let order = Order {
        action,
        from: from.parse().ok()?,
        times: times.parse().ok()?,
    };
    Some((point, order))
}

/// Passes a place.
pub(crate) fn check(point: Point) -> Result<(), Injected> {
    let orders = &*ORDERS;
    let passing = {
        let mut passed = orders.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let passing = passed.entry(point).or_insert(0);
        *passing += 1;
        *passing
    };
    if passing == 1
        && let Some(path) = &orders.seen
        && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path)
    {
        // One write: nothing of it is lost or torn when the process is killed.
        let _ = file.write_all(format!("{}\n", point.name()).as_bytes());
    }
    let Some(order) = orders.at.get(&point) else {
        return Ok(());
    };
    if !(order.from..order.from + order.times).contains(&passing) {
        return Ok(());
    }
    match order.action {
        Action::Kill => die(),
        Action::Fail => Err(Injected(point)),
        Action::Wait(time) => {
            std::thread::sleep(time);
            Ok(())
        }
        Action::Hang => {
            hang();
            Ok(())
        }
    }
}

/// Whether this mistake is to be made.
pub(crate) fn has_bug(bug: Bug) -> bool {
    ORDERS.bug == Some(bug)
}

/// Ends the process as `kill -9` does: nothing is flushed, nothing is dropped.
fn die() -> ! {
    // SAFETY: both calls take and give plain numbers and touch no memory of ours.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    // The signal is on its way to this thread at the latest.
    loop {
        std::thread::park();
    }
}

/// Stops the whole process, here, as `kill -STOP` does.
fn hang() {
    // SAFETY: the call takes a plain number and touches no memory of ours.
    unsafe { libc::raise(libc::SIGSTOP) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let orders = parse("remove=kill@3;postgres-commit=error*2;confirm=delay:5;removed=hang").expect("orders");
        let order = |action, from, times| Order { action, from, times };
        assert_eq!(orders[&Point::Remove], order(Action::Kill, 3, 1));
        assert_eq!(orders[&Point::PostgresCommit], order(Action::Fail, 1, 2));
        let wait = Action::Wait(Duration::from_millis(5));
        assert_eq!(orders[&Point::Confirm], order(wait, 1, 1));
        assert_eq!(orders[&Point::Removed], order(Action::Hang, 1, 1));
        for wrong in [
            "remove",
            "nowhere=kill",
            "remove=stop",
            "confirm=error",
            "remove=kill@x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
