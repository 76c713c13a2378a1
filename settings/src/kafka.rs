//! How to reach Kafka's brokers: addresses, encryption, login; for whoever reads or writes.

use crate::{Invalid, Secret};
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The default of [`KafkaConnection::brokers`].
pub const BROKERS: &str = "127.0.0.1:9092";
/// How long to wait at most between attempts to reach a broker.
const RECONNECT_BACKOFF_MAX_MS: u32 = 1_000;

/// The brokers and how to talk to them, as written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConnection {
    /// Addresses to find the cluster by, `host:port`, with commas between them.
    pub brokers: String,
    /// How to talk to the brokers: `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    pub security_protocol: SecurityProtocol,
    /// How to log in, with a SASL protocol: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: SaslMechanism,
    /// Whom to log in as; needed with a SASL protocol, refused without.
    pub username: Option<String>,
    /// A file whose first line is the password; needed with a SASL protocol, refused without.
    pub password_file: Option<PathBuf>,
    /// A PEM file of the authorities that the brokers' certificates are checked against; by default the system's.
    pub ca_file: Option<PathBuf>,
    /// A PEM file of the certificate to show to the brokers, for mutual TLS.
    pub cert_file: Option<PathBuf>,
    /// A PEM file of that certificate's private key.
    pub key_file: Option<PathBuf>,
}

impl Default for KafkaConnection {
    fn default() -> KafkaConnection {
        KafkaConnection {
            brokers: BROKERS.to_owned(),
            security_protocol: SecurityProtocol::Plaintext,
            sasl_mechanism: SaslMechanism::ScramSha256,
            username: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

/// How to talk to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// In the clear and without a name.
    Plaintext,
    /// Encrypted.
    Ssl,
    /// Logged in, in the clear.
    SaslPlaintext,
    /// Logged in and encrypted.
    SaslSsl,
}

impl SecurityProtocol {
    fn as_str(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        }
    }

    fn has_login(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }

    fn is_encrypted(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }
}

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaslMechanism {
    /// The password itself is sent.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of the password is sent.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof of the password is sent.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    fn as_str(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl KafkaConnection {
    /// What a client needs to reach the brokers: values checked, the password read. A broker that has gone is tried
    /// again every second.
    ///
    /// # Errors
    /// When a value or file can't be used, or two contradict each other; the error names the key.
    pub fn resolve(&self) -> Result<ClientConfig, Invalid> {
        if self.brokers.split(',').any(|broker| broker.trim().is_empty()) {
            return Err(Invalid::new(
                "kafka.brokers",
                "must be addresses such as `kafka-1:9092,kafka-2:9092`",
            ));
        }
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "tidewatch")
            .set("security.protocol", self.security_protocol.as_str())
            .set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS.to_string());
        self.resolve_login(&mut client)?;
        self.resolve_encryption(&mut client)?;
        Ok(client)
    }

    fn resolve_login(&self, client: &mut ClientConfig) -> Result<(), Invalid> {
        let protocol = self.security_protocol.as_str();
        let missing = |key| {
            let problem = format!("is missing; kafka.security_protocol = \"{protocol}\" needs it");
            Invalid::new(key, problem)
        };
        let stray = |key| {
            let problem = format!("is given, but kafka.security_protocol = \"{protocol}\" has no login");
            Invalid::new(key, problem)
        };
        match (self.security_protocol.has_login(), &self.username, &self.password_file) {
            (true, Some(username), Some(file)) => {
                let password = Secret::read(file, "kafka.password_file")?;
                client.set("sasl.mechanism", self.sasl_mechanism.as_str());
                client
                    .set("sasl.username", username)
                    .set("sasl.password", password.expose());
                Ok(())
            }
            (true, None, _) => Err(missing("kafka.username")),
            (true, _, None) => Err(missing("kafka.password_file")),
            (false, None, None) => Ok(()),
            (false, Some(_), _) => Err(stray("kafka.username")),
            (false, _, Some(_)) => Err(stray("kafka.password_file")),
        }
    }

    fn resolve_encryption(&self, client: &mut ClientConfig) -> Result<(), Invalid> {
        let files = [
            ("kafka.ca_file", "ssl.ca.location", &self.ca_file),
            ("kafka.cert_file", "ssl.certificate.location", &self.cert_file),
            ("kafka.key_file", "ssl.key.location", &self.key_file),
        ];
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err(Invalid::new(
                "kafka.cert_file",
                "goes with kafka.key_file: give both or none",
            ));
        }
        for (key, property, file) in files {
            let Some(file) = file else { continue };
            if !self.security_protocol.is_encrypted() {
                let protocol = self.security_protocol.as_str();
                let problem = format!("is given, but kafka.security_protocol = \"{protocol}\" has no encryption");
                return Err(Invalid::new(key, problem));
            }
            client.set(property, readable(file, key)?);
        }
        Ok(())
    }
}

