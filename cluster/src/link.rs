//! What runs on a connection: frames of the dataflow's bytes and of messages, and a sign of life when there are none.
//!
//! A frame is a byte that says what it is, its length as four bytes, and so many bytes.

use crate::Incoming;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often a process shows that it lives.
const BEAT: Duration = Duration::from_millis(500);
/// A process that was silent for so long is dead: all have to know it within three seconds.
pub const SILENCE_MAX: Duration = Duration::from_millis(2_800);
/// As many of the dataflow's bytes are sent at once.
const DATA_BYTES: usize = 256 << 10;
/// No frame is longer.
const FRAME_BYTES_MAX: usize = 1 << 30;
const HEAD: usize = 5;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Beat = 0,
    Data = 1,
    /// No more bytes of the dataflow come.
    DataEnd = 2,
    Message = 3,
    /// Nothing more comes, and that is as it should be.
    Bye = 4,
}

impl Kind {
    fn parse(byte: u8) -> Option<Kind> {
        let kinds = [Kind::Beat, Kind::Data, Kind::DataEnd, Kind::Message, Kind::Bye];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }

    fn head(self, length: usize) -> [u8; HEAD] {
        let mut head = [self as u8; HEAD];
        head[1..].copy_from_slice(&(length as u32).to_le_bytes());
        head
    }
}

/// What is to be sent.
pub(crate) enum Outgoing {
    Message(Vec<u8>),
    Bye,
}

/// Ways for messages to the other processes. Cheap to clone. When all are dropped without good-bye, the others take this
/// process for dead.
#[derive(Clone, Default)]
pub struct Links {
    to: Arc<Vec<Option<mpsc::UnboundedSender<Outgoing>>>>,
}

impl Links {
    pub(crate) fn new(to: Vec<Option<mpsc::UnboundedSender<Outgoing>>>) -> Links {
        Links { to: Arc::new(to) }
    }

    /// Sends a message to one process, and says whether there is a way to it; when it is lost on the way the others will
    /// hear that.
    pub fn send(&self, to: usize, message: Vec<u8>) -> bool {
        let sender = self.to.get(to).and_then(Option::as_ref);
        sender.is_some_and(|sender| sender.send(Outgoing::Message(message)).is_ok())
    }

    /// Sends a message to all others.
    pub fn send_to_all(&self, message: &[u8]) {
        for sender in self.to.iter().flatten() {
            let _ = sender.send(Outgoing::Message(message.to_vec()));
        }
    }

    /// Tells all others that nothing more comes and all is well: after the dataflow's end.
    pub fn say_bye(&self) {
        for sender in self.to.iter().flatten() {
            let _ = sender.send(Outgoing::Bye);
        }
    }
}

/// Runs a connection in the background; gives the dataflow's end of it and the way for messages.
pub(crate) fn run_link(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    from: usize,
    tell: mpsc::UnboundedSender<Incoming>,
) -> (StdUnixStream, mpsc::UnboundedSender<Outgoing>) {
    let (sender, messages) = mpsc::unbounded_channel();
    let pair = StdUnixStream::pair().and_then(|(ours, theirs)| {
        ours.set_nonblocking(true)?;
        Ok((UnixStream::from_std(ours)?, theirs))
    });
    // A process without file handles can't go on.
    let (ours, theirs) = pair.unwrap_or_else(|error| panic!("no sockets for the dataflow: {error}"));
    tokio::spawn(async move {
        let (read, write) = tokio::io::split(stream);
        let (mut data_read, mut data_write) = ours.into_split();
        let sending = send(write, &mut data_read, messages);
        let hearing = hear(read, &mut data_write, from, &tell);
        if let Err(error) = tokio::try_join!(sending, hearing) {
            let problem = error.to_string();
            let _ = tell.send(Incoming::Lost { from, problem });
            drop(tell);
            // The dataflow panics when it finds its socket closed: whoever is told ends the process before.
            std::future::pending::<()>().await;
        }
        drop((data_read, data_write));
    });
    (theirs, sender)
}

async fn send(
    mut to: impl AsyncWrite + Unpin,
    mut data: impl AsyncRead + Unpin,
    mut messages: mpsc::UnboundedReceiver<Outgoing>,
) -> io::Result<()> {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; HEAD + DATA_BYTES];
    let mut is_data_open = true;
    let mut is_leaving = false;
    while is_data_open || !is_leaving {
        tokio::select! {
            message = messages.recv(), if !is_leaving => match message {
                Some(Outgoing::Message(message)) => {
                    to.write_all(&Kind::Message.head(message.len())).await?;
                    to.write_all(&message).await?;
                }
                Some(Outgoing::Bye) => is_leaving = true,
                None => return Err(io::Error::other("this process has let go of it")),
            },
            read = data.read(&mut buffer[HEAD..]), if is_data_open => match read? {
                0 => {
                    is_data_open = false;
                    to.write_all(&Kind::DataEnd.head(0)).await?;
                }
                length => {
                    buffer[..HEAD].copy_from_slice(&Kind::Data.head(length));
                    to.write_all(&buffer[..HEAD + length]).await?;
                }
            },
            _ = beats.tick() => to.write_all(&Kind::Beat.head(0)).await?,
        }
        // What is encrypted may otherwise wait for more.
        to.flush().await?;
    }
    to.write_all(&Kind::Bye.head(0)).await?;
    to.shutdown().await
}

async fn hear(
    mut from: impl AsyncRead + Unpin,
    data: impl AsyncWrite + Unpin,
    index: usize,
    tell: &mpsc::UnboundedSender<Incoming>,
) -> io::Result<()> {
    let mut data = Some(data);
    loop {
        let mut head = [0; HEAD];
        alive(from.read_exact(&mut head)).await?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let kind = Kind::parse(head[0]).filter(|_| length <= FRAME_BYTES_MAX);
        let kind = kind.ok_or_else(|| io::Error::other("it sends what is no frame"))?;
        let mut bytes = vec![0; length];
        let mut read = 0;
        while read < length {
            match alive(from.read(&mut bytes[read..])).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
        }
        match (kind, &mut data) {
            (Kind::Beat, _) => {}
            (Kind::Data, Some(data)) => data.write_all(&bytes).await?,
            (Kind::DataEnd, Some(open)) => {
                open.shutdown().await?;
                data = None;
            }
            (Kind::Message, _) => {
                let _ = tell.send(Incoming::Message { from: index, bytes });
            }
            (Kind::Bye, None) => {
                // Until it has closed its side: what comes to a closed connection would break it at the other end.
                let _ = alive(from.read(&mut head)).await;
                return Ok(());
            }
            (Kind::Bye, Some(_)) => return Err(io::Error::other("it left in the midst of things")),
            (Kind::Data | Kind::DataEnd, None) => return Err(io::Error::other("it goes on after its end")),
        }
    }
}

/// Waits for a read, but not for one that is dead.
async fn alive<T>(read: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(SILENCE_MAX, read).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(io::Error::new(error.kind(), "it has closed the connection"))
        }
        Ok(read) => read,
        Err(_) => Err(io::Error::other(format!(
            "it has been silent for {:.1} s",
            SILENCE_MAX.as_secs_f32()
        ))),
    }
}
