//! What a user may set about the API, and what comes of it.

use crate::error::Error;
use crate::gate::tokens::TokenFile;
use crate::serve::tls::{Files, Tls};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the API listens unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
/// Connections at a time unless told otherwise.
pub const CONNECTIONS_MAX_DEFAULT: usize = 1024;
/// Reads of rows at a time unless told otherwise.
pub const READS_MAX_DEFAULT: usize = 8;
/// Subscribers of `/v1/live` at a time unless told otherwise.
pub const SUBSCRIBERS_MAX_DEFAULT: usize = 1_000;
/// How long an answer may take unless told otherwise.
pub const REQUEST_TIMEOUT_DEFAULT: &str = "10s";
/// How long a request's head may take, and a connection idle, unless told otherwise.
pub const HEADER_TIMEOUT_DEFAULT: &str = "10s";

/// The most connections that can be configured.
pub const CONNECTIONS_MAX_CEILING: usize = 65_536;
/// The most reads at a time that can be configured: each takes a thread.
pub const READS_MAX_CEILING: usize = 256;
/// The most subscribers that can be configured: one thread looks after all of them.
pub const SUBSCRIBERS_MAX_CEILING: usize = 16_384;
/// The shortest timeout that can be configured.
pub const TIMEOUT_FLOOR: Duration = Duration::from_millis(100);
/// The longest timeout that can be configured.
pub const TIMEOUT_CEILING: Duration = Duration::from_secs(600);

/// The section `[api]` as the user wrote it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// The address and port to listen on. One that other machines reach needs `token_file`.
    pub listen: String,
    /// A file of lines `role token`, where the role is viewer, operator or admin; blank lines and lines that begin
    /// with `#` are skipped. It is read again when it changes. With it every request but `/healthz`, `/readyz`,
    /// `/v1/openapi.json` and those for the page's files needs a header `Authorization: Bearer <token>`; without it whoever reaches the port may do
    /// everything.
    pub token_file: Option<PathBuf>,
    /// A PEM file with the certificate that the API shows, and those between it and an authority. With it, it speaks HTTPS
    /// only. It is read again when it changes.
    pub cert_file: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    pub key_file: Option<PathBuf>,
    /// A PEM file of authorities: clients must show a certificate by one of them, which doesn't spare them a token.
    pub client_ca_file: Option<PathBuf>,
    /// Names, as `host` or `host:port`, under which clients reach the API, behind a proxy for instance. Requests that
    /// name another host are refused: on a loopback address always (there `localhost` is known), otherwise once a
    /// name is given here (addresses are known).
    pub public_hosts: Vec<String>,
    /// Origins, as `https://host:port`, whose pages may send requests beside pages of the API itself.
    pub allowed_origins: Vec<String>,
    /// Connections at a time; one more is answered 503.
    pub connections_max: usize,
    /// Reads of rows at a time; one more waits.
    pub reads_max: usize,
    /// WebSockets of `/v1/live` at a time; one more is answered 503.
    pub subscribers_max: usize,
    /// How long an answer may take, as in `10s`; then it is a 504.
    pub request_timeout: String,
    /// How long the head of a request may take, and a connection may be idle, as in `10s`; then it is closed.
    pub header_timeout: String,
}

impl Default for ApiConfig {
    fn default() -> ApiConfig {
        ApiConfig {
            listen: LISTEN_DEFAULT.to_owned(),
            token_file: None,
            cert_file: None,
            key_file: None,
            client_ca_file: None,
            public_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            connections_max: CONNECTIONS_MAX_DEFAULT,
            reads_max: READS_MAX_DEFAULT,
            subscribers_max: SUBSCRIBERS_MAX_DEFAULT,
            request_timeout: REQUEST_TIMEOUT_DEFAULT.to_owned(),
            header_timeout: HEADER_TIMEOUT_DEFAULT.to_owned(),
        }
    }
}

/// What the API runs by: checked, addresses parsed, tokens read.
#[derive(Debug)]
pub struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) tokens: Option<TokenFile>,
    pub(crate) tls: Option<Tls>,
    pub(crate) public_hosts: Vec<String>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) connections_max: usize,
    pub(crate) reads_max: usize,
    pub(crate) subscribers_max: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) header_timeout: Duration,
}

impl Settings {
    /// The address to listen on; port 0 stands for any free one.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }
}

