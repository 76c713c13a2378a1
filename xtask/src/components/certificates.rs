//! A certificate authority for one run and a server certificate for 127.0.0.1 signed by it, made by the JDK's keytool.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process;

/// What a TLS server and its clients need.
pub(super) struct Certificates {
    /// In the PKCS12 format, for the server: its key and chain.
    pub(super) keystore: PathBuf,
    /// PEM, for clients.
    pub(super) authority: PathBuf,
}

/// Makes both in `folder`; the keystore's password is at least six characters long.
pub(super) fn make(folder: &Path, password: &str) -> Result<Certificates> {
    let keystore = folder.join("server.p12");
    let authority = folder.join("ca.pem");
    let keytool = |words: &str| {
        let mut command = Command::new("keytool");
        command
            .args(words.split(' '))
            .args(["-storetype", "PKCS12", "-storepass", password]);
        command.arg("-keystore").arg(&keystore);
        command
    };
    let generate = "-genkeypair -keyalg EC -groupname secp256r1 -validity 30";
    process::output(&mut keytool(&format!(
        "{generate} -alias ca -dname CN=tidewatch-test-ca -ext bc:c=ca:true"
    )))?;
    process::output(&mut keytool(&format!(
        "{generate} -alias server -signer ca -dname CN=localhost -ext san=dns:localhost,ip:127.0.0.1"
    )))?;
    process::output(keytool("-exportcert -rfc -alias ca").arg("-file").arg(&authority))?;
    process::output(&mut keytool("-delete -alias ca"))?; // else the broker might present it as its own
    Ok(Certificates { keystore, authority })
}
