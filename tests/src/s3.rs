//! A place in the tests' bucket.

use crate::sinks::{component, unique};
use tempfile::NamedTempFile;
use tidewatch_checkpoints::S3Settings;
use tidewatch_settings::Secret;

/// What is behind a prefix of its own.
pub struct Bucket {
    prefix: String,
    secret: NamedTempFile,
}

impl Default for Bucket {
    fn default() -> Bucket {
        let secret = NamedTempFile::new().expect("a file");
        std::fs::write(secret.path(), component("TIDEWATCH_TEST_S3_SECRET_KEY")).expect("written");
        Bucket {
            prefix: format!("{}/", unique("place")),
            secret,
        }
    }
}

impl Bucket {
    /// How a store is opened on it.
    pub fn settings(&self) -> S3Settings {
        let secret = Secret::read(self.secret.path(), "secret").expect("it was written");
        S3Settings {
            section: "state.s3",
            bucket: component("TIDEWATCH_TEST_S3_BUCKET"),
            prefix: self.prefix.clone(),
            endpoint: Some(component("TIDEWATCH_TEST_S3")),
            region: "us-east-1".to_owned(),
            path_style: true,
            access_key: Some((component("TIDEWATCH_TEST_S3_ACCESS_KEY"), secret)),
        }
    }

    /// How the binary is told to archive there, by this way.
    pub fn archive_variables_at(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("ARCHIVE__KIND", "s3".to_owned()),
            ("ARCHIVE__S3__BUCKET", component("TIDEWATCH_TEST_S3_BUCKET")),
            ("ARCHIVE__S3__PREFIX", self.prefix.clone()),
            ("ARCHIVE__S3__ENDPOINT", endpoint.to_owned()),
            ("ARCHIVE__S3__PATH_STYLE", "true".to_owned()),
            ("ARCHIVE__S3__ACCESS_KEY_ID", component("TIDEWATCH_TEST_S3_ACCESS_KEY")),
            ("ARCHIVE__S3__SECRET_KEY_FILE", self.secret.path().display().to_string()),
        ]
    }

    /// How the binary is told of it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        self.variables_at(&component("TIDEWATCH_TEST_S3"))
    }

    /// How the binary is told of it when it is to go by another way.
    pub fn variables_at(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("STATE__STORE", "s3".to_owned()),
            ("STATE__S3__BUCKET", component("TIDEWATCH_TEST_S3_BUCKET")),
            ("STATE__S3__PREFIX", self.prefix.clone()),
            ("STATE__S3__ENDPOINT", endpoint.to_owned()),
            ("STATE__S3__PATH_STYLE", "true".to_owned()),
            ("STATE__S3__ACCESS_KEY_ID", component("TIDEWATCH_TEST_S3_ACCESS_KEY")),
            ("STATE__S3__SECRET_KEY_FILE", self.secret.path().display().to_string()),
        ]
    }
}
