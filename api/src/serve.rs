//! Listens, and takes connections until it is told to stop.

mod connection;
pub(crate) mod tls;

use crate::answer::{self, Routes, Shared};
use crate::config::Settings;
use crate::error::Error;
use crate::fleet::{self, Fleet};
use crate::gate::Gate;
use crate::gate::hosts::Hosts;
use crate::handles::{Event, Handles};
use crate::metrics::Metrics;
use crate::routes;
use connection::Link;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// How long accepting pauses after it failed, so that a lack of descriptors isn't spun on.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections beyond the cap that are told so; further ones are closed without a word.
const REFUSALS_MAX: usize = 16;

/// A server that listens.
#[derive(Debug)]
pub struct BoundServer {
    address: SocketAddr,
    is_encrypted: bool,
    task: JoinHandle<()>,
}

impl BoundServer {
    /// Where it listens: the real port when 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its address for a browser.
    pub fn url(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Waits until it was told to stop and every connection has ended: `request_timeout` later at the latest, a WebSocket
    /// within a second.
    pub async fn stopped(self) {
        // The task is never aborted, and a panic in it has been printed.
        let _ = self.task.await;
    }
}

/// A port that is ours; whoever connects waits until it is served.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens, so that a port that is taken shows before anything else is begun.
pub async fn listen(settings: &Settings) -> Result<Port, Error> {
    let bind_error = |source| Error::Bind {
        address: settings.listen,
        source,
    };
    let listener = TcpListener::bind(settings.listen).await.map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    Ok(Port { listener, address })
}

/// Answers until `shutdown` says true or its sender is gone.
///
/// Then it takes no more connections, lets requests that are under way finish, and closes idle connections.
pub fn serve(port: Port, settings: Settings, handles: Handles, shutdown: watch::Receiver<bool>) -> BoundServer {
    let Port { listener, address } = port;
    let is_encrypted = settings.tls.is_some();
    let hosts = Hosts::new(address, is_encrypted, settings.public_hosts, settings.allowed_origins);
    let shared = Arc::new(Shared {
        gate: Gate::new(hosts, settings.tokens),
        metrics: Metrics::new(&handles),
        handles,
        reads: Arc::new(Semaphore::new(settings.reads_max)),
        request_timeout: settings.request_timeout,
        fleet: Fleet::default(),
        subscribers: Arc::new(Semaphore::new(settings.subscribers_max)),
        shutdown: shutdown.clone(),
    });
    let handles = &shared.handles;
    handles.tap.hub.start(handles.live.clone(), handles.stats.clone());
    let watching = tokio::spawn(fleet::watch(shared.clone(), shutdown.clone()));
    let acceptor = Acceptor {
        routes: answer::routes(routes::all(&shared)),
        shared,
        tls: settings.tls,
        watching,
        header_timeout: settings.header_timeout,
        connections_max: settings.connections_max,
        subscribers_max: settings.subscribers_max,
        connections: JoinSet::new(),
        refusals: JoinSet::new(),
    };
    BoundServer {
        address,
        is_encrypted,
        task: tokio::spawn(acceptor.run(listener, shutdown)),
    }
}

/// Takes connections and keeps count of them.
struct Acceptor {
    shared: Arc<Shared>,
    routes: Routes,
    tls: Option<Tls>,
    watching: JoinHandle<()>,
    header_timeout: Duration,
    connections_max: usize,
    subscribers_max: usize,
    connections: JoinSet<()>,
    refusals: JoinSet<()>,
}

impl Acceptor {
    async fn run(mut self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = told(&mut shutdown) => break,
                Some(ended) = self.connections.join_next() => self.ended(ended.is_err()),
                Some(_) = self.refusals.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.take(stream, &shutdown),
                    Err(error) => {
                        (self.shared.handles.events)(Event::AcceptFailed { error: &error });
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        drop(listener);
        while let Some(ended) = self.connections.join_next().await {
            self.ended(ended.is_err());
        }
        // Nothing that was handed to us is held by anybody any more when this ends.
        let _ = self.watching.await;
        let all = u32::try_from(self.subscribers_max).unwrap_or(u32::MAX);
        let _ = self.shared.subscribers.acquire_many(all).await;
    }

    fn take(&mut self, stream: TcpStream, shutdown: &watch::Receiver<bool>) {
        let tls = self.tls.as_ref();
        let link = Link {
            stream,
            tls: tls.map(|tls| tls.refresh(&*self.shared.handles.events)),
        };
        if self.connections.len() < self.connections_max {
            self.shared.metrics.http.connections.inc();
            let (shared, routes) = (self.shared.clone(), self.routes.clone());
            self.connections.spawn(connection::run(
                link,
                shared,
                routes,
                self.header_timeout,
                shutdown.clone(),
            ));
            return;
        }
        self.shared.metrics.http.refused.inc();
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.spawn(connection::refuse(link));
        }
    }

    fn ended(&self, panicked: bool) {
        self.shared.metrics.http.connections.dec();
        if panicked {
            (self.shared.handles.events)(Event::ConnectionPanicked);
        }
    }
}

/// Comes back when it is time to stop.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which means the same.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
