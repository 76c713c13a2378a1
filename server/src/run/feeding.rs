//! The thread of the simulated fleet that writes to the embedded log.

use super::log::Terminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tidewatch_sources::clock::wall;
use tidewatch_sources::fleet::{FleetFeed, FleetSettings, Step};
use tidewatch_sources::log::LogWriter;

/// How long to wait when nothing is due.
const IDLE: Duration = Duration::from_millis(20);
/// How long to wait for room in the log before looking whether the run stops.
const FULL: Duration = Duration::from_millis(100);
/// How long to wait when the fleet can't go on.
const AGAIN: Duration = Duration::from_secs(1);

/// The fleet's thread, and what keeps the log open for writing.
pub struct Feeding {
    writer: LogWriter,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feeding {
    /// Starts the fleet, if there is one.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(
        (writer, fleet): (LogWriter, Option<FleetSettings>),
        terminal: &Arc<Terminal>,
    ) -> Result<Feeding, String> {
        let stops: Arc<AtomicBool> = Arc::default();
        let thread = fleet.map(|fleet| {
            let (log, stops, terminal) = (writer.clone(), stops.clone(), terminal.clone());
            let thread = std::thread::Builder::new().name("fleet".to_owned());
            thread.spawn(move || run(&fleet, &log, &stops, &terminal))
        });
        let thread = thread.transpose();
        Ok(Feeding {
            writer,
            stops,
            thread: thread.map_err(|error| format!("the thread of the fleet: {error}"))?,
        })
    }

    /// The fleet sends nothing more.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::SeqCst);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Waits for its end, and for that of what was appended.
    pub fn finish(self) {
        self.stop();
        // A fleet that has panicked has said so.
        self.thread.map(JoinHandle::join);
        self.writer.close();
    }
}

fn run(fleet: &FleetSettings, log: &LogWriter, stops: &AtomicBool, terminal: &Terminal) {
    let mut feed = FleetFeed::new(fleet, log.clone(), wall());
    while !stops.load(Ordering::SeqCst) {
        match feed.step() {
            Ok(Step::Wrote) => {}
            Ok(Step::Idle) => std::thread::park_timeout(IDLE),
            Ok(Step::Full) => log.wait_for_room(FULL),
            Ok(Step::News(news)) => terminal.news(&news),
            Err(error) => {
                terminal.trouble(&error.to_string());
                std::thread::park_timeout(AGAIN);
            }
        }
    }
}
