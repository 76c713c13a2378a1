//! A run of the program: its processes, of which each may end at any time.

use super::Problem;
use super::process::Process;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use tidewatch::run::EXIT_AGAIN;

/// The running processes of a cluster, or the only one; they are killed when this is dropped.
pub struct Run {
    processes: Vec<Process>,
    has_orders: bool,
}

/// What one process is started with.
pub struct Start {
    /// Its arguments.
    pub args: Vec<String>,
    /// Keys of its configuration.
    pub keys: Vec<(&'static str, String)>,
    /// What its failpoints do.
    pub orders: String,
    /// Variables for its failpoints beside that.
    pub faults: Vec<(&'static str, String)>,
}

impl Run {
    /// Starts all processes; what they say goes to files of this name and their numbers.
    pub fn start(starts: Vec<Start>, log: &Path) -> Run {
        let has_orders = starts.iter().any(|start| !start.orders.is_empty());
        let process = |(index, start): (usize, Start)| {
            let mut faults = start.faults;
            faults.push(("TIDEWATCH_FAILPOINT", start.orders));
            let log = log.with_extension(format!("{index}.log"));
            Process::spawn(&start.args, &start.keys, &faults, &log)
        };
        let processes = starts.into_iter().enumerate().map(process).collect();
        Run { processes, has_orders }
    }

    /// How many processes it has.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Never: it has at least one process.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Whether a failpoint of it does something.
    pub fn has_orders(&self) -> bool {
        self.has_orders
    }

    /// Whether a process of it stands still.
    pub fn hangs(&self, index: usize) -> bool {
        self.processes[index].hangs()
    }

    /// The first process that has ended, and how.
    pub fn ended(&mut self) -> Option<(usize, ExitStatus)> {
        let ended = |(index, process): (usize, &mut Process)| Some((index, process.ended()?));
        self.processes.iter_mut().enumerate().find_map(ended)
    }

    /// Fails when a process has ended.
    ///
    /// # Errors
    /// Which one, how, and what it has said.
    pub fn check_runs(&mut self) -> Result<(), Problem> {
        match self.ended() {
            None => Ok(()),
            Some((index, status)) => Err(format!(
                "process {index} ended by itself, {status}: {}",
                self.processes[index].said()
            )),
        }
    }

    /// Waits until all processes have ended.
    ///
    /// # Errors
    /// When one takes longer than the limit; then it is killed.
    pub fn end_within(&mut self, limit: Duration) -> Result<Vec<ExitStatus>, Problem> {
        self.processes
            .iter_mut()
            .map(|process| process.end_within(limit))
            .collect()
    }

    /// Kills one process, and waits until all others have ended for that.
    ///
    /// # Errors
    /// When one doesn't end, or not as one that has lost another.
    pub fn kill_one(&mut self, index: usize, limit: Duration) -> Result<(), Problem> {
        self.processes[index].kill();
        self.others_end(index, limit)
    }

    /// Waits until all processes but one have ended because they have lost that one.
    ///
    /// # Errors
    /// When one doesn't end, or not for that.
    pub fn others_end(&mut self, index: usize, limit: Duration) -> Result<(), Problem> {
        for (other, process) in self.processes.iter_mut().enumerate() {
            if other == index {
                continue;
            }
            let status = process.end_within(limit)?;
            if status.code() != Some(i32::from(EXIT_AGAIN)) {
                let said = process.said();
                return Err(format!(
                    "process {other} has lost process {index} and ended with {status}: {said}"
                ));
            }
        }
        Ok(())
    }

    /// Waits until all processes have ended because they have lost each other.
    ///
    /// # Errors
    /// When one doesn't end, or not for that.
    pub fn end_lost(&mut self, limit: Duration) -> Result<(), Problem> {
        (0..self.len()).try_for_each(|index| self.others_end(index, limit))
    }

    /// Waits until all processes have ended because a newer run has begun. One of several may have noticed first that
    /// it has lost another.
    ///
    /// # Errors
    /// When one doesn't end, or doesn't say why.
    pub fn end_replaced(&mut self, limit: Duration) -> Result<(), Problem> {
        let is_alone = self.len() == 1;
        for (index, process) in self.processes.iter_mut().enumerate() {
            let status = process.end_within(limit)?;
            let said = process.said();
            let says_why = said.contains("replaced by generation") || (!is_alone && said.contains(" is lost: "));
            if status.success() || !says_why {
                return Err(format!("process {index} was replaced and ended with {status}: {said}"));
            }
        }
        Ok(())
    }

    /// Tells it to stop, and waits until all processes have ended well.
    ///
    /// # Errors
    /// When one doesn't.
    pub fn stop(&mut self, limit: Duration) -> Result<(), Problem> {
        self.signal("TERM");
        for (index, process) in self.processes.iter_mut().enumerate() {
            let status = process.end_within(limit)?;
            if !status.success() {
                return Err(format!("process {index} stopped with {status}: {}", process.said()));
            }
        }
        Ok(())
    }

    /// Kills all processes.
    pub fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
    }

    /// Sends all processes that run a signal, such as `STOP`.
    pub fn signal(&mut self, name: &str) {
        for process in &mut self.processes {
            if process.ended().is_none() {
                process.signal(name);
            }
        }
    }

    /// A number from the pages of metrics, over all processes; those that don't answer have none.
    pub fn counter(&self, name: &str) -> u64 {
        self.processes.iter().filter_map(|process| process.counter(name)).sum()
    }

    /// The resident memory of all processes, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.processes.iter().filter_map(Process::resident_bytes).sum()
    }

    /// All that they have said.
    pub fn said(&self) -> String {
        let said = |(index, process): (usize, &Process)| format!("[{index}] {}", process.said());
        self.processes
            .iter()
            .enumerate()
            .map(said)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
