//! Says in plain words why there was no answer at all. The URL stays out: it may hold a password.

use std::error::Error;
use std::io;
use std::time::Duration;

use engine::provider::failure::Failure;
use protocol::fault::{Fault, FaultKind};

/// Why there was no answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// Nobody knows the host's name.
    UnknownHost,
    /// Nothing listens at the address.
    Refused,
    /// There is no way to the address's network.
    NoWay,
    /// The connection did not stand in time.
    NotConnected,
    /// The handshake of TLS failed.
    Tls(Distrust),
    /// Whoever is there does not speak HTTP.
    NotHttp,
    /// The connection was closed before an answer came.
    Closed,
    /// No head of an answer came for so long.
    Silent(Duration),
    /// The proxy cannot be reached, or is none.
    NoProxy,
    /// The proxy wants another user and password than it was shown, or any.
    ProxyPassword,
    /// The proxy does not lead there: it must not, or cannot reach it itself.
    ProxyRefused,
    /// The connection failed for another reason.
    Unknown,
}

/// Why a handshake of TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody that this machine trusts has signed the certificate.
    UnknownIssuer,
    /// The certificate is for another name.
    OtherName,
    /// The certificate is too old, or not good yet.
    NotNow,
    /// Whoever is there does not speak TLS.
    NoTls,
    /// Something else.
    Other,
}

/// What hyper and its proxies say, and what that means. Their types are not ours to see; the tests hold their words.
const SAID: &[(&str, Unreached)] = &[
    ("tunnel error: proxy authorization required", Unreached::ProxyPassword),
    ("tunnel error: unsuccessful", Unreached::ProxyRefused),
    ("tunnel error: ", Unreached::NoProxy),
    ("SOCKS error: credentials not accepted", Unreached::ProxyPassword),
    ("SOCKS error: server does not support user/pass", Unreached::ProxyPassword),
    ("SOCKS error: server implements authentication incorrectly", Unreached::ProxyPassword),
    ("SOCKS error: failed to create", Unreached::NoProxy),
    ("SOCKS error: failed parsing", Unreached::NoProxy),
    ("SOCKS error: io error", Unreached::NoProxy),
    ("SOCKS error: ", Unreached::ProxyRefused),
    ("invalid HTTP ", Unreached::NotHttp),
    ("received unexpected message", Unreached::NotHttp),
];

/// What rustls says of a handshake.
const DISTRUSTED: &[(&str, Distrust)] = &[
    ("UnknownIssuer", Distrust::UnknownIssuer),
    ("not valid for name", Distrust::OtherName),
    ("NotValidForName", Distrust::OtherName),
    ("expired", Distrust::NotNow),
    ("Expired", Distrust::NotNow),
    ("not valid yet", Distrust::NotNow),
    ("NotValidYet", Distrust::NotNow),
    ("corrupt message", Distrust::NoTls),
];

impl Unreached {
    /// Why a request failed. `is_by_proxy` says that the connection is one to a proxy that the settings name.
    pub(super) fn of(error: &reqwest::Error, is_by_proxy: bool) -> Self {
        let why = Self::read(error);
        match why {
            Self::UnknownHost | Self::Refused | Self::NoWay | Self::NotConnected if is_by_proxy => Self::NoProxy,
            _ => why,
        }
    }

    fn read(error: &reqwest::Error) -> Self {
        let mut source: Option<&(dyn Error + 'static)> = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if let Some((_, why)) = SAID.iter().find(|(begin, _)| text.starts_with(begin)) {
                return *why;
            }
            let io_error = cause.downcast_ref::<io::Error>();
            match io_error.map(io::Error::kind) {
                Some(io::ErrorKind::ConnectionRefused) => return Self::Refused,
                Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => return Self::NoWay,
                // rustls reports its errors under these; TCP's own handshake has neither.
                Some(io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) if error.is_connect() => {
                    let known = DISTRUSTED.iter().find(|(word, _)| text.contains(word));
                    return Self::Tls(known.map_or(Distrust::Other, |(_, why)| *why));
                }
                Some(_) | None => {}
            }
            // The source of an I/O error that wraps another is that one's source: the wrapped one itself is only here.
            let wrapped = io_error.and_then(io::Error::get_ref);
            source = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| cause.source());
        }
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => Self::NotConnected,
            (true, false) if error.is_dns() => Self::UnknownHost,
            (true, false) => Self::Unknown,
            (false, _) => Self::Closed,
        }
    }

    /// A word for it, for machines.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::UnknownHost => "unknown_host",
            Self::Refused => "connection_refused",
            Self::NoWay => "network_unreachable",
            Self::NotConnected => "connect_timeout",
            Self::Tls(_) => "tls_failed",
            Self::NotHttp => "not_http",
            Self::Closed => "closed",
            Self::Silent(_) => "timeout",
            Self::NoProxy => "proxy_unreachable",
            Self::ProxyPassword => "proxy_password",
            Self::ProxyRefused => "proxy_refused",
            Self::Unknown => "unreachable",
        }
    }

    /// What a caller is told of the upstream `name`.
    pub(crate) fn failure(self, name: &str) -> Failure {
        Failure::upstream(match self {
            Self::Silent(limit) => {
                let message = format!("The upstream '{name}' was silent for longer than headers_timeout allows ({limit:?}).");
                Fault::new(FaultKind::Upstream, "upstream_headers_timeout", message).with_status(504)
            }
            Self::NotConnected => said(name, "upstream_connect_timeout", "did not take the connection in time").with_status(504),
            Self::Closed => said(name, "upstream_unreachable", "closed the connection before it answered"),
            Self::Refused => said(name, "upstream_unreachable", "cannot be reached: nothing listens at its address"),
            Self::NoWay => said(name, "upstream_unreachable", "cannot be reached: there is no way to its network"),
            Self::UnknownHost => said(name, "upstream_unreachable", "cannot be reached: its host name is unknown"),
            Self::Tls(_) => {
                let what = "cannot be reached: no TLS connection could be made (is its certificate valid, and does it speak https at all?)";
                said(name, "upstream_unreachable", what)
            }
            Self::NotHttp => said(name, "upstream_unreachable", "cannot be asked: the server at its address does not speak HTTP"),
            Self::NoProxy => said(name, "upstream_unreachable", "cannot be reached: its proxy is not there"),
            Self::ProxyPassword => said(name, "upstream_unreachable", "cannot be reached: its proxy wants another user and password"),
            Self::ProxyRefused => said(name, "upstream_unreachable", "cannot be reached: its proxy does not lead there"),
            Self::Unknown => said(name, "upstream_unreachable", "cannot be reached"),
        })
    }
}

fn said(name: &str, code: &str, what: &str) -> Fault {
    Fault::new(FaultKind::Upstream, code, format!("The upstream '{name}' {what}."))
}
