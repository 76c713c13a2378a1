//! Joining: a process connects to those before it in the list, and those behind it connect to it.

use crate::handshake::{self, Met};
use crate::link::{Links, run_link};
use crate::tls::{self, Wire};
use crate::{ClusterError, Mesh, Place};
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long getting to know each other may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(2);
/// How long until a process that doesn't answer is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// So many different refusals are said.
const NEWS_MAX: usize = 100;

type Stream = Box<dyn Wire>;

/// What a try to meet another process has come to.
enum Tried {
    Met(usize, Stream),
    Disagreed(usize),
    /// It isn't there, as it may be at the start.
    Absent(usize, String),
    /// Somebody is there, but not who is wanted.
    Refused(usize, String),
    /// Somebody has connected who is no process of this cluster.
    Stranger(IpAddr, String),
}

/// Says each thing once.
struct News<F> {
    say: F,
    said: HashSet<String>,
}

impl<F: Fn(&str)> News<F> {
    fn say(&mut self, line: String) {
        if self.said.len() < NEWS_MAX && !self.said.contains(&line) {
            (self.say)(&line);
            self.said.insert(line);
        }
    }
}

/// Connects this process with all others; gives up when that takes longer than `patience`. Once everybody is there,
/// nobody listens any more, so that strangers can't even knock. Whoever is refused, or refuses this process, is given to
/// `say` as a line, once.
///
/// # Errors
/// When its address can't be listened on, others are missing, or one runs with other settings.
pub async fn join(place: Place, patience: Duration, say: impl Fn(&str)) -> Result<Mesh, ClusterError> {
    let place = Arc::new(place);
    let count = place.addresses.len();
    let (tell, mut tried) = mpsc::unbounded_channel();
    let mut tasks = tokio::task::JoinSet::new();
    if place.index + 1 < count {
        let listener = listen(&place).await?;
        tasks.spawn(accept(listener, place.clone(), tell.clone()));
    }
    for to in 0..place.index {
        tasks.spawn(reach(place.clone(), to, tell.clone()));
    }
    let mut met: Vec<Option<Stream>> = (0..count).map(|_| None).collect();
    let mut problems: Vec<String> = vec!["it has not come yet".into(); count];
    let said = HashSet::new();
    let mut news = News { say, said };
    let everybody = async {
        while met.iter().flatten().count() + 1 < count {
            match tried.recv().await {
                // One that comes again has been started again.
                Some(Tried::Met(other, stream)) => met[other] = Some(stream),
                Some(Tried::Absent(other, problem)) => problems[other] = problem,
                Some(Tried::Refused(other, problem)) => {
                    let address = &place.addresses[other];
                    news.say(format!(
                        "process {other} of the cluster, at {address}, can't be joined: {problem}"
                    ));
                    problems[other] = problem;
                }
                Some(Tried::Stranger(from, problem)) => {
                    news.say(format!("a connection from {from} is refused by the cluster: {problem}"));
                }
                Some(Tried::Disagreed(other)) => return Err(other),
                None => break,
            }
        }
        Ok(())
    };
    let ended = timeout(patience, everybody).await;
    tasks.shutdown().await;
    match ended {
        Ok(Ok(())) => Ok(mesh(met)),
        Ok(Err(other)) => Err(ClusterError::Disagreed {
            index: place.index,
            other,
            address: place.addresses.get(other).cloned().unwrap_or_default(),
        }),
        Err(_) => {
            let missing = (0..count).filter(|other| *other != place.index && met[*other].is_none());
            let missing =
                missing.map(|other| format!("process {other} at {}: {}", place.addresses[other], problems[other]));
            Err(ClusterError::Alone {
                index: place.index,
                seconds: patience.as_secs(),
                missing: missing.collect::<Vec<_>>().join("; "),
            })
        }
    }
}

async fn listen(place: &Place) -> Result<TcpListener, ClusterError> {
    let address = &place.addresses[place.index];
    TcpListener::bind(address).await.map_err(|error| ClusterError::Listen {
        index: place.index,
        address: address.clone(),
        problem: error.to_string(),
    })
}

/// Lets others in, each with a handshake of its own, so that nobody holds up anybody.
async fn accept(listener: TcpListener, place: Arc<Place>, tell: mpsc::UnboundedSender<Tried>) {
    let mut handshakes = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(AGAIN).await;
            continue;
        };
        while handshakes.try_join_next().is_some() {}
        let (place, tell) = (place.clone(), tell.clone());
        handshakes.spawn(async move {
            let met = timeout(HANDSHAKE_MAX, let_in(&place, stream)).await;
            // Whoever is no process of this cluster is let go without a word.
            let _ = tell.send(match met {
                Ok(Ok((Met::Peer(other), stream))) => Tried::Met(other, stream),
                Ok(Ok((Met::Disagreed(other), _))) => Tried::Disagreed(other),
                Ok(Err(error)) => Tried::Stranger(from.ip(), tls::problem(&error)),
                Err(_) => Tried::Stranger(from.ip(), "it is silent".to_owned()),
            });
        });
    }
}

async fn let_in(place: &Place, tcp: TcpStream) -> io::Result<(Met, Stream)> {
    tcp.set_nodelay(true)?;
    let mut stream: Stream = match &place.tls {
        Some(tls) => tls.accept(tcp).await?,
        None => Box::new(tcp),
    };
    let met = handshake::listening(&mut stream, place).await?;
    Ok((met, stream))
}

/// Tries to reach another process until it is met.
async fn reach(place: Arc<Place>, to: usize, tell: mpsc::UnboundedSender<Tried>) {
    loop {
        let tried = meet(&place, to).await;
        let is_met = matches!(tried, Tried::Met(..));
        if tell.send(tried).is_err() || is_met {
            return;
        }
        sleep(AGAIN).await;
    }
}

async fn meet(place: &Place, to: usize) -> Tried {
    let end = Instant::now() + HANDSHAKE_MAX;
    let silent = || "it doesn't answer".to_owned();
    let tcp = match timeout_at(end, TcpStream::connect(&place.addresses[to])).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Tried::Absent(to, error.to_string()),
        Err(_) => return Tried::Absent(to, silent()),
    };
    match timeout_at(end, introduce(place, to, tcp)).await {
        Ok(Ok((Met::Peer(_), stream))) => Tried::Met(to, stream),
        Ok(Ok((Met::Disagreed(_), _))) => Tried::Disagreed(to),
        Ok(Err(error)) => Tried::Refused(to, tls::problem(&error)),
        Err(_) => Tried::Refused(to, silent()),
    }
}

async fn introduce(place: &Place, to: usize, tcp: TcpStream) -> io::Result<(Met, Stream)> {
    tcp.set_nodelay(true)?;
    let mut stream: Stream = match &place.tls {
        Some(tls) => tls.connect(tcp, &place.addresses[to]).await?,
        None => Box::new(tcp),
    };
    let met = handshake::connecting(&mut stream, place, to).await?;
    Ok((met, stream))
}

fn mesh(met: Vec<Option<Stream>>) -> Mesh {
    let (tell, incoming) = mpsc::unbounded_channel();
    let (mut sockets, mut senders) = (Vec::new(), Vec::new());
    for (other, stream) in met.into_iter().enumerate() {
        let linked = stream.map(|stream| run_link(stream, other, tell.clone()));
        let (socket, sender) = linked.unzip();
        sockets.push(socket);
        senders.push(sender);
    }
    Mesh {
        sockets,
        links: Links::new(senders),
        incoming,
    }
}