/// The file's path, when the file can be read.
fn readable<'a>(file: &'a Path, key: &str) -> Result<&'a str, Invalid> {
    std::fs::File::open(file).map_err(|error| Invalid::new(key, format!("can't read {}: {error}", file.display())))?;
    file.to_str()
        .ok_or_else(|| Invalid::new(key, format!("{} is not UTF-8", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(connection: KafkaConnection) -> String {
        connection.resolve().unwrap_err().to_string()
    }

    #[test]
    fn contradictions_are_named() {
        let plain = KafkaConnection::default;
        assert!(plain().resolve().is_ok());
        assert!(
            problem(KafkaConnection {
                brokers: "a:1,,b:2".into(),
                ..plain()
            })
            .starts_with("kafka.brokers: ")
        );
        let login = KafkaConnection {
            security_protocol: SecurityProtocol::SaslSsl,
            ..plain()
        };
        assert!(problem(login.clone()).starts_with("kafka.username: is missing"));
        assert!(
            problem(KafkaConnection {
                username: Some("ann".into()),
                ..login
            })
            .starts_with("kafka.password_file")
        );
        let stray = KafkaConnection {
            username: Some("ann".into()),
            ..plain()
        };
        assert!(
            problem(stray)
                .starts_with("kafka.username: is given, but kafka.security_protocol = \"plaintext\" has no login")
        );
        let stray = KafkaConnection {
            ca_file: Some("ca.pem".into()),
            ..plain()
        };
        assert!(
            problem(stray)
                .starts_with("kafka.ca_file: is given, but kafka.security_protocol = \"plaintext\" has no encryption")
        );
        let half = KafkaConnection {
            cert_file: Some("cert.pem".into()),
            ..plain()
        };
        assert!(problem(half).starts_with("kafka.cert_file: goes with"));
        let unreadable = KafkaConnection {
            security_protocol: SecurityProtocol::Ssl,
            ca_file: Some("/nowhere/ca.pem".into()),
            ..plain()
        };
        assert!(problem(unreadable).starts_with("kafka.ca_file: can't read /nowhere/ca.pem: "));
    }

    #[test]
    fn a_login_is_read_and_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hush\n").unwrap();
        let text = r#"{"security_protocol": "sasl_plaintext", "sasl_mechanism": "SCRAM-SHA-512", "username": "ann"}"#;
        let read: KafkaConnection = serde_json::from_str(text).unwrap();
        let client = KafkaConnection {
            password_file: Some(file),
            ..read
        }
        .resolve()
        .unwrap();
        assert_eq!(client.get("sasl.password"), Some("hush"));
        assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
    }

    #[test]
    fn certificates_reach_the_client() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "a certificate").unwrap();
            Some(path)
        };
        let connection = KafkaConnection {
            security_protocol: SecurityProtocol::Ssl,
            ca_file: file("ca.pem"),
            cert_file: file("cert.pem"),
            key_file: file("key.pem"),
            ..KafkaConnection::default()
        };
        let client = connection.resolve().unwrap();
        for (property, file) in [
            ("ssl.ca.location", connection.ca_file),
            ("ssl.certificate.location", connection.cert_file),
            ("ssl.key.location", connection.key_file),
        ] {
            assert_eq!(
                client.get(property),
                file.as_deref().and_then(Path::to_str),
                "{property}"
            );
        }
    }
}
