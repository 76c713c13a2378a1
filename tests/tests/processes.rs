//! A cluster of two processes on real components: each shows the open windows of all devices, also when what they say to
//! each other is encrypted.

use rdkafka::producer::{BaseRecord, Producer};
use std::time::Instant;
use tidewatch_proto::ids::KeyGroup;
use tidewatch_proto::wire::Telemetry;
use tidewatch_tests::pipeline::Pipeline;
use tidewatch_tests::running::{LIMIT, Running};

const START: i64 = 1_750_003_200_000;
const PARTITIONS: usize = 2;
const PROCESSES: usize = 2;
/// How many readings each device sends.
const READINGS: usize = 20;

/// Devices of both processes.
struct Fleet {
    pipeline: Pipeline,
}

impl Fleet {
    fn new() -> Fleet {
        Fleet {
            pipeline: Pipeline::new(PARTITIONS),
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.pipeline.variables();
        // Windows stay open until the log closes them.
        variables.push(("ENGINE__IDLE", "1h".to_owned()));
        variables
    }

    fn send(&self, device: &str, partition: usize, ts: i64, metrics: &[(&str, f64)]) {
        let metrics = metrics.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        let payload = prost::Message::encode_to_vec(&Telemetry {
            device_id: device.into(),
            ts,
            metrics,
            raw: Vec::new(),
        });
        let record = BaseRecord::to(&self.pipeline.topic.name).partition(partition as i32);
        let sent = self.pipeline.producer.send(record.key(device).payload(&payload));
        sent.map_err(|(error, _)| error).expect("the queue has room");
    }

    /// Readings of one minute from a device of each process, each on the partition that the other process reads.
    fn fill(&self) -> [String; PROCESSES] {
        let devices = [0, 1].map(device_of);
        for (owner, device) in devices.iter().enumerate() {
            for number in 0..READINGS {
                let value = number as f64;
                let ts = START + number as i64 * 1_000;
                self.send(device, (owner + 1) % PARTITIONS, ts, &[("temperature", value)]);
            }
        }
        self.pipeline.producer.flush(LIMIT).expect("acknowledged");
        devices
    }

    /// Closes the window.
    fn close(&self) {
        for partition in 0..PARTITIONS {
            self.send("flush", partition, START + 600_000, &[]);
        }
        self.pipeline.producer.flush(LIMIT).expect("acknowledged");
    }
}

/// A device that a worker of this process owns, where each process has one.
fn device_of(process: usize) -> String {
    let mut names = (0..).map(|number| format!("device-{number}"));
    let owned = names.find(|name| KeyGroup::of(name.as_bytes()).worker(PROCESSES) == process);
    owned.expect("there are enough names")
}

/// Waits until every process shows all readings of every device in a window of this status.
fn all_show(run: &Running, devices: &[String], status: &str) {
    let begun = Instant::now();
    let (count, status) = (format!("\"count\":{READINGS},"), format!("\"status\":\"{status}\""));
    for process in 0..PROCESSES {
        for device in devices {
            let path = format!("/v1/series/{device}/temperature");
            loop {
                let answer = run.get_from(process, &path);
                if answer.contains(&count) && answer.contains(&status) {
                    break;
                }
                assert!(begun.elapsed() < LIMIT, "process {process} on {device}: {answer}");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn every_process_shows_the_windows_of_all() {
    let fleet = Fleet::new();
    let devices = fleet.fill();
    let run = Running::start_cluster(PROCESSES, &fleet.variables(), fleet.pipeline.folder.path());
    all_show(&run, &devices, "live");
    for process in 0..PROCESSES {
        let nobody = run.get_from(process, "/v1/series/nobody/temperature");
        assert!(nobody.starts_with("HTTP/1.1 404"), "{nobody}");
    }
    fleet.close();
    all_show(&run, &devices, "final");
    run.stop();
}

/// The variables of a certificate for a host, which is its own authority.
fn certificate(fleet: &Fleet, host: &str) -> Vec<(&'static str, String)> {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("random numbers");
    let file = |name: &str, text: String| {
        let path = fleet.pipeline.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let cert = file("cert.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    vec![
        ("CLUSTER__CA_FILE", cert.clone()),
        ("CLUSTER__CERT_FILE", cert),
        ("CLUSTER__KEY_FILE", key),
    ]
}

#[test]
fn processes_speak_tls() {
    let fleet = Fleet::new();
    let mut variables = fleet.variables();
    variables.extend(certificate(&fleet, "elsewhere.example"));
    let refused = Running::begin_cluster(PROCESSES, &variables, fleet.pipeline.folder.path());
    refused.wait_until_it_says("its certificate is for another host than its address");
    refused.kill();

    let devices = fleet.fill();
    let mut variables = fleet.variables();
    variables.extend(certificate(&fleet, "127.0.0.1"));
    let run = Running::start_cluster(PROCESSES, &variables, fleet.pipeline.folder.path());
    all_show(&run, &devices, "live");
    run.wait_for_checkpoints(1);
    fleet.close();
    all_show(&run, &devices, "final");
    run.stop();
}
