//! The keys of `[api]`.

use super::super::key::{Key, Kind, Section};
use super::MINUTE;

/// `[api]`
pub(super) const API: Section = Section {
    name: "api",
    about: "The HTTP API.",
    keys: &[
        Key {
            name: "listen",
            kind: Kind::Text,
            default: "127.0.0.1:8080",
            about: "The address and port to listen on. One that other machines reach needs `token_file`, or `client_ca_file`, or the flag \
                    `--insecure`.",
        },
        Key {
            name: "token_file",
            kind: Kind::Path,
            default: "",
            about: "A file of lines `role token`, where the role is `viewer`, `operator` or `admin`; blank lines and \
                    lines that begin with `#` are skipped. It is read again when it changes. With it every request but \
                    `/healthz`, `/readyz`, `/v1/openapi.json` and those for the page's files needs a header \
                    `Authorization: Bearer <token>`; without it whoever reaches the port may do everything.",
        },
        Key {
            name: "cert_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file with the certificate that the API shows, and those between it and an authority. With it, it \
                    speaks HTTPS only (TLS 1.3 and 1.2). It and `key_file` are read again when they change.",
        },
        Key {
            name: "key_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file with the certificate's private key.",
        },
        Key {
            name: "client_ca_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file of authorities: clients must show a certificate by one of them. It doesn't spare them a \
                    token where there is `token_file`; without that whoever has a certificate may do everything.",
        },
        Key {
            name: "public_hosts",
            kind: Kind::Texts,
            default: "",
            about: "Names, as `host` or `host:port`, under which clients reach the API, behind a proxy for instance. \
                    Requests that name another host are refused: on a loopback address always (there `localhost` is \
                    known), otherwise once a name is given here (addresses are known).",
        },
        Key {
            name: "allowed_origins",
            kind: Kind::Texts,
            default: "",
            about: "Origins, as `https://host:port`, whose pages may send requests beside pages of the API itself.",
        },
        Key {
            name: "connections_max",
            kind: Kind::Integer(1, 65_536),
            default: "1024",
            about: "Connections at a time; one more is answered 503.",
        },
        Key {
            name: "reads_max",
            kind: Kind::Integer(1, 256),
            default: "8",
            about: "Reads of rows at a time; one more waits.",
        },
        Key {
            name: "subscribers_max",
            kind: Kind::Integer(1, 16_384),
            default: "1000",
            about: "WebSockets of `/v1/live` at a time; one more is answered 503. They don't count as connections.",
        },
        Key {
            name: "request_timeout",
            kind: Kind::Span(100, 10 * MINUTE),
            default: "10s",
            about: "How long an answer may take; then it is a 504.",
        },
        Key {
            name: "header_timeout",
            kind: Kind::Span(100, 10 * MINUTE),
            default: "10s",
            about: "How long the head of a request may take, and a connection may be idle; then it is closed.",
        },
    ],
};
