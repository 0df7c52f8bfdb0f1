//! HTTP/1.0 and 1.1 (RFC 9112): where heads end, and how the bodies after them are framed.
//!
//! It reads on the path of every response, as the bytes come and however they are split. It looks
//! at three fields of a head and keeps no others, so neither `httparse`, which starts again with
//! every part of a head, nor the reader of captures in [`crate::http`], which needs the whole
//! stream and keeps all fields, takes its place.

use std::collections::VecDeque;

use super::bytes::{ByteCounts, ByteKind};

/// The longest head that is kept to be read. What is longer is refused by the server, and is body
/// to us.
const LONGEST_HEAD: usize = 64 << 10;

/// Requests that may wait for their responses; no client pipelines more.
const MOST_WAITING: usize = 1024;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct Http1 {
    up: Half,
    down: Half,
    /// Requests without a response yet.
    pending: VecDeque<PendingRequest>,
    /// What the client sent after it asked for an upgrade: kept until the server has decided.
    withheld: Vec<u8>,
}

/// What the framing of a response depends on.
#[derive(Clone, Copy, Debug, Default)]
struct PendingRequest {
    is_head: bool,
    wants_switch: bool,
}

/// What a connection switches to, with what the client has already sent in the new protocol.
#[derive(Debug)]
pub(super) enum Switch {
    WebSocket(Vec<u8>),
    Opaque(Vec<u8>),
    /// Nothing: the server has declined.
    Stay(Vec<u8>),
}

#[derive(Debug)]
enum Half {
    /// In a head, of which this much has come.
    Head(Vec<u8>),
    /// This many bytes of a body are still to come.
    Length(u64),
    /// In the line that says how long a chunk is.
    ChunkSize(SizeLine),
    /// This many bytes of a chunk are still to come, and then the line end after it.
    Chunk(u64),
    /// This many bytes of the line end after a chunk are still to come.
    ChunkEnd(u8),
    /// In the trailers; whether the line so far is empty.
    Trailers(bool),
    /// Everything up to the close is body.
    Close,
}

impl Default for Half {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

/// What has come of `1a; extension`. There is one for every token: it keeps no bytes.
#[derive(Clone, Copy, Debug, Default)]
struct SizeLine {
    /// The number that its digits are; `None` where there are none, and where they are too many.
    size: Option<u64>,
    /// Bytes before the first that is no digit.
    digits: usize,
    length: usize,
}

impl SizeLine {
    fn take(&mut self, bytes: &[u8]) {
        let is_number = self.digits == self.length;
        self.length += bytes.len();
        if !is_number {
            return;
        }
        for digit in bytes.iter().map_while(|byte| char::from(*byte).to_digit(16)) {
            let before = if self.digits == 0 { Some(0) } else { self.size };
            self.size = before
                .and_then(|size: u64| size.checked_mul(16))
                .map(|size| size | u64::from(digit));
            self.digits += 1;
        }
    }
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    Close,
}

impl From<Framing> for Half {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::default(),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::ChunkSize(SizeLine::default()),
            Framing::Close => Self::Close,
        }
    }
}

impl Http1 {
    /// What the client sent. A client can only ask for an upgrade.
    pub(super) fn up(&mut self, mut bytes: &[u8], count: &mut ByteCounts) {
        while !bytes.is_empty() {
            if self.pending.back().is_some_and(|request| request.wants_switch)
                && matches!(&self.up, Half::Head(head) if head.is_empty())
            {
                // Until the server accepts or declines the upgrade, the protocol of these bytes is
                // not known.
                self.withheld.extend_from_slice(bytes);
                return;
            }
            let (taken, head) = self.up.take(bytes, count);
            bytes = &bytes[taken..];
            if let Some(head) = head {
                let fields = Fields::read(&head);
                if self.pending.len() < MOST_WAITING {
                    let method = head.split(|byte| *byte == b' ').next().unwrap_or_default();
                    self.pending.push_back(PendingRequest {
                        is_head: method == b"HEAD",
                        wants_switch: fields.upgrade || method == b"CONNECT",
                    });
                }
                self.up = fields.framing(Framing::None).into();
            }
        }
    }

    /// How many bytes are kept until their protocol is known.
    pub(super) fn withheld(&self) -> usize {
        self.withheld.len()
    }

