//! This process's part in a cluster: how it begins together with the others, and where goes what they say.
//!
//! The first process decides: which checkpoint to go on from, of which epochs there are checkpoints, when to stop. A
//! process without others is the first one of a team of one.

use super::RunError;
use super::clock::SystemClock;
use super::log::Terminal;
use super::parcel::Cargo;
use super::reader::PEEK_WAIT;
use super::sealing::Seal;
use super::talk::{Claim, Message, Talk, Way};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tidewatch_checkpoints::{Job, Member};
use tidewatch_cluster::{Incoming, Place, join};
use tidewatch_dataflow::{Handle, Peers};
use tidewatch_proto::ids::Epoch;
use tidewatch_sinks::parts::Parts;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

/// How the process of a cluster ends when all have to begin again, since one was lost or there are more partitions:
/// whoever watches over them starts them.
pub const EXIT_AGAIN: u8 = 75;

/// How long a process waits for the others at the start.
const PATIENCE: Duration = Duration::from_secs(60);

/// This process and its connections to the others.
pub struct Team {
    /// To speak.
    pub talk: Talk,
    sockets: Vec<Option<UnixStream>>,
    incoming: Option<UnboundedReceiver<Incoming>>,
}

/// Where goes what others say while the run goes on.
pub struct Routes {
    /// Shares, and what is durable.
    pub to_writer: mpsc::Sender<Job<Cargo>>,
    /// Of which epochs to make checkpoints.
    pub seals: mpsc::Sender<Seal>,
    /// The last epochs of others.
    pub ended: mpsc::Sender<Epoch>,
    /// What the sinks of others have taken.
    pub delivered: mpsc::Sender<Epoch>,
    /// The engine, to stop, and to answer for.
    pub engine: Handle,
    /// The clock, to keep up with the others.
    pub clock: Arc<SystemClock>,
    /// To answer.
    pub talk: Talk,
    /// Set when the run stops.
    pub stops: Arc<AtomicBool>,
    /// Told when another process wants the run to stop.
    pub wants_stop: Arc<Notify>,
    /// Set when this process is done, and others may go.
    pub is_done: Arc<AtomicBool>,
    /// To say what was lost.
    pub terminal: Arc<Terminal>,
}

impl Team {
    /// Connects with the others, if there are any.
    ///
    /// # Errors
    /// When they can't be reached or run with other settings.
    pub async fn join(place: Option<Place>, threads: usize, terminal: &Terminal) -> Result<Team, RunError> {
        let Some(place) = place else {
            return Ok(Team {
                talk: Talk::alone(threads),
                sockets: Vec::new(),
                incoming: None,
            });
        };
        let member = Member {
            index: place.index,
            processes: place.addresses.len(),
            threads,
        };
        let mesh = join(place, PATIENCE, |line| terminal.news(line)).await;
        let mesh = mesh.map_err(|error| error.to_string())?;
        Ok(Team {
            talk: Talk {
                member,
                links: mesh.links,
                questions: Arc::default(),
            },
            sockets: mesh.sockets,
            incoming: Some(mesh.incoming),
        })
    }

    /// The parts of the outbox that this process's sinks deliver.
    pub fn parts(&self) -> Parts {
        let member = self.talk.member;
        Parts::of_workers(member.workers(), member.processes * member.threads)
    }

    /// The other processes for the engine, if there are any.
    pub fn peers(&mut self, begun: Epoch) -> Option<Peers> {
        let peers = Peers {
            index: self.talk.member.index,
            sockets: std::mem::take(&mut self.sockets),
            begun,
        };
        (!self.talk.is_alone()).then_some(peers)
    }

    async fn hear(&mut self) -> Result<(usize, Message), RunError> {
        let incoming = match &mut self.incoming {
            Some(incoming) => incoming.recv().await,
            None => None,
        };
        match incoming {
            Some(Incoming::Message { from, bytes }) => {
                let message = postcard::from_bytes(&bytes);
                let message = message.map_err(|error| format!("process {from} says what can't be read: {error}"))?;
                Ok((from, message))
            }
            Some(Incoming::Lost { from, problem }) => Err(lost(from, &problem).into()),
            None => Err("the other processes have left".to_owned().into()),
        }
    }

