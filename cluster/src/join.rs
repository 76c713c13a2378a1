//! Joining: a process connects to those before it in the list, and those behind it connect to it.

use crate::handshake::{self, Met};
use crate::link::{Links, run_link};
use crate::{ClusterError, Mesh, Place};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How long getting to know each other may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(2);
/// How long until a process that doesn't answer is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// What a try to meet another process has come to.
enum Tried {
    Met(usize, TcpStream),
    Disagreed(usize),
    Failed(usize, String),
}

/// Connects this process with all others; gives up when that takes longer than `patience`. Once everybody is there,
/// nobody listens any more, so that strangers can't even knock.
///
/// # Errors
/// When its address can't be listened on, others are missing, or one runs with other settings.
pub async fn join(place: Place, patience: Duration) -> Result<Mesh, ClusterError> {
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
    let mut met: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    let mut problems: Vec<String> = vec!["it has not come yet".into(); count];
    let everybody = async {
        while met.iter().flatten().count() + 1 < count {
            match tried.recv().await {
                // One that comes again has been started again.
                Some(Tried::Met(other, stream)) => met[other] = Some(stream),
                Some(Tried::Failed(other, problem)) => problems[other] = problem,
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
        let Ok((mut stream, _)) = listener.accept().await else {
            sleep(AGAIN).await;
            continue;
        };
        while handshakes.try_join_next().is_some() {}
        let (place, tell) = (place.clone(), tell.clone());
        handshakes.spawn(async move {
            let _ = stream.set_nodelay(true);
            let met = timeout(HANDSHAKE_MAX, handshake::listening(&mut stream, &place)).await;
            // Whoever is no process of this cluster is let go without a word.
            let _ = match met {
                Ok(Ok(Met::Peer(other))) => tell.send(Tried::Met(other, stream)),
                Ok(Ok(Met::Disagreed(other))) => tell.send(Tried::Disagreed(other)),
                Ok(Err(_)) | Err(_) => Ok(()),
            };
        });
    }
}

/// Tries to reach another process until it is met.
async fn reach(place: Arc<Place>, to: usize, tell: mpsc::UnboundedSender<Tried>) {
    loop {
        let told = match timeout(HANDSHAKE_MAX, meet(&place, to)).await {
            Ok(Ok((Met::Peer(_), stream))) => {
                let _ = tell.send(Tried::Met(to, stream));
                return;
            }
            Ok(Ok((Met::Disagreed(_), _))) => tell.send(Tried::Disagreed(to)),
            Ok(Err(error)) => tell.send(Tried::Failed(to, error.to_string())),
            Err(_) => tell.send(Tried::Failed(to, "it doesn't answer".to_owned())),
        };
        if told.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

async fn meet(place: &Place, to: usize) -> io::Result<(Met, TcpStream)> {
    let mut stream = TcpStream::connect(&place.addresses[to]).await?;
    stream.set_nodelay(true)?;
    let met = handshake::connecting(&mut stream, place, to).await?;
    Ok((met, stream))
}

fn mesh(met: Vec<Option<TcpStream>>) -> Mesh {
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
