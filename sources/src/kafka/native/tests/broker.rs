//! Brokers for tests: one partition, and moods. They speak through another implementation of the protocol.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{EpochEndOffset, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, decode_request_header_from_buffer};
use prost::bytes::{Bytes, BytesMut};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// The topic that they have.
pub(super) const TOPIC: &str = "raw.events";

/// What a broker does with the next fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers.
    Well,
    /// Closes the connection instead of answering so many fetches.
    Closes(u32),
    /// Cuts off the answers to so many fetches.
    Garbles(u32),
    /// Never answers so many fetches.
    IsSilent(u32),
    /// Answers with this code.
    Says(i16),
    /// Says that the log was truncated.
    Truncates,
}

/// What all brokers know.
#[derive(Debug)]
pub(super) struct State {
    /// The number of the one that leads.
    pub(super) leader: i32,
    pub(super) epoch: i32,
    /// The batches, each with the offset behind it.
    pub(super) log: Vec<(i64, Vec<u8>)>,
    pub(super) mood: Mood,
    /// The newest version of Fetch that is known.
    pub(super) fetch_version: i16,
    /// The code that the topic has.
    pub(super) topic_code: i16,
    /// How many bytes a partition was asked for at most, fetch by fetch.
    pub(super) asked_bytes: Vec<i32>,
    ports: Vec<u16>,
}

impl State {
    /// Whether the answer to this fetch is to be cut off.
    fn garbles(&mut self) -> bool {
        let Mood::Garbles(left @ 1..) = self.mood else {
            return false;
        };
        self.mood = Mood::Garbles(left - 1);
        true
    }
}

/// Some brokers.
pub(super) struct Brokers {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Brokers {
    /// Starts so many; the first one leads.
    pub(super) fn start(count: i32) -> Brokers {
        let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let state = State {
            leader: 0,
            epoch: 0,
            log: Vec::new(),
            mood: Mood::Well,
            fetch_version: 17,
            topic_code: 0,
            asked_bytes: Vec::new(),
            ports: listeners.iter().map(|one| one.local_addr().unwrap().port()).collect(),
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        for (broker, listener) in (0..).zip(listeners) {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let (mut stream, state) = (stream.unwrap(), Arc::clone(&state));
                    // It ends with its connection.
                    std::thread::spawn(move || while serve(&mut stream, broker, &state).is_ok() {});
                }
            });
        }
        Brokers { state }
    }

    /// The first broker's address.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.with(|state| state.ports[0]))
    }

    /// Looks at what they know, or changes it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let result = look(&mut self.state.0.lock().unwrap());
        self.state.1.notify_all();
        result
    }

    /// Appends a batch that ends before an offset.
    pub(super) fn append(&self, next: i64, batch: Vec<u8>) {
        self.with(|state| state.log.push((next, batch)));
    }
}

/// Takes one request and answers it.
fn serve(stream: &mut TcpStream, broker: i32, state: &(Mutex<State>, Condvar)) -> io::Result<()> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut request = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut request)?;
    let mut request = Bytes::from(request);
    let header = decode_request_header_from_buffer(&mut request).map_err(io::Error::other)?;
    let mut answer = BytesMut::new();
    let (key, version) = (
        ApiKey::try_from(header.request_api_key).unwrap(),
        header.request_api_version,
    );
    let mut head = ResponseHeader::default();
    head.correlation_id = header.correlation_id;
    head.encode(&mut answer, key.response_header_version(version))
        .map_err(io::Error::other)?;
    respond(&header, request, &mut answer, broker, state)?;
    stream.write_all(&(answer.len() as u32).to_be_bytes())?;
    stream.write_all(&answer)
}

fn respond(
    header: &RequestHeader,
    mut request: Bytes,
    answer: &mut BytesMut,
    broker: i32,
    shared: &(Mutex<State>, Condvar),
) -> io::Result<()> {
    let (key, version) = (header.request_api_key, header.request_api_version);
    let state = shared.0.lock().unwrap();
    let written = match ApiKey::try_from(key).unwrap() {
        ApiKey::ApiVersions => versions(&state).encode(answer, version),
        ApiKey::Metadata => {
            let asked = MetadataRequest::decode(&mut request, version).unwrap();
            assert!(!asked.allow_auto_topic_creation && asked.topics.unwrap().len() == 1);
            metadata(&state).encode(answer, version)
        }
        ApiKey::ListOffsets => {
            let asked = ListOffsetsRequest::decode(&mut request, version).unwrap();
            assert_eq!((asked.isolation_level, asked.topics[0].name.0.as_str()), (1, TOPIC));
            ends(&state, asked.topics[0].partitions[0].timestamp).encode(answer, version)
        }
        ApiKey::Fetch => {
            let asked = FetchRequest::decode(&mut request, version).unwrap();
            drop(state);
            fetched(&asked, broker, shared)?.encode(answer, version)
        }
        other => panic!("{other:?} is not asked for"),
    };
    written.map_err(io::Error::other)?;
    let garbled = key == ApiKey::Fetch as i16 && shared.0.lock().unwrap().garbles();
    answer.truncate(answer.len() - usize::from(garbled) * 3);
    assert!(request.is_empty(), "a request has nothing behind it");
    Ok(())
}