    /// The others hear which run it is.
    ///
    /// # Errors
    /// When the first one has gone.
    pub async fn hear_claim(&mut self) -> Result<Claim, RunError> {
        loop {
            if let (0, Message::Claimed(claim)) = self.hear().await? {
                return Ok(claim);
            }
        }
    }

    /// The others hear how the run begins, and before it which checkpoints are tried.
    ///
    /// # Errors
    /// When the first one has gone.
    pub async fn hear_way(&mut self) -> Result<Way, RunError> {
        loop {
            match self.hear().await? {
                (0, Message::Trying(chosen)) => return Ok(Way::Trying(chosen)),
                (0, Message::Begin(begin)) => return Ok(Way::Begin(begin)),
                _ => {}
            }
        }
    }

    /// This process is ready; waits until all are.
    ///
    /// # Errors
    /// When one has gone.
    pub async fn all_ready(&mut self) -> Result<(), RunError> {
        if !self.talk.member.is_first() {
            self.talk.send(0, &Message::Ready);
            while !matches!(self.hear().await?, (0, Message::Open)) {}
            return Ok(());
        }
        let mut waits = self.talk.member.processes - 1;
        while waits > 0 {
            if matches!(self.hear().await?, (_, Message::Ready)) {
                waits -= 1;
            }
        }
        self.talk.send_to_all(&Message::Open);
        Ok(())
    }

    /// Passes on what others say, in the background, until all have said good-bye. When one is lost, the process ends at
    /// once: whatever isn't durable is made again by the next run.
    pub fn listen(self, routes: Routes) -> Option<tokio::task::JoinHandle<()>> {
        let mut incoming = self.incoming?;
        Some(tokio::spawn(async move {
            while let Some(heard) = incoming.recv().await {
                match heard {
                    Incoming::Message { from, bytes } => {
                        if let Ok(message) = postcard::from_bytes(&bytes) {
                            routes.pass_on(from, message);
                        }
                    }
                    // Nobody waits for what it would have said; what its sinks have taken nobody knows.
                    Incoming::Lost { .. } if routes.is_done.load(Ordering::SeqCst) => {
                        let _ = routes.delivered.send(Epoch(0));
                    }
                    Incoming::Lost { from, problem } => {
                        routes.terminal.news(&lost(from, &problem));
                        std::process::exit(i32::from(EXIT_AGAIN));
                    }
                }
            }
        }))
    }
}

fn lost(process: usize, problem: &str) -> String {
    format!("process {process} of the cluster is lost: {problem}; the run ends and goes on from its last checkpoint")
}

impl Routes {
    fn pass_on(&self, from: usize, message: Message) {
        // Whoever doesn't listen any more has ended.
        match message {
            Message::Seal(epoch, is_last) => drop(self.seals.send(Seal { epoch, is_last })),
            Message::Share(share) => drop(self.to_writer.send(Job::Share(share))),
            Message::Durable(epoch) => drop(self.to_writer.send(Job::Durable(epoch))),
            Message::WantsStop => self.wants_stop.notify_one(),
            Message::Stop(epoch) => {
                self.stops.store(true, Ordering::SeqCst);
                self.engine.stop_at(epoch);
            }
            Message::Ended(epoch) => drop(self.ended.send(epoch)),
            Message::Delivered(epoch) => drop(self.delivered.send(epoch)),
            Message::Time(epoch) => self.clock.catch_up(epoch),
            Message::Peek { number, device, metric } => {
                let (engine, talk) = (self.engine.clone(), self.talk.clone());
                // It waits for a worker, and nobody else should.
                tokio::task::spawn_blocking(move || {
                    let rows = engine.peek(&device, &metric, PEEK_WAIT).unwrap_or_default();
                    talk.send(from, &Message::Peeked { number, rows })
                });
            }
            Message::Peeked { number, rows } => self.talk.questions.answer(number, rows),
            // Said at the start only.
            Message::Claimed(_) | Message::Trying(_) | Message::Begin(_) | Message::Ready | Message::Open => {}
        }
    }
}
