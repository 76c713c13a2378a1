//! PostgreSQL and TimescaleDB.

use super::{all_of, delivery, minutes, partitions};
use std::sync::{Mutex, PoisonError};
use tidewatch_proto::ids::{Epoch, KeyGroup, Offset, Partition};
use tidewatch_proto::query::DeviceQuery;
use tidewatch_proto::row::{Job, Jobs, Row, Status};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::EventTime;
use tidewatch_settings::Span;
use tidewatch_sinks::conformance::{
    LARGE_BYTES, LetterSubject, Subject, dead_letter_sink, letter_store, mending, row, sink,
};
use tidewatch_sinks::hot::HotStore;
use tidewatch_sinks::parts::Parts;
use tidewatch_sinks::postgres::{PostgresDeadLetters, PostgresHotStore, PostgresLetterStore, PostgresSink, Timescale};
use tidewatch_sinks::{ErrorKind, Sink, SinkError, Storing};
use tidewatch_tests::sinks::component;
use tidewatch_tests::sinks::postgres::Database;

/// TimescaleDB takes one connection at a time.
pub(super) static TIMESCALE: Mutex<()> = Mutex::new(());

fn postgres_database() -> Database {
    Database::new(&component("TIDEWATCH_TEST_POSTGRES"))
}

fn run_postgres_suites(database: &Database, payload_bytes: usize) {
    sink(&Subject {
        sink: &|| Box::new(PostgresSink::new(database.settings(), Parts::all())),
        store: &|| Box::new(PostgresHotStore::new(database.settings())),
        fences: true,
        non_finite: true,
    });
    let names = partitions();
    dead_letter_sink(&LetterSubject {
        sink: &|| Box::new(PostgresDeadLetters::new(database.settings(), Parts::all(), &names)),
        letters: &|| database.letters(&names),
        fences: true,
        payload_bytes,
    });
}

#[test]
fn postgres_passes_the_suite() {
    let database = postgres_database();
    run_postgres_suites(&database, LARGE_BYTES);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'aggregates_minute'::regclass";
    assert!(database.number(partitions) >= 5, "a partition for each day");
}

#[test]
fn postgres_gives_dead_letters_back() {
    let database = postgres_database();
    let names = partitions();
    let mut sink = PostgresDeadLetters::new(database.settings(), Parts::all(), &names);
    letter_store(&mut sink, &PostgresLetterStore::new(database.settings()), &names[0]);
}

#[test]
fn a_device_whose_windows_have_left_is_listed_no_more() {
    let database = postgres_database();
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    let rows = [minutes("left", 0..1), minutes("stays", 0..1)].concat();
    sink.deliver(&delivery(1, 1, rows)).unwrap();
    database
        .client()
        .batch_execute("DELETE FROM aggregates_minute WHERE device_id = 'left'")
        .unwrap();
    let query = DeviceQuery {
        search: String::new(),
        after: None,
        among: None,
        limit: 10,
    };
    let devices = PostgresHotStore::new(database.settings()).devices(&query).unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!(&*devices[0].device, "stays");
}

#[test]
fn timescale_passes_the_suite() {
    let _one_at_a_time = TIMESCALE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut database = Database::new(&component("TIDEWATCH_TEST_TIMESCALE"));
    database.config.timescale = Timescale::Require;
    // Its socket hands over what one read brings as whole messages: each must fit.
    database.config.statement_rows_max = 100;
    run_postgres_suites(&database, 10_000);
    let hypertables = format!(
        "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_schema = '{}'",
        database.config.schema
    );
    assert_eq!(database.number(&hypertables), 5);
}

/// Runs the jobs of a kind of policy, which nothing runs in this TimescaleDB by itself.
fn run_jobs(database: &Database, policy: &str) -> usize {
    let mut client = database.client();
    let jobs = format!(
        "SELECT job_id FROM timescaledb_information.jobs
         WHERE hypertable_schema = '{}' AND proc_name = 'policy_{policy}' ORDER BY job_id",
        database.config.schema
    );
    let jobs = client.query(&jobs, &[]).expect("jobs are listed");
    let jobs: Vec<i32> = jobs.iter().map(|row| row.get(0)).collect();
    for job in &jobs {
        client
            .batch_execute(&format!("CALL run_job({job})"))
            .expect("the job runs");
    }
    jobs.len()
}