    /// What the server sent. If it switches the protocol: to which, and the bytes that are left.
    pub(super) fn down<'a>(
        &mut self,
        mut bytes: &'a [u8],
        count: &mut ByteCounts,
    ) -> Option<(Switch, &'a [u8])> {
        while !bytes.is_empty() {
            let (taken, head) = self.down.take(bytes, count);
            bytes = &bytes[taken..];
            let Some(head) = head else { continue };
            let status = status(&head);
            let fields = Fields::read(&head);
            if status == 101 {
                let withheld = std::mem::take(&mut self.withheld);
                let switch = if fields.is_websocket {
                    Switch::WebSocket(withheld)
                } else {
                    Switch::Opaque(withheld)
                };
                return Some((switch, bytes));
            }
            if (100..200).contains(&status) {
                continue;
            }
            let request = self.pending.pop_front().unwrap_or_default();
            self.down = if request.is_head || matches!(status, 204 | 304) {
                Half::default()
            } else {
                fields.framing(Framing::Close).into()
            };
            if request.wants_switch && !self.withheld.is_empty() {
                // The connection stays as it was: what came meanwhile is the next request.
                return Some((Switch::Stay(std::mem::take(&mut self.withheld)), bytes));
            }
        }
        None
    }
}

impl Half {
    /// Takes the bytes up to the next change, and counts them. Gives a head when it is whole.
    fn take(&mut self, bytes: &[u8], count: &mut ByteCounts) -> (usize, Option<Vec<u8>>) {
        match self {
            Self::Head(head) => {
                let (taken, whole) = Self::head(head, bytes, count);
                if whole.is_none() && head.len() > LONGEST_HEAD {
                    *self = Self::Close;
                }
                (taken, whole)
            }
            Self::Length(left) => {
                let taken = within(*left, bytes);
                count.add(ByteKind::Body, taken);
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::default();
                }
                (taken, None)
            }
            Self::ChunkSize(line) => {
                let taken =
                    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
                count.add(ByteKind::Framing, taken);
                line.take(&bytes[..taken]);
                if bytes[..taken].ends_with(b"\n") {
                    *self = match line.size {
                        None => Self::Close,
                        Some(0) => Self::Trailers(true),
                        Some(size) => {
                            count.frames += 1;
                            Self::Chunk(size)
                        }
                    };
                } else if line.length > LONGEST_HEAD {
                    *self = Self::Close;
                }
                (taken, None)
            }
            Self::Chunk(left) => {
                let taken = within(*left, bytes);
                count.add(ByteKind::Body, taken);
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::ChunkEnd(2);
                }
                (taken, None)
            }
            Self::ChunkEnd(left) => {
                let taken = within(u64::from(*left), bytes);
                count.add(ByteKind::Framing, taken);
                *left -= u8::try_from(taken).unwrap_or(*left);
                if *left == 0 {
                    *self = Self::ChunkSize(SizeLine::default());
                }
                (taken, None)
            }
            Self::Trailers(is_empty) => {
                let taken =
                    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
                let line = &bytes[..taken];
                count.add(ByteKind::Framing, taken);
                *is_empty &= line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
                if line.ends_with(b"\n") {
                    *self = if *is_empty { Self::default() } else { Self::Trailers(true) };
                }
                (taken, None)
            }
            Self::Close => {
                count.add(ByteKind::Body, bytes.len());
                (bytes.len(), None)
            }
        }
    }

    /// Takes what belongs to a head. Empty lines before it are part of it (RFC 9112, section 2.2).
    fn head(head: &mut Vec<u8>, bytes: &[u8], count: &mut ByteCounts) -> (usize, Option<Vec<u8>>) {
        for (index, byte) in bytes.iter().enumerate() {
            if head.is_empty() && matches!(byte, b'\r' | b'\n') {
                continue;
            }
            head.push(*byte);
            if *byte == b'\n' && (head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n")) {
                count.add(ByteKind::Head, index + 1);
                return (index + 1, Some(std::mem::take(head)));
            }
        }
        count.add(ByteKind::Head, bytes.len());
        (bytes.len(), None)
    }
}

/// How many of these bytes are still within `left`.
fn within(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

/// The number in a status line; zero where it is none.
fn status(head: &[u8]) -> u16 {
    let word = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(word.get(..3).unwrap_or_default())
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// The fields of a head that framing depends on.
#[derive(Clone, Copy, Debug, Default)]
struct Fields {
    length: Option<u64>,
    is_chunked: bool,
    upgrade: bool,
    is_websocket: bool,
}

impl Fields {
    fn read(head: &[u8]) -> Self {
        let mut fields = Self::default();
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                fields.length =
                    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                fields.is_chunked = value.to_ascii_lowercase().ends_with(b"chunked");
            } else if name.eq_ignore_ascii_case(b"upgrade") {
                fields.upgrade = true;
                fields.is_websocket = value.eq_ignore_ascii_case(b"websocket");
            }
        }
        fields
    }

    /// How the body after this head is framed (RFC 9112, section 6.3); `otherwise` if the head has
    /// no framing field.
    fn framing(self, otherwise: Framing) -> Framing {
        match (self.is_chunked, self.length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => otherwise,
        }
    }
}
