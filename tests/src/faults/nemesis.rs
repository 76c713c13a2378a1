//! What happens to runs: one process is killed, one hangs and is replaced, a service goes away, ways are hindered.

use super::Problem;
use super::own::WAY_TO_PROCESS;
use super::run::Run;
use super::schedule::{Hung, Shape, Stint};
use super::services::Service;
use super::trial::{CHECKPOINTS, LIMIT, PACE, POLL, Trial};
use super::workload::Sent;
use crate::proxies::{Proxies, Wrong};
use std::time::{Duration, Instant};
use tidewatch_failpoints::Point;

/// How much more memory a run may take while a service is away.
const GROWTH_MAX: u64 = 64 << 20;

/// How long a way is hindered, beside half a second at least: shorter than processes wait for each other, and longer.
const HINDERED_MS: u64 = 5_000;

impl Trial {
    /// Kills a process of a run while messages come, some time after it has made a checkpoint or two of them.
    pub(super) fn kill_amid(&mut self, mut run: Run, stint: &Stint, messages: &[Sent]) -> Result<(), Problem> {
        let wanted = run.counter(CHECKPOINTS) + 1 + self.random.below(2);
        let left = self.produce_until(messages, |_| run.counter(CHECKPOINTS) >= wanted);
        let mut more = self.random.below(20);
        let left = self.produce_until(left, |_| {
            more = more.saturating_sub(1);
            more == 0
        });
        run.check_runs()?;
        self.note(&run, stint);
        // The moment is the nemesis' choice: nothing is waited for.
        std::thread::sleep(Duration::from_millis(self.random.below(100)));
        let doomed = self.random.below(run.len() as u64) as usize;
        run.kill_one(doomed, LIMIT)?;
        self.feed.produce(left);
        Ok(())
    }

    /// The run hangs at a place, or one process of it does; another run with other processes replaces it, and it wakes
    /// up: it must end and say why.
    pub(super) fn zombie(
        &mut self,
        stint: &Stint,
        (point, hung): (Point, Hung),
        messages: &[Sent],
    ) -> Result<(), Problem> {
        let shapes = self.plan.store.shapes();
        let others = shapes.iter().filter(|shape| shape.processes != stint.shape.processes);
        let others: Vec<&Shape> = others.collect();
        let other = *others[self.random.below(others.len() as u64) as usize];
        // The first process makes the manifests; the last one is not it.
        let hanging = match hung {
            Hung::All => 0,
            Hung::One => stint.shape.processes - 1,
        };
        let (first, second) = messages.split_at(messages.len() / 2);
        let orders = |index| match index == hanging {
            true => format!("{}=hang@3", point.name()),
            false => String::new(),
        };
        let mut old = self.start(stint.shape, orders);
        let left = self.produce_until(first, |_| old.hangs(hanging));
        let begun = Instant::now();
        while !old.hangs(hanging) {
            old.check_runs()?;
            if begun.elapsed() > LIMIT {
                return Err(format!("it has not come to {}: {}", point.name(), old.said()));
            }
            std::thread::sleep(POLL);
        }
        match hung {
            Hung::All => old.signal("STOP"),
            Hung::One => old.others_end(hanging, LIMIT)?,
        }
        let mut next = self.start(other, |_| String::new());
        self.produce_paced(left);
        self.wait_durable(&mut next, stint)?;
        old.signal("CONT");
        self.produce_paced(second);
        old.end_replaced(LIMIT)?;
        self.wait_durable(&mut next, stint)?;
        self.feed.cut()?;
        self.note(&next, stint);
        next.kill();
        Ok(())
    }

    /// A service is killed so many times while messages come; the run lives on, and catches up each time.
    pub(super) fn crashes(
        &mut self,
        run: &mut Run,
        stint: &Stint,
        (service, count): (Service, usize),
        messages: &[Sent],
    ) -> Result<(), Problem> {
        for part in messages.chunks(messages.len().div_ceil(count).max(1)) {
            let (before, amid) = part.split_at(part.len() / 2);
            self.produce_paced(before);
            std::thread::sleep(Duration::from_millis(self.random.below(500)));
            self.services.kill(service);
            std::thread::sleep(Duration::from_millis(self.random.below(2_000)));
            self.services.resume(service);
            self.produce_paced(amid);
            run.check_runs()?;
            self.wait_durable(run, stint)?;
            self.feed.cut()?;
        }
        Ok(())
    }

    /// A service is away for a time, while messages come as long as there is a broker: memory stays bounded, and all is
    /// caught up with.
    pub(super) fn outage(
        &mut self,
        run: &mut Run,
        stint: &Stint,
        (service, time): (Service, Duration),
        messages: &[Sent],
    ) -> Result<(), Problem> {
        let (before, amid) = messages.split_at(messages.len() / 4);
        self.produce_paced(before);
        self.wait_durable(run, stint)?;
        let (begun, at_first) = (Instant::now(), run.resident_bytes());
        self.services.kill(service);
        let mut left = amid;
        let mut most = at_first;
        let size = amid.len().div_ceil(1 + (time.as_millis() / PACE.as_millis()) as usize);
        while begun.elapsed() < time {
            if service != Service::Kafka {
                let (part, rest) = left.split_at(size.min(left.len()));
                self.feed.produce(part);
                left = rest;
            }
            run.check_runs()?;
            most = most.max(run.resident_bytes());
            std::thread::sleep(PACE);
        }
        self.services.resume(service);
        self.produce_paced(left);
        self.wait_durable(run, stint)?;
        let grown = most.saturating_sub(at_first);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        self.lines.push(format!(
            "  {service:?} was away for {time:?}: {:.1} MiB grew by {:.1} MiB at most",
            mib(at_first),
            mib(grown)
        ));
        match grown <= GROWTH_MAX {
            true => Ok(()),
            false => Err(format!(
                "{:.1} MiB grew by {:.1} MiB while {service:?} was away",
                mib(at_first),
                mib(grown)
            )),
        }
    }

    /// On each way everything goes wrong once, for a time, while messages come. A run that loses the way between its
    /// processes ends and is started again; nothing else ends it.
    pub(super) fn hindered(&mut self, run: &mut Run, stint: &Stint, messages: &[Sent]) -> Result<(), Problem> {
        let names = self.services.proxies.as_ref().map_or_else(Vec::new, Proxies::names);
        let rounds: Vec<(String, Wrong)> = Wrong::ALL
            .into_iter()
            .flat_map(|wrong| names.iter().map(move |name| (name.clone(), wrong)))
            .collect();
        let parts = messages.chunks(messages.len().div_ceil(rounds.len()).max(1));
        for (part, (name, wrong)) in parts.zip(&rounds) {
            let (before, after) = part.split_at(part.len() / 2);
            self.feed.produce(before);
            let time = Duration::from_millis(500 + self.random.below(HINDERED_MS));
            if let Some(proxies) = &self.services.proxies {
                proxies.hinder(name, *wrong, time);
            }
            self.feed.produce(after);
            if name.starts_with(WAY_TO_PROCESS) && run.ended().is_some() {
                run.end_lost(LIMIT)?;
                self.lines.push(format!("  ended by {wrong:?} on the way to {name}"));
                *run = self.start(stint.shape, |_| String::new());
            }
            let about = |problem| format!("after {wrong:?} on the way to {name} for {time:?}: {problem}");
            self.wait_durable(run, stint).map_err(about)?;
            self.feed.cut()?;
        }
        Ok(())
    }
}
