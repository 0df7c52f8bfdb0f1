//! The PROXY protocol, versions 1 and 2: a header at the start of a connection, by which a proxy
//! names the client (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>). Only the
//! parser: which proxies are trusted is decided elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The start of version 1.
pub(super) const TEXT: &[u8] = b"PROXY ";

/// The start of version 2.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its end (§2.1).
const LONGEST_LINE: usize = 107;

/// The part of version 2 that is always there: the signature, version and command, family and
/// protocol, the length of the rest.
const FIXED: usize = 16;

/// The longest rest of version 2 that is accepted. The addresses are 36 bytes, and proxies add some
/// hundred of their own.
const LONGEST_REST: usize = 4096;

/// The header of a proxy for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// It is made for this client.
    Client(SocketAddr),
    /// The proxy's own connection, such as a health check, or one without a known client address.
    Proxy,
}

/// Why the first bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyHeaderError {
    /// Something else.
    #[error("there is no PROXY protocol header")]
    Missing,
    /// A line of version 1 that is too long, or not well formed.
    #[error("the PROXY protocol line is malformed")]
    Line,
    /// A version, command or address of version 2 that does not exist, or has another length.
    #[error("the binary PROXY protocol header is malformed")]
    Binary,
    /// A header of version 2 that is longer than what is accepted.
    #[error("the binary PROXY protocol header is too long")]
    TooLong,
}

/// Reads a header that comes in pieces.
#[derive(Clone, Debug, Default)]
pub struct ProxyHeaderParser {
    held: Vec<u8>,
}

impl ProxyHeaderParser {
    /// Takes the next bytes. Returns how many of them belong to the header, and its meaning once it
    /// is complete; then the rest is the client's.
    ///
    /// # Errors
    /// Bytes that are not a header. The connection cannot be used.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<ProxyHeader>), ProxyHeaderError> {
        for (index, byte) in bytes.iter().enumerate() {
            self.held.push(*byte);
            if let Some(origin) = self.look()? {
                return Ok((index + 1, Some(origin)));
            }
        }
        Ok((bytes.len(), None))
    }

    fn look(&self) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
        let held = &self.held[..];
        if held.starts_with(TEXT) {
            return match held.strip_suffix(b"\r\n") {
                Some(line) => line_origin(line).map(Some),
                None if held.len() >= LONGEST_LINE => Err(ProxyHeaderError::Line),
                None => Ok(None),
            };
        }
        if held.starts_with(SIGNATURE) {
            return binary(held);
        }
        if TEXT.starts_with(held) || SIGNATURE.starts_with(held) {
            Ok(None)
        } else {
            Err(ProxyHeaderError::Missing)
        }
    }
}

/// A line of version 1, without its end.
fn line_origin(line: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let line = std::str::from_utf8(line).map_err(|_error| ProxyHeaderError::Line)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // The rest of the line is to be ignored (§2.1).
        return Ok(ProxyHeader::Proxy);
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, source_port, destination_port] = words[..] else {
        return Err(ProxyHeaderError::Line);
    };
    let address = |text: &str| match family {
        Some("TCP4") => text.parse().ok().map(IpAddr::V4),
        Some("TCP6") => text.parse().ok().map(IpAddr::V6),
        Some(_) | None => None,
    };
    let source = address(source).zip(port(source_port));
    let destination = address(destination).zip(port(destination_port));
    source
        .zip(destination)
        .map(|(source, _)| ProxyHeader::Client(source.into()))
        .ok_or(ProxyHeaderError::Line)
}

/// Digits only, without leading zeros (§2.1).
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    text.parse().ok().filter(|_| is_plain)
}

/// A header of version 2, as far as it is there.
fn binary(held: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some((fixed, rest)) = held.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_REST {
        return Err(ProxyHeaderError::TooLong);
    }
    // Errors are reported at once, before the rest has come.
    let addresses = match (command, family) {
        (0x20, _) => AddressFamily::Unspecified,
        (0x21, 0x11) if length >= 12 => AddressFamily::V4,
        (0x21, 0x21) if length >= 36 => AddressFamily::V6,
        (0x21, 0x11 | 0x21) => return Err(ProxyHeaderError::Binary),
        // UDP, local sockets, or unspecified: no address that has a meaning here, but valid (§2.2).
        (0x21, _) if family >> 4 <= 3 && family & 15 <= 2 => AddressFamily::Unspecified,
        (_, _) => return Err(ProxyHeaderError::Binary),
    };
    if rest.len() < length {
        return Ok(None);
    }
    let origin = match addresses {
        AddressFamily::Unspecified => Some(ProxyHeader::Proxy),
        AddressFamily::V4 => rest
            .first_chunk::<4>()
            .zip(port_at(rest, 8))
            .map(|(ip, port)| ProxyHeader::Client((Ipv4Addr::from(*ip), port).into())),
        AddressFamily::V6 => rest
            .first_chunk::<16>()
            .zip(port_at(rest, 32))
            .map(|(ip, port)| ProxyHeader::Client((Ipv6Addr::from(*ip), port).into())),
    };
    origin.map(Some).ok_or(ProxyHeaderError::Binary)
}

/// Which addresses a header of version 2 holds.
#[derive(Clone, Copy)]
enum AddressFamily {
    Unspecified,
    V4,
    V6,
}

fn port_at(rest: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*rest.get(offset..)?.first_chunk::<2>()?))
}