fn versions(state: &State) -> ApiVersionsResponse {
    let range = |key: ApiKey, least, most| {
        let range = ApiVersion::default().with_api_key(key as i16);
        range.with_min_version(least).with_max_version(most)
    };
    ApiVersionsResponse::default().with_api_keys(vec![
        range(ApiKey::Fetch, 4, state.fetch_version),
        range(ApiKey::ListOffsets, 1, 10),
        range(ApiKey::Metadata, 0, 13),
    ])
}

fn metadata(state: &State) -> MetadataResponse {
    let brokers = (0..).zip(&state.ports).map(|(broker, port)| {
        let one = MetadataResponseBroker::default().with_node_id(BrokerId(broker));
        one.with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(*port))
    });
    let partition = MetadataResponsePartition::default()
        .with_leader_id(BrokerId(state.leader))
        .with_leader_epoch(state.epoch)
        .with_replica_nodes(vec![BrokerId(0), BrokerId(1)]);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
        .with_error_code(state.topic_code)
        .with_partitions(if state.topic_code == 3 {
            Vec::new()
        } else {
            vec![partition]
        });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_topics(vec![topic])
}

fn ends(state: &State, timestamp: i64) -> ListOffsetsResponse {
    const LATEST: i64 = -1;
    let offset = if timestamp == LATEST { end(state) } else { 0 };
    let partition = ListOffsetsPartitionResponse::default().with_offset(offset);
    let topic = ListOffsetsTopicResponse::default().with_partitions(vec![partition]);
    ListOffsetsResponse::default().with_topics(vec![topic])
}

fn end(state: &State) -> i64 {
    state.log.last().map_or(0, |(next, _)| *next)
}

/// Waits for something to give, as long as it was asked to.
fn fetched(asked: &FetchRequest, broker: i32, (lock, changed): &(Mutex<State>, Condvar)) -> io::Result<FetchResponse> {
    let wanted = &asked.topics[0].partitions[0];
    assert_eq!(
        (
            asked.isolation_level,
            asked.session_epoch,
            asked.topics[0].topic.0.as_str()
        ),
        (1, -1, TOPIC)
    );
    let wait = Duration::from_millis(asked.max_wait_ms as u64);
    let mut state = lock.lock().unwrap();
    if end(&state) <= wanted.fetch_offset && state.mood == Mood::Well && broker == state.leader {
        state = changed.wait_timeout(state, wait).unwrap().0;
    }
    state.asked_bytes.push(wanted.partition_max_bytes);
    let mut data = PartitionData::default()
        .with_high_watermark(end(&state))
        .with_last_stable_offset(end(&state))
        .with_aborted_transactions(Some(Vec::new()));
    match state.mood {
        Mood::Closes(left @ 1..) => {
            state.mood = Mood::Closes(left - 1);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Mood::IsSilent(left @ 1..) => {
            state.mood = Mood::IsSilent(left - 1);
            drop(changed.wait_while(state, |state| matches!(state.mood, Mood::IsSilent(_))));
            return Err(io::ErrorKind::TimedOut.into());
        }
        Mood::Truncates => data.diverging_epoch = EpochEndOffset::default().with_epoch(0).with_end_offset(1),
        Mood::Says(code) => data.error_code = code,
        _ if broker != state.leader => data.error_code = 6,
        _ if wanted.current_leader_epoch < state.epoch => data.error_code = 74,
        _ if wanted.current_leader_epoch > state.epoch => data.error_code = 75,
        _ if wanted.fetch_offset > end(&state) => data.error_code = 1,
        _ => {
            let ahead = state.log.iter().filter(|(next, _)| *next > wanted.fetch_offset);
            let mut bytes: Vec<u8> = ahead.flat_map(|(_, batch)| batch.clone()).collect();
            bytes.truncate(wanted.partition_max_bytes as usize);
            data.records = Some(bytes.into());
        }
    }
    let topic = FetchableTopicResponse::default().with_partitions(vec![data]);
    Ok(FetchResponse::default().with_responses(vec![topic]))
}
