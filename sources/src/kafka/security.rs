//! How to talk to the brokers, and how to log in.

use serde::{Deserialize, Serialize};

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

impl SecurityProtocol {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        }
    }

    pub(super) fn logs_in(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }

    pub(super) fn encrypts(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }
}

impl SaslMechanism {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}
