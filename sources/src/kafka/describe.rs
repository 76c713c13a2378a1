//! Asks the brokers which topic a name stands for and how many partitions it has; the client's wrapper doesn't tell.

use super::batch::{Event, Queue, text};
use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use std::ffi::{CStr, CString};
use std::time::Duration;

/// The id of no topic, which brokers before Kafka 2.8 give.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// A topic as its brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// The topic's id, which a topic that is made anew doesn't have again; empty when the brokers give none.
    pub(super) id: String,
    /// How many partitions it has.
    pub(super) partitions: usize,
}

/// Describes a topic. It blocks for twice `timeout` at most.
///
/// # Errors
/// What the brokers or the client say.
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Description, String> {
    // While no broker can be reached the client spins as long as it has a request like the one below, but not with this.
    let reached = client.fetch_metadata(Some(topic), timeout);
    reached.map_err(|error| error.to_string())?;
    let topic = CString::new(topic).map_err(|error| error.to_string())?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut names = [topic.as_ptr()];
    let client = client.native_ptr();
    // SAFETY: the client is alive as long as the caller's borrow. The queue, the list of names and the options are ours
    // and let go of before this returns; the request has copies of the latter two when the call is back.
    let event = unsafe {
        let queue = Queue(native::rd_kafka_queue_new(client));
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let kind = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(client, kind);
        native::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, std::ptr::null_mut(), 0);
        native::rd_kafka_DescribeTopics(client, topics, options, queue.0);
        native::rd_kafka_AdminOptions_destroy(options);
        native::rd_kafka_TopicCollection_destroy(topics);
        Event(native::rd_kafka_queue_poll(queue.0, timeout_ms))
    };
    read(&event)
}

fn read(event: &Event) -> Result<Description, String> {
    if event.0.is_null() {
        return Err("no broker answered in time".to_owned());
    }
    // SAFETY: the event is alive and not null; its kind is looked at before it is read as that, and all that is reached
    // through it lives as long as it does and is copied. The codes are read as numbers in C.
    unsafe {
        if native::rd_kafka_event_type(event.0) != native::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT {
            return Err("the client answered something else".to_owned());
        }
        if native::rd_kafka_event_error(event.0) as i32 != 0 {
            return Err(text(native::rd_kafka_event_error_string(event.0)));
        }
        let mut count = 0;
        let result = native::rd_kafka_event_DescribeTopics_result(event.0);
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 {
            return Err("the brokers describe no topic".to_owned());
        }
        let topic = *topics;
        let error = native::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() && native::rd_kafka_error_code(error) as i32 != 0 {
            return Err(text(native::rd_kafka_error_string(error)));
        }
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let id = if id.is_null() {
            String::new()
        } else {
            CStr::from_ptr(native::rd_kafka_Uuid_base64str(id))
                .to_string_lossy()
                .into_owned()
        };
        let mut partitions = 0;
        native::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        Ok(Description {
            id: if id == NO_ID { String::new() } else { id },
            partitions,
        })
    }
}
