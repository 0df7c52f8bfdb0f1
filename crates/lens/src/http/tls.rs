//! Records of TLS (RFC 8446, section 5.1), and the part of the handshake that is not encrypted.

use super::cut::Cutter;
use super::piece::{PieceContent, StreamPieceKind};
use super::tls_record::{TlsContentType, TlsHello, TlsRecord};

/// The longest record: 2^14 bytes and what encryption adds (RFC 5246, section 6.2.3).
const LONGEST: u16 = (1 << 14) + 2048;

const HEAD: usize = 5;

/// The "random" of a server hello that is a request to try again (RFC 8446, section 4.1.3), its
/// first bytes.
const RETRY: [u8; 8] = [0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11];

pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [22, 3, 0..=4, ..])
}

pub(super) fn read(stream: &mut Cutter<'_>) {
    let mut is_clear = true;
    while !stream.is_at_end() {
        let Some((mut record, is_known)) = record(stream.rest()) else {
            if stream.rest().len() < HEAD {
                stream.take_unfinished(StreamPieceKind::Tls, PieceContent::Unread);
            }
            return;
        };
        if !is_known {
            return;
        }
        if is_clear && record.content == TlsContentType::Handshake {
            record.hello = hello(stream.rest());
        }
        is_clear &= record.content == TlsContentType::Handshake;
        let length = HEAD as u64 + u64::from(record.length);
        if !stream.take(length, StreamPieceKind::Tls, PieceContent::TlsRecord(record)) {
            return;
        }
    }
}

/// The record at the start of `bytes`, and whether it can be one.
fn record(bytes: &[u8]) -> Option<(TlsRecord, bool)> {
    let [content, major, minor, high, low]: [u8; HEAD] = *bytes.first_chunk()?;
    let length = u16::from_be_bytes([high, low]);
    let kind = TlsContentType::new(content);
    let record = TlsRecord {
        content: kind.unwrap_or(TlsContentType::Alert),
        version: u16::from_be_bytes([major, minor]),
        length,
        hello: None,
    };
    Some((record, kind.is_some() && major == 3 && length <= LONGEST))
}

/// The hello in the handshake records at the start of `bytes`; it may be spread over several.
fn hello(mut bytes: &[u8]) -> Option<TlsHello> {
    let mut message = Vec::new();
    while let Some((record, true)) = record(bytes) {
        if record.content != TlsContentType::Handshake {
            break;
        }
        let end = HEAD + usize::from(record.length);
        message.extend_from_slice(bytes.get(HEAD..end.min(bytes.len()))?);
        bytes = bytes.get(end..).unwrap_or_default();
        if message.len() >= 4 && message.len() >= 4 + length_of(&message) {
            break;
        }
        if message.len() > 1 << 16 {
            return None;
        }
    }
    let is_client = match message.first()? {
        1 => true,
        2 => false,
        _ => return None,
    };
    let body = message.get(4..4 + length_of(&message))?;
    read_hello(is_client, &mut Reader(body))
}

fn length_of(message: &[u8]) -> usize {
    message
        .get(1..4)
        .map_or(0, |length| length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

fn read_hello(is_client: bool, body: &mut Reader<'_>) -> Option<TlsHello> {
    let version = body.u16()?;
    let random = body.take(32)?;
    body.vector(1)?; // session id
    if is_client {
        body.vector(2)?; // cipher suites
        body.vector(1)?; // compression methods
    } else {
        body.take(3)?;
    }
    let is_retry = !is_client && random.starts_with(&RETRY);
    let mut hello = TlsHello {
        is_client,
        version,
        server_name: None,
        application_protocols: Vec::new(),
        resumes: false,
        is_retry,
    };
    let mut extensions = body.vector(2).unwrap_or(Reader(&[]));
    while let Some(kind) = extensions.u16() {
        let mut value = extensions.vector(2)?;
        match kind {
            0 if is_client => hello.server_name = server_name(&mut value),
            16 => hello.application_protocols = protocols(&mut value),
            35 => hello.resumes |= is_client && !value.0.is_empty(),
            41 => hello.resumes = true,
            43 if is_client => {
                hello.version = value
                    .vector(1)
                    .and_then(|versions| highest(versions.0))
                    .unwrap_or(hello.version);
            }
            43 => hello.version = value.u16()?,
            _ => {}
        }
    }
    Some(hello)
}

/// RFC 6066, section 3: a list, of which only the first name of a host has a meaning.
fn server_name(value: &mut Reader<'_>) -> Option<String> {
    let mut list = value.vector(2)?;
    (list.take(1)? == [0]).then_some(())?;
    Some(String::from_utf8_lossy(list.vector(2)?.0).into_owned())
}

fn protocols(value: &mut Reader<'_>) -> Vec<String> {
    let Some(mut list) = value.vector(2) else { return Vec::new() };
    std::iter::from_fn(|| list.vector(1))
        .map(|name| String::from_utf8_lossy(name.0).into_owned())
        .collect()
}

/// Values that only test whether the unknown is ignored (RFC 8701) are `0x?A?A`.
fn highest(versions: &[u8]) -> Option<u16> {
    let (versions, _) = versions.as_chunks::<2>();
    versions
        .iter()
        .map(|version| u16::from_be_bytes(*version))
        .filter(|version| version & 0x0F0F != 0x0A0A)
        .max()
}

/// Reads what TLS writes (RFC 8446, section 3).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().copied().map(u16::from_be_bytes)
    }

    /// A vector whose length field has `length` bytes.
    fn vector(&mut self, length_bytes: usize) -> Option<Self> {
        let length =
            self.take(length_bytes)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.take(length).map(Reader)
    }
}

/// What a version is called.
pub fn version_name(version: u16) -> &'static str {
    match version {
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        _ => "unknown",
    }
}
