//! The one exchange of Kafka's protocol that tells a ready broker: Metadata, which lists it once it is unfenced.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};

const METADATA_KEY: i16 = 3;
const METADATA_VERSION: i16 = 1;
const CORRELATION_ID: i32 = 7;
const TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// Whether the broker at this address answers and counts itself as part of the cluster.
pub(crate) fn broker_is_ready(address: SocketAddr) -> bool {
    brokers(address).is_ok_and(|count| count > 0)
}

fn brokers(address: SocketAddr) -> Result<i32> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&request())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length))?;
    ensure!(
        (8..RESPONSE_BYTES_MAX).contains(&length),
        "not an answer of Kafka: {length} bytes"
    );
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let (correlation, brokers) = head.split_at(4);
    ensure!(
        correlation == CORRELATION_ID.to_be_bytes(),
        "an answer to another question"
    );
    Ok(brokers.iter().fold(0, |number, byte| (number << 8) | i32::from(*byte)))
}

/// Metadata of no topic: only the brokers are of interest.
fn request() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(METADATA_KEY.to_be_bytes());
    body.extend(METADATA_VERSION.to_be_bytes());
    body.extend(CORRELATION_ID.to_be_bytes());
    body.extend((-1_i16).to_be_bytes()); // no client id
    body.extend(0_i32.to_be_bytes()); // no topics
    let length = i32::try_from(body.len()).unwrap_or(i32::MAX);
    [length.to_be_bytes().as_slice(), &body].concat()
}