#[test]
fn timescale_has_the_policies_that_are_configured() {
    let _one_at_a_time = TIMESCALE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut database = Database::new(&component("TIDEWATCH_TEST_TIMESCALE"));
    let forget = |database: &Database| database.client().batch_execute("DEALLOCATE ALL").unwrap();
    forget(&database);
    database.config.timescale = Timescale::Require;
    database.config.statement_rows_max = 100;
    database.config.compress_after = Some(Span::from_secs(7 * 86_400));
    let open = |database: &Database| PostgresSink::new(database.settings(), Parts::all()).mending(mending());
    let rows = || [minutes("early", 0..90), vec![row(Job::Hour, "early", 0, 1)]].concat();
    open(&database).deliver(&delivery(1, 10, rows())).unwrap();
    assert_eq!(
        (run_jobs(&database, "compression"), run_jobs(&database, "retention")),
        (5, 0)
    );
    let compressed = format!(
        "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_schema = '{}' AND is_compressed",
        database.config.schema
    );
    assert_eq!(database.number(&compressed), 2, "a chunk of minutes and one of hours");
    // Corrections and readings beyond the horizon get into compressed chunks.
    let corrected = Row {
        status: Status::Corrected,
        revision: Epoch(5),
        ..row(Job::Minute, "early", 7, 5)
    };
    let late = Straggler {
        partition: Partition(0),
        offset: Offset(3),
        device: "early".into(),
        at: EventTime(corrected.window_start.0 + 60_000),
        readings: vec![("temperature".into(), 1.0)],
        taken: Jobs::default(),
    };
    let mended = open(&database)
        .mend(&delivery(1, 20, vec![corrected.clone()]), &[late])
        .unwrap();
    let jobs: Vec<Job> = mended.iter().map(|row| row.job).collect();
    assert_eq!(
        (jobs[0], jobs.len()),
        (Job::Minute, 8),
        "a minute, five hops, an hour and a day"
    );
    forget(&database);
    let stored = PostgresHotStore::new(database.settings())
        .series(&all_of("early"))
        .unwrap();
    assert_eq!((stored.len(), &stored[7]), (90, &corrected));
    assert_eq!(stored[8], mended[0]);
    // Another configuration changes them.
    database.config.compress_after = None;
    database.config.minute_retention = Span::from_secs(30 * 86_400);
    open(&database).deliver(&delivery(2, 100, Vec::new())).unwrap();
    assert_eq!(
        (run_jobs(&database, "compression"), run_jobs(&database, "retention")),
        (0, 1)
    );
    assert_eq!(
        database.number("SELECT count(*) FROM aggregates_minute"),
        0,
        "rows of 2023 have left"
    );
    assert_eq!(database.number("SELECT count(*) FROM aggregates_hour"), 1);
    forget(&database);
}

