//! The reader without a broker: what it does about errors, and about records that it has seen.

use super::*;
use crate::conformance::Collected;
use crate::kafka::KafkaSourceConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset as At, TopicPartitionList};
use std::sync::{Arc, Mutex};
use tidewatch_settings::kafka::KafkaConnection;

const TIMEOUT: Duration = Duration::from_secs(20);

fn positions(next: Vec<Option<Offset>>) -> Positions {
    let (brokers, topic, topic_c) = (String::new(), String::new(), CString::default());
    Positions {
        brokers,
        topic,
        topic_c,
        assigned: Vec::new(),
        next,
        ended: false,
    }
}

#[test]
fn a_broker_that_is_down_is_told_and_waited_for() {
    let connection = KafkaConnection {
        brokers: "127.0.0.1:1".to_owned(),
        ..KafkaConnection::default()
    };
    let settings = KafkaSourceConfig::default().resolve(&connection).unwrap();
    let consumer: BaseConsumer = settings.reader().create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("raw.events", 0, At::Offset(5)).unwrap();
    consumer.assign(&list).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&heard);
    let hook: EventHook = Arc::new(move |event: SourceEvent| hook.lock().unwrap().push(event.to_string()));
    let assigned = [Assignment {
        partition: Partition(0),
        from: Some(Offset(5)),
    }];
    let mut source = KafkaSource::new(Fetcher::new(consumer).unwrap(), &settings, &assigned, hook);
    let begun = Instant::now();
    while !heard
        .lock()
        .unwrap()
        .iter()
        .any(|event| event.contains("Connection refused"))
    {
        assert_eq!(source.poll(&mut Collected::new(1), 10).unwrap(), Polled::Idle);
        assert!(begun.elapsed() < TIMEOUT, "{heard:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    let begun = Instant::now();
    drop(source);
    assert!(begun.elapsed() < TIMEOUT, "closing took {:?}", begun.elapsed());
}

#[test]
fn a_record_is_handed_over_once() {
    let mut positions = positions(vec![None, Some(Offset(7))]);
    let mut advance = |partition, offset| positions.advance(Partition(partition), Offset(offset));
    assert!(advance(0, 3) && !advance(0, 3) && advance(0, 9) && !advance(0, 8));
    assert!(!advance(1, 6) && advance(1, 7) && !advance(2, 0));
}

#[test]
fn only_what_waiting_does_not_mend_ends_the_reading() {
    for (code, ends) in [
        (Code::AutoOffsetReset, true),
        (Code::BadMessage, true),
        (Code::UnknownTopicOrPartition, true),
        (Code::BrokerTransportFailure, false),
        (Code::NotLeaderForPartition, false),
        (Code::GroupAuthorizationFailed, false),
    ] {
        let mut positions = positions(vec![None]);
        let result = positions.judge_at(0, Offset(5), code as i32, "text", &crate::event::unheard());
        assert_eq!(result.is_err(), ends, "{code:?}");
    }
    let judge = |code: Code, fatal| {
        let trouble = Trouble {
            code: code as i32,
            fatal,
            text: String::new(),
        };
        positions(Vec::new()).judge(&trouble, &crate::event::unheard()).is_err()
    };
    assert!(judge(Code::Authentication, false) && judge(Code::Fail, true));
    assert!(!judge(Code::AllBrokersDown, false) && !judge(Code::SSL, false));
}
