//! The keys of `[kafka]` and `[output.kafka]`.

use super::super::key::{Key, Kind, Section};
use super::{GIB, KIB, MIB, MINUTE, SECOND};

/// `[kafka]`
pub(super) const KAFKA: Section = Section {
    name: "kafka",
    about: "Apache Kafka: how to reach it, for the source and the outputs, and how the source reads its topic. \
            It is used when `source.kind` is `kafka`, with `[output.kafka]`, and when `dead_letter.kind` is `kafka`.",
    keys: &[
        Key {
            name: "brokers",
            kind: Kind::Text,
            default: "127.0.0.1:9092",
            about: "Addresses to find the cluster by, `host:port`, with commas between them.",
        },
        Key {
            name: "topic",
            kind: Kind::Text,
            default: "raw.events",
            about: "The topic to read.",
        },
        Key {
            name: "client",
            kind: Kind::OneOf(&["rdkafka", "native"]),
            default: "rdkafka",
            about: "What reads the topic: librdkafka, or the experimental `native`, which takes whole batches and needs \
                    about half of the CPU. `native` reads brokers from Kafka 2.7 on, with `security_protocol` \
                    `plaintext` only; everything else that has to do with Kafka stays with librdkafka.",
        },
        Key {
            name: "start",
            kind: Kind::OneOf(&["earliest", "latest"]),
            default: "earliest",
            about: "Where to start when there is no state to go on from. From then on positions are kept; a partition \
                    that is added later is read from its first record in any case.",
        },
        Key {
            name: "on_gap",
            kind: Kind::OneOf(&["stop", "skip"]),
            default: "stop",
            about: "What to do when the log doesn't have what comes next: records were removed before they were read, \
                    the log lost what was read, or the topic was made anew. `stop` ends with an error that says what \
                    is missing; `skip` says it, and the next start goes on with what there is: behind a gap, or from \
                    the first record of a topic that was made anew.",
        },
        Key {
            name: "group_id",
            kind: Kind::Text,
            default: "tidewatch",
            about: "The consumer group that positions are committed to, for lag tools; nothing is read from it.",
        },
        Key {
            name: "security_protocol",
            kind: Kind::OneOf(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
            default: "plaintext",
            about: "How to talk to the brokers.",
        },
        Key {
            name: "sasl_mechanism",
            kind: Kind::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
            default: "SCRAM-SHA-256",
            about: "How to log in, with a SASL protocol.",
        },
        Key {
            name: "username",
            kind: Kind::Text,
            default: "",
            about: "Whom to log in as; needed with a SASL protocol, refused without.",
        },
        Key {
            name: "password_file",
            kind: Kind::Path,
            default: "",
            about: "A file whose first line is the password; needed with a SASL protocol, refused without.",
        },
        Key {
            name: "ca_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file of the authorities that the brokers' certificates are checked against; by default the \
                    system's.",
        },
        Key {
            name: "cert_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file of the certificate to show to the brokers, for mutual TLS.",
        },
        Key {
            name: "key_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file of that certificate's private key.",
        },
        Key {
            name: "check_crcs",
            kind: Kind::Bool,
            default: "true",
            about: "Whether each batch's checksum is verified. It costs next to nothing.",
        },
        Key {
            name: "queue_records_min",
            kind: Kind::Integer(1, 10_000_000),
            default: "50000",
            about: "How many records a reader tries to have at hand for each partition; `native` goes by bytes alone.",
        },
        Key {
            name: "queue_bytes_max",
            kind: Kind::Size(MIB, 2 * GIB),
            default: "32MiB",
            about: "How many bytes of records a reader holds at most before it stops fetching.",
        },
        Key {
            name: "fetch_bytes_max",
            kind: Kind::Size(KIB, 50 * MIB - KIB),
            default: "4MiB",
            about: "How many bytes are asked for at once from a partition. A single larger record is still read.",
        },
        Key {
            name: "fetch_wait",
            kind: Kind::Span(0, MINUTE),
            default: "20ms",
            about: "How long a broker may hold back its answer when it has nothing.",
        },
    ],
};

/// `[output.kafka]`
pub(super) const OUTPUT: Section = Section {
    name: "output.kafka",
    about: "Rows to a topic of Kafka. The section turns it on, even when it is empty; `[kafka]` says where.",
    keys: &[
        Key {
            name: "topic",
            kind: Kind::Text,
            default: "aggregates.minute",
            about: "The topic for rows; it should be compacted.",
        },
        Key {
            name: "transactional_id",
            kind: Kind::Text,
            default: "tidewatch",
            about: "What the transactional ids of producers begin with: topic and number of the process follow. Two \
                    clusters that write to one topic need different ones.",
        },
        Key {
            name: "create_topics",
            kind: Kind::Bool,
            default: "false",
            about: "Whether a missing topic is created, with the brokers' defaults for partitions and replicas.",
        },
        Key {
            name: "delivery_timeout",
            kind: Kind::Span(SECOND, 10 * MINUTE),
            default: "30s",
            about: "How long a message may take to be acknowledged; then the delivery is tried again.",
        },
        Key {
            name: "message_bytes_max",
            kind: Kind::Bytes(1_000, 1_000_000_000),
            default: "8MiB",
            about: "How large a message may be; the topic's own `max.message.bytes` counts as well.",
        },
    ],
};