impl ApiConfig {
    /// Checks it all and reads the token file.
    ///
    /// `insecure` is the command line's word that an address which other machines reach may go without tokens.
    pub fn resolve(self, insecure: bool) -> Result<Settings, Error> {
        let listen = address(&self.listen)?;
        let is_guarded = self.token_file.is_some() || self.client_ca_file.is_some();
        if !listen.ip().is_loopback() && !is_guarded && !insecure {
            return Err(Error::config(
                "api.listen",
                format!(
                    "{listen} can be reached from other machines and nothing says who may: \
                     set `api.token_file` or `api.client_ca_file`, or listen on 127.0.0.1, or start with --insecure"
                ),
            ));
        }
        Ok(Settings {
            listen,
            tokens: self.token_file.map(TokenFile::open).transpose()?,
            tls: tls_files(self.cert_file, self.key_file, self.client_ca_file)?
                .map(Tls::open)
                .transpose()?,
            public_hosts: hosts(self.public_hosts)?,
            allowed_origins: origins(self.allowed_origins)?,
            connections_max: within("api.connections_max", self.connections_max, CONNECTIONS_MAX_CEILING)?,
            reads_max: within("api.reads_max", self.reads_max, READS_MAX_CEILING)?,
            subscribers_max: within("api.subscribers_max", self.subscribers_max, SUBSCRIBERS_MAX_CEILING)?,
            request_timeout: timeout("api.request_timeout", &self.request_timeout)?,
            header_timeout: timeout("api.header_timeout", &self.header_timeout)?,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, Error> {
    text.parse().map_err(|_| {
        Error::config(
            "api.listen",
            format!("{text:?} is not an address and port, such as {LISTEN_DEFAULT} or [::1]:8080"),
        )
    })
}

fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>, client_ca: Option<PathBuf>) -> Result<Option<Files>, Error> {
    match (cert, key, client_ca) {
        (Some(cert), Some(key), client_ca) => Ok(Some(Files { cert, key, client_ca })),
        (None, None, None) => Ok(None),
        (Some(_), None, _) => Err(Error::config(
            "api.key_file",
            "set it too: TLS needs the certificate's key",
        )),
        (None, _, _) => Err(Error::config("api.cert_file", "set it too: TLS needs a certificate")),
    }
}

fn hosts(hosts: Vec<String>) -> Result<Vec<String>, Error> {
    for host in &hosts {
        if host.is_empty() || host.contains(['/', '@', '*', ' ']) {
            let problem =
                format!("{host:?} is not a host, such as tidewatch.example.org or tidewatch.example.org:8443");
            return Err(Error::config("api.public_hosts", problem));
        }
    }
    Ok(hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect())
}

fn origins(origins: Vec<String>) -> Result<Vec<String>, Error> {
    for origin in &origins {
        let host = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"))
            .unwrap_or("");
        if host.is_empty() || host.contains(['/', '@', '*', ' ']) {
            let problem = format!("{origin:?} is not an origin, such as https://dashboard.example.org");
            return Err(Error::config("api.allowed_origins", problem));
        }
    }
    Ok(origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect())
}

fn within(key: &'static str, number: usize, ceiling: usize) -> Result<usize, Error> {
    if (1..=ceiling).contains(&number) {
        return Ok(number);
    }
    Err(Error::config(key, format!("{number} is not between 1 and {ceiling}")))
}

fn timeout(key: &'static str, text: &str) -> Result<Duration, Error> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| Error::config(key, format!("{text:?} is not a duration such as 10s: {error}")))?;
    if (TIMEOUT_FLOOR..=TIMEOUT_CEILING).contains(&duration) {
        return Ok(duration);
    }
    let (floor, ceiling) = (
        humantime::format_duration(TIMEOUT_FLOOR),
        humantime::format_duration(TIMEOUT_CEILING),
    );
    Err(Error::config(
        key,
        format!("{text} is not between {floor} and {ceiling}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(toml: &str) -> String {
        let config: ApiConfig = toml::from_str(toml).expect("it is valid toml");
        config.resolve(false).expect_err("it is refused").to_string()
    }

    #[test]
    fn the_defaults_resolve() {
        let settings = toml::from_str::<ApiConfig>("")
            .expect("empty")
            .resolve(false)
            .expect("the defaults are good");
        assert_eq!(settings.listen.to_string(), LISTEN_DEFAULT);
        assert!(settings.tokens.is_none());
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = toml::from_str::<ApiConfig>("lisen = \"127.0.0.1:1\"").expect_err("a typo");
        assert!(error.to_string().contains("lisen"), "{error}");
    }

    #[test]
    fn errors_name_the_key_and_what_to_do() {
        for (toml, key, advice) in [
            ("listen = \"0.0.0.0:8080\"", "api.listen: ", "set `api.token_file`"),
            ("listen = \"[::]:8080\"", "api.listen: ", "--insecure"),
            ("cert_file = \"/none\"", "api.key_file: ", "set it too"),
            ("key_file = \"/none\"", "api.cert_file: ", "set it too"),
            ("client_ca_file = \"/none\"", "api.cert_file: ", "set it too"),
            (
                "cert_file = \"/none\"\nkey_file = \"/none\"",
                "api.cert_file: ",
                "can't read /none",
            ),
            ("listen = \"localhost\"", "api.listen: ", "such as 127.0.0.1:8080"),
            ("token_file = \"/none\"", "api.token_file: ", "/none"),
            ("public_hosts = [\"http://a\"]", "api.public_hosts: ", "such as"),
            (
                "allowed_origins = [\"a.example\"]",
                "api.allowed_origins: ",
                "such as https://",
            ),
            ("connections_max = 0", "api.connections_max: ", "between 1 and 65536"),
            ("reads_max = 257", "api.reads_max: ", "between 1 and 256"),
            (
                "subscribers_max = 20000",
                "api.subscribers_max: ",
                "between 1 and 16384",
            ),
            ("request_timeout = \"soon\"", "api.request_timeout: ", "such as 10s"),
            (
                "header_timeout = \"1ms\"",
                "api.header_timeout: ",
                "between 100ms and 10m",
            ),
        ] {
            let problem = problem(toml);
            assert!(
                problem.starts_with(key) && problem.contains(advice),
                "{toml}: {problem}"
            );
        }
    }

    #[test]
    fn other_machines_need_tokens_or_the_flag() {
        let config = ApiConfig {
            listen: "0.0.0.0:0".to_owned(),
            ..ApiConfig::default()
        };
        assert!(config.clone().resolve(true).is_ok());
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "viewer 0123456789abcdef\n").expect("written");
        assert!(
            ApiConfig {
                token_file: Some(file.path().to_owned()),
                ..config
            }
            .resolve(false)
            .is_ok()
        );
    }
}
