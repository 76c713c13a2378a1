//! What a producer does when brokers fail, against librdkafka's own mock of a cluster.

use super::config::DELIVERY_TIMEOUT;
use super::{KafkaSink, KafkaSinkConfig};
use crate::conformance::row;
use crate::fence::Fence;
use crate::{ErrorKind, Sink};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::types::RDKafkaRespErr::{self, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION};
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::row::{Delivery, Job, Row};
use tidewatch_settings::Span;
use tidewatch_settings::kafka::KafkaConnection;

fn delivery(rows: i64) -> Delivery<Row> {
    let items = (0..rows).map(|minute| row(Job::Minute, "dev", minute, 1)).collect();
    Delivery {
        generation: Generation(1),
        through: Epoch(1),
        items,
    }
}

fn sink_of(brokers: String, topic: &str, delivery_timeout: Span) -> KafkaSink {
    let connection = KafkaConnection {
        brokers,
        ..Default::default()
    };
    let config = KafkaSinkConfig {
        topic: topic.into(),
        delivery_timeout,
        ..KafkaSinkConfig::default()
    };
    KafkaSink::new(config.resolve(&connection).unwrap(), Fence::alone())
}

/// Delivers as the engine does: a delivery whose outcome is unknown comes again.
fn deliver_until_through(sink: &mut KafkaSink, delivery: &Delivery<Row>) {
    for _ in 0..30 {
        match sink.deliver(delivery) {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind, ErrorKind::Retry, "{error}"),
        }
    }
    panic!("not through after 30 attempts");
}

#[test]
fn a_delivery_fails_while_the_broker_is_down_and_goes_through_after() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("rows", 2, 1).unwrap();
    let mut sink = sink_of(cluster.bootstrap_servers(), "rows", Span::from_secs(1));
    deliver_until_through(&mut sink, &delivery(10));
    cluster.broker_down(1).unwrap();
    let error = sink.deliver(&delivery(10)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry, "{error}");
    cluster.broker_up(1).unwrap();
    deliver_until_through(&mut sink, &delivery(10));
    deliver_until_through(&mut sink, &delivery(0));
}

#[test]
fn passing_errors_of_the_broker_are_retried_by_the_producer() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("rows", 1, 1).unwrap();
    let mut sink = sink_of(cluster.bootstrap_servers(), "rows", DELIVERY_TIMEOUT);
    cluster.request_errors(RDKafkaApiKey::Produce, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
    sink.deliver(&delivery(10)).unwrap();
}

#[test]
fn final_errors_of_the_broker_end_the_run() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("rows", 1, 1).unwrap();
    let mut sink = sink_of(cluster.bootstrap_servers(), "rows", DELIVERY_TIMEOUT);
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    cluster.request_errors(RDKafkaApiKey::Produce, &refused);
    let error = sink.deliver(&delivery(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop, "{error}");
    assert!(error.to_string().contains(", topic rows: "), "{error}");
    sink.deliver(&delivery(1)).unwrap();
}

#[test]
fn more_rows_than_the_queue_holds_go_through() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("rows", 4, 1).unwrap();
    let mut sink = sink_of(cluster.bootstrap_servers(), "rows", DELIVERY_TIMEOUT);
    sink.deliver(&delivery(150_000)).unwrap();
}
