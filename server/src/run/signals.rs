//! The signals that end a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How long a stop waits for sinks: what they have not taken by then is in the last checkpoint, for the next start.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// The signals that end a run: Ctrl-C and SIGTERM. The first stops it; some seconds after it, at the second, or at one
/// before the run has begun, sinks give up what can't be delivered.
pub struct Signals {
    count: watch::Receiver<u32>,
    begun: Arc<AtomicBool>,
    /// Set when sinks are to give up.
    pub give_up: Arc<AtomicBool>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system doesn't allow it.
    pub fn listen() -> Result<Signals, String> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| format!("can't listen for signals: {error}"));
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let (counter, count) = watch::channel(0);
        let begun = Arc::new(AtomicBool::new(false));
        let give_up = Arc::new(AtomicBool::new(false));
        let (has_begun, gives_up) = (begun.clone(), give_up.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                counter.send_modify(|count| *count += 1);
                if *counter.borrow() > 1 || !has_begun.load(Ordering::SeqCst) {
                    gives_up.store(true, Ordering::SeqCst);
                } else {
                    let gives_up = gives_up.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(STOP_WAIT).await;
                        gives_up.store(true, Ordering::SeqCst);
                    });
                }
            }
        });
        Ok(Signals { count, begun, give_up })
    }

    /// Whether the sinks are there.
    pub fn begun(&self, begun: bool) {
        self.begun.store(begun, Ordering::SeqCst);
    }

    /// Whether a signal has come.
    pub fn came(&self) -> bool {
        *self.count.borrow() > 0
    }

    /// Waits for the next signal.
    pub async fn recv(&mut self) {
        // The task that counts never ends.
        let _ = self.count.changed().await;
    }
}
