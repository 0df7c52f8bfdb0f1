//! As much of HTTP/2 (RFC 9113) as a bench needs that sends whole frames and reads what its own servers send.

use anyhow::{Result, ensure};

/// What a client sends first (section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest window there is (section 6.9.1).
pub(crate) const MAX_WINDOW: u32 = (1 << 31) - 1;

/// The window of a connection, and of a stream if no setting says otherwise (section 6.9.2).
pub(crate) const DEFAULT_WINDOW: u32 = 65_535;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

/// Of PING and SETTINGS.
pub(crate) const ACK: u8 = 1;
/// Of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const HEADER_BYTES: usize = 9;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Where a frame is in the bytes that it was read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    length: usize,
}

impl Frame {
    /// The frame that the bytes start with, if it is whole.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let Some([a, b, c, kind, flags, stream @ ..]) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let stream = u32::from_be_bytes(*stream) & MAX_WINDOW;
        let frame = Self { kind: *kind, flags: *flags, stream, length };
        ensure!(*kind > HEADERS || flags & PADDED == 0, "a padded frame");
        Ok((bytes.len() >= frame.bytes()).then_some(frame))
    }

    /// How many bytes it is, its header included.
    pub(crate) fn bytes(&self) -> usize {
        HEADER_BYTES + self.length
    }

    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[HEADER_BYTES..self.bytes()]
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends the header of a frame.
pub(crate) fn header(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    // Nothing of the bench comes near the 16 KiB that every peer takes.
    let length = u32::try_from(length).unwrap_or_default().to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Appends our settings and the window of the connection: as much as there is, so that none is waited for.
pub(crate) fn open(out: &mut Vec<u8>) {
    header(out, 6, SETTINGS, 0, 0);
    out.extend_from_slice(&INITIAL_WINDOW_SIZE.to_be_bytes());
    out.extend_from_slice(&MAX_WINDOW.to_be_bytes());
    window_update(out, MAX_WINDOW - DEFAULT_WINDOW);
}

/// Appends more room for the whole connection.
pub(crate) fn window_update(out: &mut Vec<u8>, more: u32) {
    header(out, 4, WINDOW_UPDATE, 0, 0);
    out.extend_from_slice(&more.to_be_bytes());
}

/// Appends what has to be sent back for a SETTINGS or a PING.
pub(crate) fn acknowledge(out: &mut Vec<u8>, frame: &Frame, payload: &[u8]) {
    if frame.has(ACK) {
        return;
    }
    let payload = if frame.kind == PING { payload } else { &[] };
    header(out, payload.len(), frame.kind, ACK, 0);
    out.extend_from_slice(payload);
}

/// Appends header fields, given in HPACK (RFC 7541).
pub(crate) fn headers(out: &mut Vec<u8>, fields: &[u8], flags: u8, stream: u32) {
    header(out, fields.len(), HEADERS, flags | END_HEADERS, stream);
    out.extend_from_slice(fields);
}

/// A field that is not indexed, with a name of the static table if `index` is not 0 (RFC 7541, section 6.2.2).
pub(crate) fn field(out: &mut Vec<u8>, index: u8, name: &str, value: &str) {
    out.push(index);
    if index == 0 {
        text(out, name);
    }
    text(out, value);
}

/// A text without Huffman coding (RFC 7541, section 5.2), its length with a prefix of seven bits.
fn text(out: &mut Vec<u8>, text: &str) {
    if let Ok(length @ ..127) = u8::try_from(text.len()) {
        out.push(length);
    } else {
        // Two bytes are enough for what the bench sends.
        let rest = text.len() - 127;
        out.push(127);
        out.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        out.push(u8::try_from(rest >> 7).unwrap_or_default());
    }
    out.extend_from_slice(text.as_bytes());
}

/// The window that a peer's settings give to each stream, if they say so.
pub(crate) fn initial_window(settings: &[u8]) -> Option<u32> {
    settings.chunks_exact(6).find_map(|setting| {
        let [a, b, value @ ..] = setting.first_chunk::<6>()?;
        (u16::from_be_bytes([*a, *b]) == INITIAL_WINDOW_SIZE).then(|| u32::from_be_bytes(*value))
    })
}

/// The number of a WINDOW_UPDATE.
pub(crate) fn increment(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) & MAX_WINDOW)
}
