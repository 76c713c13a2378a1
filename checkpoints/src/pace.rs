//! How often checkpoints are made: the first one at once, so that a run that began again is soon safe again; then every
//! second, less often when that costs too much, but not in the beginning: somebody waits for what sinks are to get.

use std::time::{Duration, Instant};

/// The shortest time between two checkpoints.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest time between two checkpoints.
const LONGEST: Duration = Duration::from_secs(10);
/// How long a run's beginning lasts, and the longest time between two checkpoints of it.
const BEGINNING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(2));
/// The share of all cores that making checkpoints may take before they are made less often.
const SHARE_MAX: f64 = 0.05;

/// When the next checkpoint is due.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    /// When the last one was made, if any was.
    last: Option<Instant>,
    begun: Instant,
    /// The CPU time of the thread that makes them, at the last one.
    cpu: Duration,
    cores: f64,
}

impl Pace {
    /// A pace on so many cores, from now on.
    pub fn new(cores: usize) -> Pace {
        Pace {
            interval: SHORTEST,
            last: None,
            begun: Instant::now(),
            cpu: thread_cpu(),
            cores: cores.max(1) as f64,
        }
    }

    /// The time between two checkpoints, as it is now.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How long until the next checkpoint is due: of something that is new, or of time alone.
    pub fn wait(&self, is_new: bool) -> Duration {
        let interval = if is_new { self.interval } else { LONGEST };
        let left = |last: Instant| interval.saturating_sub(last.elapsed());
        self.last.map_or(Duration::ZERO, left)
    }

    /// A checkpoint was made, by this thread.
    pub fn made(&mut self) {
        let (cpu, now) = (thread_cpu(), Instant::now());
        let since = self.last.unwrap_or(self.begun);
        let share = share(cpu.saturating_sub(self.cpu), now - since, self.cores);
        self.interval = next(self.interval, share, longest(now - self.begun));
        (self.cpu, self.last) = (cpu, Some(now));
    }
}

fn share(cpu: Duration, wall: Duration, cores: f64) -> f64 {
    cpu.as_secs_f64() / (wall.as_secs_f64().max(f64::MIN_POSITIVE) * cores)
}

/// The longest time between two checkpoints of a run that has lasted so long.
fn longest(lasted: Duration) -> Duration {
    let (beginning, longest) = BEGINNING;
    if lasted < beginning { longest } else { LONGEST }
}

fn next(interval: Duration, share: f64, longest: Duration) -> Duration {
    let factor = if share > SHARE_MAX { 1.5 } else { 0.8 };
    interval.mul_f64(factor).clamp(SHORTEST, longest)
}

/// The CPU time of this thread, where the system tells it.
fn thread_cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ran = told.and_then(|told| told.split_whitespace().next()?.parse().ok());
    Duration::from_nanos(ran.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_due_at_once_and_the_next_a_while_later() {
        let mut pace = Pace::new(2);
        assert_eq!(pace.wait(false), Duration::ZERO);
        pace.made();
        assert!(pace.wait(true) > Duration::ZERO && pace.wait(false) > pace.wait(true));
    }

    #[test]
    fn the_interval_grows_with_the_cost_and_shrinks_again() {
        let second = Duration::from_secs(1);
        let dear = share(Duration::from_millis(300), second, 2.0);
        let cheap = share(Duration::from_millis(50), second, 2.0);
        let mut interval = SHORTEST;
        for _ in 0..20 {
            interval = next(interval, dear, longest(BEGINNING.0));
        }
        assert_eq!(interval, LONGEST);
        assert_eq!(next(interval, dear, longest(Duration::ZERO)), BEGINNING.1);
        for _ in 0..20 {
            interval = next(interval, cheap, LONGEST);
        }
        assert_eq!(interval, SHORTEST);
    }
}
