//! Explains why an upstream did not respond. The messages leave out the URL, which may contain a
//! password.

use std::error::Error;
use std::io;
use std::time::Duration;

use engine::provider::failure::ProviderFailure;
use protocol::fault::{Fault, FaultKind};

/// Why an upstream did not respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The host name does not resolve.
    UnknownHost,
    /// The connection was refused: nothing listens at the address.
    Refused,
    /// There is no route to the address.
    NoRoute,
    /// The connection was not established in time.
    NotConnected,
    /// The TLS handshake failed.
    Tls(CertificateError),
    /// The peer does not speak HTTP.
    NotHttp,
    /// The connection was closed before a response arrived.
    Closed,
    /// No response headers arrived within this time.
    Silent(Duration),
    /// The proxy cannot be reached or does not work as one.
    NoProxy,
    /// The proxy requires credentials, or rejected those it got.
    ProxyPassword,
    /// The proxy refused or failed to connect to the upstream.
    ProxyRefused,
    /// Another connection failure.
    Unknown,
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// The certificate's issuer is not trusted.
    UnknownIssuer,
    /// The certificate is for another host name.
    OtherName,
    /// The certificate is expired or not yet valid.
    NotNow,
    /// The peer does not speak TLS.
    NoTls,
    /// Another TLS failure.
    Other,
}

/// Error texts of hyper and its proxy connectors. Their error types are private; tests pin the
/// texts.
const SAID: &[(&str, ConnectError)] = &[
    ("tunnel error: proxy authorization required", ConnectError::ProxyPassword),
    ("tunnel error: unsuccessful", ConnectError::ProxyRefused),
    ("tunnel error: ", ConnectError::NoProxy),
    ("SOCKS error: credentials not accepted", ConnectError::ProxyPassword),
    ("SOCKS error: server does not support user/pass", ConnectError::ProxyPassword),
    ("SOCKS error: server implements authentication incorrectly", ConnectError::ProxyPassword),
    ("SOCKS error: failed to create", ConnectError::NoProxy),
    ("SOCKS error: failed parsing", ConnectError::NoProxy),
    ("SOCKS error: io error", ConnectError::NoProxy),
    ("SOCKS error: ", ConnectError::ProxyRefused),
    ("invalid HTTP ", ConnectError::NotHttp),
    ("received unexpected message", ConnectError::NotHttp),
];

/// The text of hyper-util's connector for a host name that does not resolve.
const LOOKUP_FAILED: &str = "dns error";

/// Error texts of rustls.
const DISTRUSTED: &[(&str, CertificateError)] = &[
    ("UnknownIssuer", CertificateError::UnknownIssuer),
    ("not valid for name", CertificateError::OtherName),
    ("NotValidForName", CertificateError::OtherName),
    ("expired", CertificateError::NotNow),
    ("Expired", CertificateError::NotNow),
    ("not valid yet", CertificateError::NotNow),
    ("NotValidYet", CertificateError::NotNow),
    ("corrupt message", CertificateError::NoTls),
];

/// Why a request got no response, as the libraries report it.
#[derive(Debug)]
pub(super) enum SendError {
    /// No connection was established.
    Connect(Box<dyn Error + Send + Sync>),
    /// No connection was established in time.
    ConnectTimeout,
    /// The connection failed before the response's head.
    Exchange(hyper::Error),
}

impl ConnectError {
    /// Classifies a failed request.
    pub(super) fn of(error: &SendError) -> Self {
        let (cause, is_connect): (&(dyn Error + 'static), bool) = match error {
            SendError::Connect(cause) => (&**cause, true),
            SendError::ConnectTimeout => return Self::NotConnected,
            SendError::Exchange(cause) => (cause, false),
        };
        let mut source = Some(cause);
        let (mut is_late, mut is_unknown) = (false, false);
        while let Some(cause) = source {
            let text = cause.to_string();
            if let Some((_, why)) = SAID.iter().find(|(prefix, _)| text.starts_with(prefix)) {
                return *why;
            }
            is_unknown |= text == LOOKUP_FAILED;
            let io_error = cause.downcast_ref::<io::Error>();
            match io_error.map(io::Error::kind) {
                Some(io::ErrorKind::ConnectionRefused) => return Self::Refused,
                Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                    return Self::NoRoute;
                }
                Some(io::ErrorKind::TimedOut) => is_late = true,
                // rustls reports its errors with these kinds; TCP connection errors have others.
                Some(io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) if is_connect => {
                    let known = DISTRUSTED.iter().find(|(word, _)| text.contains(word));
                    return Self::Tls(known.map_or(CertificateError::Other, |(_, why)| *why));
                }
                Some(_) | None => {}
            }
            // `source()` of an I/O error that wraps another error skips the wrapped one, so it has
            // to be taken from here.
            let wrapped = io_error.and_then(io::Error::get_ref);
            source =
                wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| cause.source());
        }
        match (is_connect, is_late, is_unknown) {
            (true, true, _) => Self::NotConnected,
            (true, false, true) => Self::UnknownHost,
            (true, false, false) => Self::Unknown,
            (false, ..) => Self::Closed,
        }
    }

    /// The same where connections go to a configured proxy.
    pub(super) fn by_proxy(self) -> Self {
        match self {
            Self::UnknownHost | Self::Refused | Self::NoRoute | Self::NotConnected => Self::NoProxy,
            _ => self,
        }
    }

    /// A machine-readable code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::UnknownHost => "unknown_host",
            Self::Refused => "connection_refused",
            Self::NoRoute => "network_unreachable",
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

    /// The failure reported to callers of the upstream `name`.
    pub(crate) fn failure(self, name: &str) -> ProviderFailure {
        ProviderFailure::upstream(match self {
            Self::Silent(limit) => {
                let message = format!(
                    "The upstream '{name}' was silent for longer than headers_timeout allows ({limit:?})."
                );
                Fault::new(FaultKind::Upstream, "upstream_headers_timeout", message)
                    .with_status(504)
            }
            Self::NotConnected => {
                said(name, "upstream_connect_timeout", "did not take the connection in time")
                    .with_status(504)
            }
            Self::Closed => {
                said(name, "upstream_unreachable", "closed the connection before it responded")
            }
            Self::Refused => said(
                name,
                "upstream_unreachable",
                "cannot be reached: nothing listens at its address",
            ),
            Self::NoRoute => said(
                name,
                "upstream_unreachable",
                "cannot be reached: there is no route to its network",
            ),
            Self::UnknownHost => {
                said(name, "upstream_unreachable", "cannot be reached: its host name is unknown")
            }
            Self::Tls(_) => {
                let what = "cannot be reached: no TLS connection could be made (is its certificate valid, and does it speak https at all?)";
                said(name, "upstream_unreachable", what)
            }
            Self::NotHttp => said(
                name,
                "upstream_unreachable",
                "cannot be reached: the server at its address does not speak HTTP",
            ),
            Self::NoProxy => {
                said(name, "upstream_unreachable", "cannot be reached: its proxy does not respond")
            }
            Self::ProxyPassword => said(
                name,
                "upstream_unreachable",
                "cannot be reached: its proxy does not accept the user and password",
            ),
            Self::ProxyRefused => said(
                name,
                "upstream_unreachable",
                "cannot be reached: its proxy cannot connect to it",
            ),
            Self::Unknown => said(name, "upstream_unreachable", "cannot be reached"),
        })
    }
}

fn said(name: &str, code: &str, what: &str) -> Fault {
    Fault::new(FaultKind::Upstream, code, format!("The upstream '{name}' {what}."))
}
