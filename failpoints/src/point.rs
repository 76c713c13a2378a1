//! The list of all places.

/// Makes the type and its list: of each place the name, whether it can fail, and where it is.
macro_rules! points {
    ($($variant:ident $name:literal $can_fail:literal $place:literal,)+) => {
        /// A place on the way to durability.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $(#[doc = $place] $variant,)+
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Point] = &[$(Point::$variant),+];

            /// What it is called in the environment and in tables.
            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name,)+ }
            }

            /// Whether an error can be asked for; a kill and a delay can everywhere.
            pub fn can_fail(self) -> bool {
                match self { $(Point::$variant => $can_fail,)+ }
            }
        }
    };
}

points! {
    SegmentWrite "segment-write" true "Before a segment is written beside its name.",
    SegmentWritten "segment-written" true "A segment is written, not synced.",
    SegmentSynced "segment-synced" true "A segment is synced, not renamed.",
    SegmentRenamed "segment-renamed" true "A segment is renamed, its folder not synced.",
    SegmentDurable "segment-durable" true "A segment is durable, nobody knows.",
    ManifestWrite "manifest-write" true "Before a manifest is written beside its name.",
    ManifestWritten "manifest-written" true "A manifest is written, not synced.",
    ManifestSynced "manifest-synced" true "A manifest is synced, not renamed.",
    ManifestRenamed "manifest-renamed" true "A manifest is renamed, its folder not synced.",
    ManifestDurable "manifest-durable" true "A manifest is durable, nobody knows.",
    S3Put "s3-put" true "Before an object is put into the bucket.",
    S3Stored "s3-stored" true "An object is in the bucket, nobody knows.",
    S3Get "s3-get" true "Before an object is read from the bucket.",
    S3List "s3-list" true "Before the bucket's objects are listed.",
    S3Remove "s3-remove" true "Before an object that no checkpoint needs is removed.",
    S3Removed "s3-removed" true "An object that no checkpoint needs is removed.",
    SealBegin "seal-begin" false "What epochs have brought is about to be sealed.",
    SealDone "seal-done" false "What epochs have brought is on its way to the store.",
    ShareReport "share-report" false "A process's share of a checkpoint is durable, the first one doesn't know.",
    ShareGather "share-gather" false "The first process has the share of another one.",
    CheckpointAnnounced "checkpoint-announced" false "The other processes are told that a checkpoint is durable.",
    CheckpointHeard "checkpoint-heard" false "A process is told that a checkpoint is durable, its sinks have nothing of it.",
    CheckpointDurable "checkpoint-durable" false "A checkpoint is durable, sinks have nothing of it.",
    CheckpointGiven "checkpoint-given" false "Sinks have been given what a checkpoint holds.",
    PositionsCommit "positions-commit" false "Before positions go to the consumer group.",
    PositionsCommitted "positions-committed" false "Positions are on their way to the consumer group.",
    Remove "remove" true "Before a file that no checkpoint needs is removed.",
    Removed "removed" true "A file that no checkpoint needs is removed.",
    LoadList "load-list" true "Before checkpoints are looked for.",
    LoadManifest "load-manifest" true "A manifest has been read.",
    LoadSegment "load-segment" true "A segment has been read.",
    RestoreBegin "restore-begin" true "The newest checkpoint is read, its state not rebuilt.",
    RestoreDone "restore-done" true "The state is rebuilt, sinks are not started.",
    SinksStarted "sinks-started" true "Sinks have shut out older runs, the engine is not started.",
    OutboxGiven "outbox-given" true "Sinks have been given what the run before had not delivered.",
    PostgresConnected "postgres-connected" true "There is a session with the database.",
    PostgresBegin "postgres-begin" true "Before a transaction begins.",
    PostgresProgress "postgres-progress" true "In the transaction: progress is written, no row is.",
    PostgresMend "postgres-mend" true "In the transaction: before readings are added to rows.",
    PostgresMended "postgres-mended" true "In the transaction: readings are added to rows.",
    MendedGive "mended-give" false "Rows that readings were added to are stored, the other sinks have nothing of them.",
    MendedGiven "mended-given" false "The other sinks are given the rows that readings were added to.",
    PostgresCommit "postgres-commit" true "In the transaction: rows are written.",
    PostgresCommitted "postgres-committed" true "The transaction is committed, nobody knows.",
    PostgresLettersBegin "postgres-letters-begin" true "Before a transaction of dead letters begins.",
    PostgresLettersProgress "postgres-letters-progress" true "In the transaction: progress is written, no dead letter is.",
    PostgresLettersCommit "postgres-letters-commit" true "In the transaction: dead letters are written.",
    PostgresLettersCommitted "postgres-letters-committed" true "Dead letters are committed, nobody knows.",
    EmbeddedBegin "embedded-begin" true "Before a transaction of the embedded store begins.",
    EmbeddedProgress "embedded-progress" true "In the embedded store's transaction: progress is written, no row is.",
    EmbeddedCommit "embedded-commit" true "In the embedded store's transaction: rows are written.",
    EmbeddedCommitted "embedded-committed" true "The embedded store's transaction is committed, nobody knows.",
    EmbeddedLettersBegin "embedded-letters-begin" true "Before the embedded store's transaction of dead letters begins.",
    EmbeddedLettersProgress "embedded-letters-progress" true "In the embedded store's transaction: progress is written, no dead letter is.",
    EmbeddedLettersCommit "embedded-letters-commit" true "In the embedded store's transaction: dead letters are written.",
    EmbeddedLettersCommitted "embedded-letters-committed" true "Dead letters are committed to the embedded store, nobody knows.",
    KafkaRowsInit "kafka-rows-init" true "Before a producer of rows is made.",
    KafkaRowsProduce "kafka-rows-produce" true "Before the first row goes into the queue.",
    KafkaRowsFlush "kafka-rows-flush" true "All rows are in the queue.",
    KafkaRowsCommit "kafka-rows-commit" true "All rows are acknowledged, their transaction is open.",
    KafkaRowsCommitted "kafka-rows-committed" true "The rows' transaction is committed, nobody knows.",
    KafkaLettersInit "kafka-letters-init" true "Before a producer of dead letters is made.",
    KafkaLettersProduce "kafka-letters-produce" true "Before the first dead letter goes into the queue.",
    KafkaLettersFlush "kafka-letters-flush" true "All dead letters are in the queue.",
    KafkaLettersCommit "kafka-letters-commit" true "All dead letters are acknowledged, their transaction is open.",
    KafkaLettersCommitted "kafka-letters-committed" true "The dead letters' transaction is committed, nobody knows.",
    LogWrite "log-write" true "Before batches are written to the embedded log.",
    LogWritten "log-written" true "Batches are written to the embedded log, not synced.",
    LogSynced "log-synced" true "Batches are durable in the embedded log, nobody knows.",
    LogRoll "log-roll" true "Before a partition of the embedded log begins a new file.",
    LogRolled "log-rolled" true "The new file of the embedded log has its name, its folder is not synced.",
    LogRemove "log-remove" true "Before a file leaves the embedded log.",
    LogRemoved "log-removed" true "A file has left the embedded log.",
    ArchivePut "archive-put" true "Before an object of the archive is put.",
    ArchiveStored "archive-stored" true "An object of the archive is there, no manifest names it.",
    ArchiveManifest "archive-manifest" true "Before a record of an archive's manifest is put.",
    ArchiveListed "archive-listed" true "A record of an archive's manifest is there, nobody knows.",
    ArchiveMerge "archive-merge" true "Objects of the archive are read, what they are merged into is not put.",
    ArchiveMerged "archive-merged" true "What objects of the archive are merged into is there, no manifest names it.",
    ArchiveReplaced "archive-replaced" true "A manifest names a merged object instead of those before, which are there.",
    ArchiveRemove "archive-remove" true "Before an object is removed that no manifest names.",
    ArchiveRemoved "archive-removed" true "An object that no manifest names is removed.",
    ReplayNoted "replay-noted" true "It is noted that a dead letter is replayed, it is not in its log again.",
    ReplayPut "replay-put" true "A dead letter is in its log again, that is not noted.",
    Confirm "confirm" false "A sink has taken a delivery, it is not noted.",
    Confirmed "confirmed" false "It is noted that a sink has taken a delivery.",
}

#[cfg(test)]
mod tests {
    use super::Point;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_different() {
        let names: BTreeSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(names.len() >= 25);
    }
}