#[test]
fn connection_errors_say_what_to_do() {
    let good = component("TIDEWATCH_TEST_POSTGRES");
    let error = |url: String| {
        let settings = Database::new(&url).settings();
        PostgresSink::new(settings, Parts::all()).check().unwrap_err()
    };
    let config: ::postgres::Config = good.parse().unwrap();
    let port = config.get_ports()[0];
    let user = config.get_user().unwrap();

    let wrong_password = error(format!("postgres://{user}:wrong@127.0.0.1:{port}/tidewatch"));
    assert_eq!(wrong_password.kind, ErrorKind::Stop);
    let expected = format!("127.0.0.1:{port}/tidewatch: the server refuses user `{user}`: ");
    assert!(wrong_password.to_string().starts_with(&expected), "{wrong_password}");

    let no_database = error(
        good.replace("/tidewatch", "/nowhere")
            .replace("//nowhere", "//tidewatch"),
    );
    assert_eq!(no_database.kind, ErrorKind::Stop);
    assert!(
        no_database
            .to_string()
            .contains("/nowhere: there is no such database; create it"),
        "{no_database}"
    );

    let unreachable = error("postgres://ann@127.0.0.1:1/fleet".to_owned());
    assert_eq!(unreachable.kind, ErrorKind::Retry);
    assert!(
        unreachable
            .to_string()
            .starts_with("127.0.0.1:1/fleet: can't be reached: "),
        "{unreachable}"
    );

    for error in [wrong_password, no_database, unreachable] {
        assert!(
            !error.to_string().contains('\n') && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}

/// Tries until it goes through; what fails before that may be tried again.
fn until_ok<T>(mut attempt: impl FnMut() -> Result<T, SinkError>) -> (T, u32) {
    for failures in 0..20 {
        match attempt() {
            Ok(done) => return (done, failures),
            Err(error) => assert_eq!(error.kind, ErrorKind::Retry, "{error}"),
        }
    }
    panic!("twenty attempts failed");
}

#[test]
fn a_lost_connection_is_made_again() {
    let mut database = postgres_database();
    let name = database.config.schema.clone();
    database.config.url += &format!("?application_name={name}");
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    let reader = PostgresHotStore::new(database.settings());
    let rows = minutes("lost", 0..2);
    sink.deliver(&delivery(1, 1, rows[..1].to_vec())).unwrap();
    assert_eq!(reader.series(&all_of("lost")).unwrap(), rows[..1]);

    let ended = database.number(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = '{name}' AND pid <> pg_backend_pid()"
    ));
    assert_eq!(ended, 2);
    until_ok(|| sink.deliver(&delivery(1, 2, rows.clone())));
    assert_eq!(until_ok(|| reader.series(&all_of("lost"))).0, rows);
}

#[test]
fn many_first_rows_are_stored_though_one_of_them_is_there() {
    let database = postgres_database();
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    let mut rows: Vec<_> = (0..200)
        .flat_map(|device| minutes(&format!("many-{device:03}"), 0..100))
        .collect();
    // The last in the order of the key: by then nearly everything has been copied.
    let there = rows.last().unwrap().clone();
    sink.deliver(&delivery(1, 1, vec![there])).unwrap();
    sink.deliver(&delivery(1, 2, rows.clone())).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM aggregates_minute"), 20_000);
    // All of them again, and a new one: what is stored stays as it was.
    let stored = rows.len() as i64;
    rows.extend(minutes("new", 0..1));
    sink.deliver(&delivery(1, 3, rows.clone())).unwrap();
    let count = |as_of: u64| database.number(&format!("SELECT count(*) FROM aggregates_minute WHERE as_of = {as_of}"));
    assert_eq!((count(1), count(2), count(3)), (1, stored - 1, 1));
    assert_eq!(
        PostgresHotStore::new(database.settings())
            .series(&all_of("many-007"))
            .unwrap(),
        rows[700..800]
    );
}

#[test]
fn a_dropped_partition_is_made_again() {
    let database = postgres_database();
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    sink.deliver(&delivery(1, 1, minutes("dropped", 0..1))).unwrap();
    database
        .client()
        .batch_execute("DROP TABLE aggregates_minute_p20231115")
        .unwrap();
    let rows = minutes("dropped", 0..3);
    let ((), failures) = until_ok(|| sink.deliver(&delivery(1, 2, rows.clone())));
    assert_eq!(failures, 1);
    assert_eq!(
        PostgresHotStore::new(database.settings())
            .series(&all_of("dropped"))
            .unwrap(),
        rows
    );
}

#[test]
fn workers_share_a_database_from_the_first_moment() {
    const WORKERS: usize = 4;
    let database = postgres_database();
    let mut rows = Vec::new();
    for device in 0..200 {
        rows.extend(minutes(&format!("shared-{device}"), (0..5).map(|day| day * 1440)));
    }
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (database, rows) = (&database, &rows);
            scope.spawn(move || {
                let mut sink = PostgresSink::new(database.settings(), Parts::of_workers(worker..worker + 1, WORKERS));
                let own = rows
                    .iter()
                    .filter(|row| row.part().worker(WORKERS) == worker)
                    .cloned()
                    .collect();
                sink.deliver(&delivery(3, 7, own)).unwrap();
            });
        }
    });
    assert_eq!(database.number("SELECT count(*) FROM aggregates_minute"), 1000);
    let parts = "SELECT count(*) FROM tidewatch_progress WHERE stream = 'rows' AND generation = 3 AND epoch = 7";
    assert_eq!(database.number(parts), 64);
    let mut other = PostgresSink::new(database.settings(), Parts::of_workers(0..1, 64));
    let foreign = rows.iter().find(|row| row.part() != KeyGroup(0)).unwrap().clone();
    assert_eq!(
        other.deliver(&delivery(3, 8, vec![foreign])).unwrap_err().kind,
        ErrorKind::Stop
    );
}

