//! The mistakes that a test has the program make, to see whether it is caught.

/// Makes the type and its list: of each mistake the name, and what is wrong.
macro_rules! bugs {
    ($($variant:ident $name:literal $mistake:literal,)+) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Bug {
            $(#[doc = $mistake] $variant,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Bug] = &[$(Bug::$variant),+];

            /// What it is called in the environment and in tables.
            pub fn name(self) -> &'static str {
                match self { $(Bug::$variant => $name,)+ }
            }
        }
    };
}

bugs! {
    SkipSync "skip-sync" "Files are not synced: a kill takes the content of the last ones.",
    PositionsFirst "positions-first" "A checkpoint has positions of epochs that it has no state of.",
    ApplyTwice "apply-twice" "A checkpoint has the positions of the one before: its records are applied again.",
    IgnoreFence "ignore-fence" "A run that was replaced goes on as if it had written.",
    WindowEdge "window-edge" "A reading at the first instant of a window goes into the window before.",
    DropKeyGroup "drop-key-group" "A key group is not restored.",
    ForgetLetter "forget-letter" "One dead letter of each checkpoint is lost.",
    FromBeginning "from-beginning" "A checkpoint is never gone on from.",
    LoseOutbox "lose-outbox" "What was not delivered is forgotten at a restart.",
    DeliverFirst "deliver-first" "Sinks get rows before their checkpoint is durable.",
    ForgetHashes "forget-hashes" "The hashes of a device's last messages are not restored.",
    LoseCorrection "lose-correction" "One correction of each checkpoint is lost.",
    DeliveredEarly "delivered-early" "A checkpoint says that sinks have taken what they were only given.",
    SwallowError "swallow-error" "A delivery that failed is taken for one that went through.",
    LogEarlyAck "log-early-ack" "The embedded log acknowledges what is not durable yet.",
    LogLetsGo "log-lets-go" "The embedded log lets go of what its readers still need.",
    UnguardedUpsert "unguarded-upsert" "The embedded store takes an older revision in place of a newer one.",
    MendTwice "mend-twice" "The embedded store forgets which late readings a row has taken.",
    ArchiveRewind "archive-rewind" "A start archives the last object of a partition again.",
    CollectNamed "collect-named" "A partition's last object is taken for one that no manifest names.",
}
