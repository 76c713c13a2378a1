//! The processes of a cluster, resolved.

use super::error::ConfigError;
use super::parsed::ClusterSection;
use super::settings::ClusterSettings;
use std::net::ToSocketAddrs;
use tidewatch_cluster::{SECRET_BYTES_MIN, Tls, is_address};
use tidewatch_settings::Secret;

/// Resolves the section; `wrong` makes an error of a key and what is wrong with it.
pub(super) fn resolve(
    cluster: &ClusterSection,
    wrong: impl Fn(&str, String) -> ConfigError,
) -> Result<Option<ClusterSettings>, ConfigError> {
    if cluster.addresses.is_empty() {
        return Ok(None);
    }
    let tls = tls(cluster, &wrong)?;
    for address in &cluster.addresses {
        let checked = match &tls {
            Some(_) => can_be_named(address),
            None => is_this_machine(address),
        };
        checked.map_err(|problem| wrong("cluster.addresses", problem))?;
    }
    let Some(file) = &cluster.secret_file else {
        let problem = "is missing: the processes must know each other by a secret";
        return Err(wrong("cluster.secret_file", problem.to_owned()));
    };
    let secret = Secret::read(file, "cluster.secret_file");
    let secret = secret.map_err(|invalid| wrong("cluster.secret_file", invalid.problem))?;
    if secret.expose().len() < SECRET_BYTES_MIN {
        let problem = format!("the secret is shorter than {SECRET_BYTES_MIN} bytes");
        return Err(wrong("cluster.secret_file", problem));
    }
    Ok(Some(ClusterSettings {
        id: cluster.id.clone(),
        addresses: cluster.addresses.clone(),
        secret,
        tls,
    }))
}

fn tls(cluster: &ClusterSection, wrong: &impl Fn(&str, String) -> ConfigError) -> Result<Option<Tls>, ConfigError> {
    let files = [
        ("cluster.ca_file", &cluster.ca_file),
        ("cluster.cert_file", &cluster.cert_file),
        ("cluster.key_file", &cluster.key_file),
    ];
    match files.map(|(_, file)| file.as_deref()) {
        [None, None, None] => Ok(None),
        [Some(ca), Some(cert), Some(key)] => {
            let read = Tls::read(ca, cert, key);
            read.map(Some).map_err(|error| wrong(error.key, error.problem))
        }
        _ => {
            let missing = files.iter().find(|(_, file)| file.is_none());
            let problem = "is missing: cluster.ca_file, cluster.cert_file and cluster.key_file go together";
            Err(wrong(missing.map_or("cluster", |(key, _)| key), problem.to_owned()))
        }
    }
}

/// What is encrypted may go anywhere. The host is looked up when it is connected to: the machine may come later.
fn can_be_named(address: &str) -> Result<(), String> {
    match is_address(address) {
        true => Ok(()),
        false => Err(format!(
            "{address:?} is not host:port with a host that a certificate can be for"
        )),
    }
}

fn is_this_machine(address: &str) -> Result<(), String> {
    let mut found = address
        .to_socket_addrs()
        .map_err(|error| format!("{address}: {error}"))?;
    match found.all(|address| address.ip().is_loopback()) {
        true => Ok(()),
        false => Err(format!(
            "{address} is another machine's, and between machines nothing goes in clear text: set cluster.ca_file, \
             cluster.cert_file and cluster.key_file"
        )),
    }
}
