//! Recognises the protocol of a client from its first bytes.

use super::proxy_protocol::{SIGNATURE, TEXT};

/// The start of every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a TLS record that starts a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// The number of bytes that is always enough.
pub(super) const LENGTH: usize = PREFACE.len();

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetectedProtocol {
    /// HTTP/1, or anything unknown, which its parser refuses.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// TLS.
    Tls,
    /// The PROXY protocol, which is not expected here.
    Proxy,
    /// Nothing: the client closed before its first byte.
    Silence,
}

/// Recognises `bytes`; `None` where more of them are needed. `ended`: no more will come.
pub(super) fn recognise(bytes: &[u8], ended: bool) -> Option<DetectedProtocol> {
    match bytes.first() {
        None => ended.then_some(DetectedProtocol::Silence),
        Some(&HANDSHAKE) => Some(DetectedProtocol::Tls),
        Some(_) if bytes.starts_with(PREFACE) => Some(DetectedProtocol::Http2),
        Some(_) if bytes.starts_with(TEXT) || bytes.starts_with(SIGNATURE) => {
            Some(DetectedProtocol::Proxy)
        }
        Some(_)
            if [PREFACE, TEXT, SIGNATURE].iter().any(|start| start.starts_with(bytes))
                && !ended =>
        {
            None
        }
        Some(_) => Some(DetectedProtocol::Http1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Option<DetectedProtocol>) {
        assert_eq!(recognise(bytes, false), expected, "{bytes:?}");
    }

    #[test]
    fn the_first_bytes_are_enough() {
        check(b"", None);
        check(b"P", None);
        check(b"POST / HTTP/1.1\r\n", Some(DetectedProtocol::Http1));
        check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None);
        check(b"PROXY", None);
        check(b"PROXY TCP4 ", Some(DetectedProtocol::Proxy));
        check(b"\r\n\r\nGET", Some(DetectedProtocol::Http1));
        check(b"\r\n\r\n\0\r\nQUIT\n\x21", Some(DetectedProtocol::Proxy));
        check(PREFACE, Some(DetectedProtocol::Http2));
        check(&[PREFACE, b"\0\0\0\x04"].concat(), Some(DetectedProtocol::Http2));
        check(b"\x16\x03\x01", Some(DetectedProtocol::Tls));
        assert_eq!(recognise(b"", true), Some(DetectedProtocol::Silence));
        assert_eq!(recognise(b"PRI", true), Some(DetectedProtocol::Http1));
    }
}
