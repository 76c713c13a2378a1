//! An authority for tests, and certificates by it.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::PathBuf;
use tempfile::TempDir;
use tidewatch_cluster::{Tls, TlsError};

/// Where a process of the tests is reached, as its certificate says.
pub const HOST: &str = "127.0.0.1";

/// An authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The files of a process.
pub struct Files {
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("random numbers");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        Authority { issuer }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.as_ref().pem()
    }

    /// The files of a process at a host, with what else is to be in its certificate.
    pub fn files(&self, host: &str, change: impl Fn(&mut CertificateParams)) -> Files {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
        change(&mut params);
        let key = KeyPair::generate().expect("random numbers");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let files = Files {
            folder: tempfile::tempdir().expect("a folder"),
        };
        files.write("ca.pem", &self.pem());
        files.write("cert.pem", &certificate.pem());
        files.write("key.pem", &key.serialize_pem());
        files
    }

    /// What a process at [`HOST`] encrypts with.
    pub fn tls(&self) -> Tls {
        self.files(HOST, |_| {}).read().expect("good files")
    }
}

impl Files {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    pub fn read(&self) -> Result<Tls, TlsError> {
        Tls::read(&self.path("ca.pem"), &self.path("cert.pem"), &self.path("key.pem"))
    }
}
