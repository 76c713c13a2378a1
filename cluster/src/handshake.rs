//! How two processes get to know each other: both prove that they know the secret, without saying it.
//!
//! The one that connects says who it is, with a random number; the other answers the same and a proof over both; then
//! the first proves itself. Everything has a fixed length, so that a stranger can make neither wait nor allocate.

use crate::Place;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The least length of a secret, in bytes.
pub const SECRET_BYTES_MIN: usize = 16;

/// What a connection of this protocol begins with.
const MAGIC: [u8; 8] = *b"TWCLUST1";
const NONCE: usize = 16;
const HELLO: usize = 8 + 4 + 4 + 8 + 32 + NONCE;
const PROOF: usize = 32;
/// The last byte of a handshake: welcome, or not.
const WELCOME: u8 = 1;
const DISAGREED: u8 = 2;
/// What a connection of TLS begins with: a record of a handshake.
const TLS: u8 = 22;

/// How a handshake ends well.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// With this process.
    Peer(usize),
    /// With this process, but it runs with other settings.
    Disagreed(usize),
}

struct Hello {
    bytes: [u8; HELLO],
    index: usize,
    agreement: (u32, u64),
}

impl Hello {
    fn of(place: &Place) -> io::Result<Hello> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HELLO);
        bytes.extend(MAGIC);
        bytes.extend((place.index as u32).to_le_bytes());
        bytes.extend((place.addresses.len() as u32).to_le_bytes());
        bytes.extend(place.agreement.to_le_bytes());
        bytes.extend(Sha256::digest(place.cluster.as_bytes()));
        bytes.extend(nonce);
        let bytes: [u8; HELLO] = bytes.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
        Hello::parse(bytes, place)
    }

    /// What another says, if it says it to this cluster.
    fn parse(bytes: [u8; HELLO], place: &Place) -> io::Result<Hello> {
        let number = |at: usize| bytes[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four));
        let agreement = bytes[16..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
        if bytes[0] == TLS {
            return Err(stranger("it speaks TLS, and this process has no certificate"));
        }
        if bytes[..8] != MAGIC || bytes[24..56] != Sha256::digest(place.cluster.as_bytes())[..] {
            return Err(stranger("it doesn't belong to this cluster"));
        }
        let agreement = (number(12), agreement);
        let index = number(8) as usize;
        Ok(Hello {
            bytes,
            index,
            agreement,
        })
    }

    fn is_agreed(&self, other: &Hello) -> bool {
        self.agreement == other.agreement
    }
}

fn stranger(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, problem)
}

/// A proof by one side, over what both have said.
fn proof(place: &Place, side: &[u8], connecting: &Hello, listening: &Hello) -> io::Result<Hmac<Sha256>> {
    let mut proof = Hmac::<Sha256>::new_from_slice(&place.secret).map_err(io::Error::other)?;
    for part in [side, &connecting.bytes, &listening.bytes] {
        proof.update(part);
    }
    Ok(proof)
}

/// Sends all of it: what is encrypted may otherwise wait for more.
async fn say(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

async fn read_hello(io: &mut (impl AsyncRead + Unpin), place: &Place) -> io::Result<Hello> {
    let mut bytes = [0; HELLO];
    io.read_exact(&mut bytes).await?;
    Hello::parse(bytes, place)
}

async fn check(io: &mut (impl AsyncRead + Unpin), expected: Hmac<Sha256>) -> io::Result<()> {
    let mut given = [0; PROOF];
    io.read_exact(&mut given).await?;
    let checked = expected.verify_slice(&given);
    checked.map_err(|_| stranger("it doesn't know the cluster's secret"))
}

/// The handshake of the one that connects to process `to`.
pub(crate) async fn connecting(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    place: &Place,
    to: usize,
) -> io::Result<Met> {
    let own = Hello::of(place)?;
    say(io, &own.bytes).await?;
    let other = read_hello(io, place).await?;
    check(io, proof(place, b"listening", &own, &other)?).await?;
    if other.index != to {
        return Err(stranger(&format!("it is process {}, not {to}", other.index)));
    }
    say(io, &proof(place, b"connecting", &own, &other)?.finalize().into_bytes()).await?;
    match io.read_u8().await? {
        WELCOME => Ok(Met::Peer(to)),
        DISAGREED => Ok(Met::Disagreed(to)),
        _ => Err(stranger("it answers with what no process of a cluster says")),
    }
}

/// The handshake of the one that was connected to.
pub(crate) async fn listening(io: &mut (impl AsyncRead + AsyncWrite + Unpin), place: &Place) -> io::Result<Met> {
    let other = read_hello(io, place).await?;
    let own = Hello::of(place)?;
    say(io, &own.bytes).await?;
    say(io, &proof(place, b"listening", &other, &own)?.finalize().into_bytes()).await?;
    check(io, proof(place, b"connecting", &other, &own)?).await?;
    if !own.is_agreed(&other) {
        say(io, &[DISAGREED]).await?;
        return Ok(Met::Disagreed(other.index));
    }
    if other.index <= place.index || other.index >= place.addresses.len() {
        return Err(stranger(&format!("process {} has nothing to connect for", other.index)));
    }
    say(io, &[WELCOME]).await?;
    Ok(Met::Peer(other.index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: usize) -> Place {
        Place {
            index,
            addresses: vec!["a".into(), "b".into()],
            cluster: "fleet".into(),
            secret: b"sixteen bytes or more".to_vec(),
            agreement: 7,
            tls: None,
        }
    }

    fn meet(first: &Place, second: &Place) -> (io::Result<Met>, io::Result<Met>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (left, right) = tokio::io::duplex(1 << 12);
            let second = async move {
                // Dropped at the end: the other one sees it.
                let mut right = right;
                listening(&mut right, second).await
            };
            let first = async move {
                let mut left = left;
                connecting(&mut left, first, 0).await
            };
            tokio::join!(first, second)
        })
    }

    #[test]
    fn two_of_a_cluster_meet() {
        let (connecting, listening) = meet(&place(1), &place(0));
        assert_eq!(connecting.expect("met"), Met::Peer(0));
        assert_eq!(listening.expect("met"), Met::Peer(1));
    }

    #[test]
    fn strangers_do_not() {
        let changes: [fn(&mut Place); 2] = [|place| place.secret[0] ^= 1, |place| place.cluster.push('s')];
        for change in changes {
            let mut other = place(1);
            change(&mut other);
            let (connecting, listening) = meet(&other, &place(0));
            assert!(connecting.is_err());
            assert!(listening.is_err());
        }
        let (connecting, _) = meet(&place(1), &place(1));
        assert!(
            connecting
                .expect_err("the wrong one")
                .to_string()
                .contains("process 1, not 0")
        );
    }

    #[test]
    fn other_settings_are_told_apart_from_strangers() {
        let mut other = place(1);
        other.agreement = 8;
        let (connecting, listening) = meet(&other, &place(0));
        assert_eq!(connecting.expect("met"), Met::Disagreed(0));
        assert_eq!(listening.expect("met"), Met::Disagreed(1));
    }

    #[test]
    fn what_was_heard_before_proves_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            // A connection's own bytes, said again to another one.
            let (mut left, mut right) = tokio::io::duplex(1 << 12);
            let said = Hello::of(&place(1)).expect("random numbers");
            left.write_all(&said.bytes).await.expect("sent");
            left.write_all(&[0; PROOF]).await.expect("sent");
            let problem = listening(&mut right, &place(0)).await.expect_err("refused");
            assert!(problem.to_string().contains("secret"), "{problem}");
        });
    }
}