#[test]
fn what_is_past_the_retention_leaves() {
    let mut database = postgres_database();
    // From the fifteenth of November 2023 on: minutes and hours of forty days, days of four hundred.
    let days = |days: i64, job: Job| (0..days).map(move |day| row(job, "old", day * 1_440, 1));
    let rows = days(40, Job::Minute)
        .chain(days(40, Job::Hour))
        .chain(days(400, Job::Day));
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    sink.deliver(&delivery(1, 1, rows.collect())).unwrap();
    let partitions = |database: &Database, table: &str| {
        database.number(&format!(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = '{table}'::regclass"
        ))
    };
    let all = |database: &Database| {
        ["aggregates_minute", "aggregates_hour", "aggregates_day"].map(|table| partitions(database, table))
    };
    assert_eq!(all(&database), [40, 2, 2], "days, months and years");
    // It is counted back from the newest minute, of the twenty-fourth of December.
    let three_days = Span::from_secs(3 * 86_400);
    database.config.minute_retention = three_days;
    database.config.hour_retention = three_days;
    database.config.day_retention = three_days;
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    sink.deliver(&delivery(1, 2, Vec::new())).unwrap();
    assert_eq!(all(&database), [5, 1, 2], "of a month or a year all has to be too old");
    sink.deliver(&delivery(1, 3, minutes("old", 0..1))).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM aggregates_minute"), 6);
}

#[test]
fn partitions_of_days_that_earlier_releases_have_made_stay() {
    let database = postgres_database();
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    sink.check().unwrap();
    database
        .client()
        .batch_execute(
            "CREATE TABLE aggregates_hour_p20231115 PARTITION OF aggregates_hour
             FOR VALUES FROM ('2023-11-15 00:00Z') TO ('2023-11-16 00:00Z')",
        )
        .unwrap();
    let rows = [0, 1_440, 30 * 1_440].map(|minute| row(Job::Hour, "dev", minute, 1));
    sink.deliver(&delivery(1, 1, rows.to_vec())).unwrap();
    let names = "SELECT count(*) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                 WHERE inhparent = 'aggregates_hour'::regclass
                   AND relname IN ('aggregates_hour_p20231115', 'aggregates_hour_p20231116', 'aggregates_hour_p202312')";
    assert_eq!(database.number(names), 3);
    assert_eq!(database.number("SELECT count(*) FROM aggregates_hour"), 3);
}

#[test]
fn tables_of_a_newer_release_are_left_alone() {
    let database = postgres_database();
    PostgresSink::new(database.settings(), Parts::all()).check().unwrap();
    database
        .client()
        .batch_execute("INSERT INTO tidewatch_migrations (version) VALUES (1000)")
        .unwrap();
    let error = PostgresSink::new(database.settings(), Parts::all())
        .check()
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop);
    assert!(
        error
            .to_string()
            .contains("written by a newer release (its migration 1000"),
        "{error}"
    );
}
