//! Says in plain words why there was no answer at all. The URL stays out: it may hold a password.

use std::error::Error;
use std::io;
use std::time::Duration;

use protocol::fault::{Fault, FaultKind};

/// Why the upstream `name` could not be asked.
pub(super) fn unreachable(name: &str, error: &reqwest::Error) -> Fault {
    let fault = |code: &str, what: &str| Fault::new(FaultKind::Upstream, code, format!("The upstream '{name}' {what}."));
    if error.is_connect() && error.is_timeout() {
        return fault("upstream_connect_timeout", "did not take the connection in time").with_status(504);
    }
    if !error.is_connect() {
        return fault("upstream_unreachable", "closed the connection before it answered");
    }
    fault("upstream_unreachable", connect_failure(error))
}

/// That no head came in time.
pub(super) fn no_head(limit: Duration) -> Fault {
    let message = format!("the upstream was silent for longer than headers_timeout allows ({limit:?})");
    Fault::new(FaultKind::Upstream, "upstream_headers_timeout", message).with_status(504)
}

fn connect_failure(error: &reqwest::Error) -> &'static str {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        let io_error = cause.downcast_ref::<io::Error>();
        match io_error.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return "cannot be reached: nothing listens at its address",
            Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                return "cannot be reached: there is no way to its network";
            }
            // rustls reports its errors under these; TCP's own handshake has neither.
            Some(io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                return "cannot be reached: no TLS connection could be made (is its certificate valid, and does it speak https at all?)";
            }
            _ => {}
        }
        // The source of an I/O error that wraps another is that one's source: the wrapped one itself is only here.
        let wrapped = io_error.and_then(io::Error::get_ref);
        source = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| cause.source());
    }
    if error.is_dns() { "cannot be reached: its host name is unknown" } else { "cannot be reached" }
}
