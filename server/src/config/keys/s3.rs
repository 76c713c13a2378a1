//! The keys of a bucket, whatever is kept in it.

use super::super::key::{Key, Kind};

/// How many there are.
const COUNT: usize = 7;

/// The keys, with what is said of the prefix.
pub(super) const fn keys(prefix: &'static str) -> [Key; COUNT] {
    [
        Key {
            name: "bucket",
            kind: Kind::Text,
            default: "",
            about: "The bucket; it must be there.",
        },
        Key {
            name: "prefix",
            kind: Kind::Text,
            default: "",
            about: prefix,
        },
        Key {
            name: "endpoint",
            kind: Kind::Text,
            default: "",
            about: "The address, `http://host:port` or `https://host`; by default that of AWS.",
        },
        Key {
            name: "region",
            kind: Kind::Text,
            default: "us-east-1",
            about: "The region of the bucket.",
        },
        Key {
            name: "path_style",
            kind: Kind::Bool,
            default: "false",
            about: "Whether the bucket is a part of the path, not of the host's name; most stores that are not AWS need \
                    it.",
        },
        Key {
            name: "access_key_id",
            kind: Kind::Text,
            default: "",
            about: "The id of an access key. Without one, what the AWS variables, the profile or the machine's role say.",
        },
        Key {
            name: "secret_key_file",
            kind: Kind::Path,
            default: "",
            about: "A file whose first line is the secret of that access key.",
        },
    ]
}
