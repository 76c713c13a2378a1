//! What Kafka's error codes mean for a reader.

use super::super::source::{DAMAGED, DENIED, LOST, MISSING};

/// What is done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It ends the reading; this says what to do.
    End(&'static str),
    /// The partition may have another leader: the brokers are asked, then it is tried again.
    Leader,
    /// It is tried again.
    Again,
}

/// The code of no error.
pub(super) const NONE: i16 = 0;
/// No broker knows the topic, which may mend itself while a cluster starts.
pub(super) const UNKNOWN_TOPIC: i16 = 3;

const OLD: &str = "the broker doesn't know this request; set kafka.client = \"rdkafka\"";

/// The codes that a reader may meet, what they say, and what is done.
const CODES: [(i16, &str, Way); 22] = [
    (1, "the offset is out of range", Way::End(LOST)),
    (2, "the broker found the batch damaged", Way::End(DAMAGED)),
    (UNKNOWN_TOPIC, "there is no such topic or partition", Way::Leader),
    (5, "the partition has no leader", Way::Leader),
    (6, "the broker does not lead the partition", Way::Leader),
    (7, "the broker timed out", Way::Again),
    (8, "the broker is not available", Way::Leader),
    (9, "the replica is not available", Way::Leader),
    (10, "a batch is too large for the broker", Way::End(DAMAGED)),
    (13, "the broker lost a connection of its own", Way::Again),
    (17, "the topic's name is not valid", Way::End(MISSING)),
    (29, "reading the topic is not allowed", Way::End(DENIED)),
    (31, "the cluster does not allow it", Way::End(DENIED)),
    (35, "the version of the request is not supported", Way::End(OLD)),
    (56, "the broker's disk failed", Way::Leader),
    (74, "the partition has a newer leader", Way::Leader),
    (75, "the broker doesn't know the newest leader yet", Way::Leader),
    (76, "the codec of a batch is not supported", Way::End(DAMAGED)),
    (78, "the broker doesn't know yet how far the log goes", Way::Again),
    (87, "the broker found a record damaged", Way::End(DAMAGED)),
    (100, "the topic's id is not known", Way::Leader),
    (103, "the topic's id is another one", Way::Leader),
];

/// What a code says, and what is done about it. A code that isn't known may get better.
pub(super) fn meaning(code: i16) -> (String, Way) {
    match CODES.iter().find(|(known, ..)| *known == code) {
        Some((_, text, way)) => ((*text).to_owned(), *way),
        None => (format!("the broker gives error {code}"), Way::Again),
    }
}
