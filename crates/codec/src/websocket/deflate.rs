//! permessage-deflate (RFC 7692): what is agreed upon, and the coding of one message at a time.
//!
//! A server here never keeps a compression context between messages and asks clients not to: a
//! context costs about 300 KiB to keep for each socket that sends and about 75 KiB for each that
//! receives. So one [`Compressor`] serves all sockets, one compressed frame serves all readers, and
//! a socket that waits holds nothing.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Violation;

/// The name of the extension in `Sec-WebSocket-Extensions`.
pub const NAME: &str = "permessage-deflate";

/// What every message compressed ends in, and what therefore is not sent (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// The window of deflate itself. miniz_oxide has no smaller one.
const WINDOW_BITS: u8 = 15;

/// How much is decompressed at once: the whole window, so that a violation is the same however the
/// bytes were split.
const STEP_BYTES: usize = 1 << WINDOW_BITS;

/// How many deflate streams one message may consist of. One that ends by itself (section 7.2.3.4)
/// is followed by one more; a message of many tiny streams would make each byte cost a new window
/// of 32 KiB.
const MOST_STREAMS: usize = 16;

/// Whether a side keeps its window from one message to the next (section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Each message stands alone.
    Fresh,
    /// A message may refer to those before it.
    Kept,
}

/// One `permessage-deflate` among a header's offers or responses, with the parameters of section
/// 7.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateOffer {
    /// The server resets its context before each message.
    pub server_no_context_takeover: bool,
    /// The client resets its context before each message.
    pub client_no_context_takeover: bool,
    /// The window that the server may use at most.
    pub server_max_window_bits: Option<u8>,
    /// The window that the client may use at most; `Some(None)` if it only supports the parameter.
    pub client_max_window_bits: Option<Option<u8>>,
}

impl DeflateOffer {
    /// The valid offers in a `Sec-WebSocket-Extensions`, in their order. Other extensions are left
    /// out, and so are offers with a parameter that is unknown, repeated or wrong: those must be
    /// declined (section 7.1).
    pub fn all(header: &str) -> impl Iterator<Item = Self> {
        split(header, ',').filter_map(Self::read)
    }

    fn read(extension: &str) -> Option<Self> {
        let mut parts = split(extension, ';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut offer = Self::default();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
                None => (part, None),
            };
            let is_new = match (name.to_ascii_lowercase().as_str(), value) {
                ("server_no_context_takeover", None) => {
                    !std::mem::replace(&mut offer.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    !std::mem::replace(&mut offer.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    offer.server_max_window_bits.replace(window_bits(value)?).is_none()
                }
                ("client_max_window_bits", None) => {
                    offer.client_max_window_bits.replace(None).is_none()
                }
                ("client_max_window_bits", Some(value)) => {
                    offer.client_max_window_bits.replace(Some(window_bits(value)?)).is_none()
                }
                _ => return None,
            };
            if !is_new {
                return None;
            }
        }
        Some(offer)
    }
}

/// What both sides have agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    offer: DeflateOffer,
}

impl Agreement {
    /// As a server: takes the first offer that can be honoured. `None` for a connection without
    /// compression.
    pub fn choose(header: &str) -> Option<Self> {
        let offer = DeflateOffer::all(header)
            .find(|offer| offer.server_max_window_bits.is_none_or(|bits| bits == WINDOW_BITS))?;
        // Sections 7.1.1.1 and 7.1.1.2 let a server demand both unasked. A client's window of any
        // size can be read, so its parameter needs no response.
        let server_max_window_bits = offer.server_max_window_bits;
        Some(Self {
            offer: DeflateOffer {
                server_no_context_takeover: true,
                client_no_context_takeover: true,
                server_max_window_bits,
                client_max_window_bits: None,
            },
        })
    }

    /// As a client: reads the server's response. `None` if the extension is absent or its
    /// parameters are invalid.
    pub fn read(header: &str) -> Option<Self> {
        let mut accepted = DeflateOffer::all(header);
        let offer = accepted.next().filter(|offer| offer.client_max_window_bits != Some(None))?;
        accepted.next().is_none().then_some(Self { offer })
    }

    /// The value of `Sec-WebSocket-Extensions` for it.
    pub fn header(&self) -> String {
        let mut header = NAME.to_owned();
        if self.offer.server_no_context_takeover {
            header.push_str("; server_no_context_takeover");
        }
        if self.offer.client_no_context_takeover {
            header.push_str("; client_no_context_takeover");
        }
        for (name, bits) in [
            ("server_max_window_bits", self.offer.server_max_window_bits),
            ("client_max_window_bits", self.offer.client_max_window_bits.flatten()),
        ] {
            if let Some(bits) = bits {
                header.extend(["; ", name, "=", &bits.to_string()]);
            }
        }
        header
    }

    /// Whether a [`Compressor`] here may be used by the client: it supports only one window size.
    pub fn client_may_compress(&self) -> bool {
        self.offer.client_max_window_bits.flatten().is_none_or(|bits| bits == WINDOW_BITS)
    }

    /// The settings with which the server reads its client.
    pub fn server_inflate(&self) -> Inflate {
        Inflate::new(if self.offer.client_no_context_takeover {
            Context::Fresh
        } else {
            Context::Kept
        })
    }

    /// The settings with which the client reads its server.
    pub fn client_inflate(&self) -> Inflate {
        Inflate::new(if self.offer.server_no_context_takeover {
            Context::Fresh
        } else {
            Context::Kept
        })
    }
}

/// `8` to `15`, in decimal without a zero in front (section 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    if value.starts_with('0') || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    value.parse().ok().filter(|bits| (8..=WINDOW_BITS).contains(bits))
}

/// A value may be a quoted string that holds a token (RFC 6455, section 9.1).
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// The parts between separators that stand in no quoted string (RFC 9110, section 5.6.4).
fn split(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |character| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => is_escaped = true,
            _ => {}
        }
        character == separator && !is_quoted
    })
}

/// Compresses one message at a time. It holds about 300 KiB and belongs to no socket: keep one for
/// each thread that writes.
#[derive(Debug)]
pub struct Compressor {
    deflate: Compress,
    threshold: usize,
}

impl Compressor {
    /// A compressor of messages of `threshold` bytes or more. Without context, less than about 1
    /// KiB of JSON hardly shrinks.
    pub fn new(threshold: usize) -> Self {
        // The fastest level: what it saves is time on the wire, and the events of one response are
        // written one by one.
        Self { deflate: Compress::new(Compression::fast(), false), threshold }
    }

    /// The payload of a frame with RSV1; `None` if the message is small or would not become
    /// smaller.
    pub fn compress(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() < self.threshold.max(1) {
            return None;
        }
        self.deflate.reset();
        // What is no smaller than the payload is of no use, so there need not be room for it; the
        // tail does not count.
        let mut out = Vec::with_capacity(payload.len() + TAIL.len());
        self.deflate.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        let is_whole = self.deflate.total_in() == payload.len() as u64
            && out.len() < out.capacity()
            && out.ends_with(&TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()));
        (is_whole && out.len() < payload.len()).then_some(out)
    }
}

/// Decompresses the messages of one socket, as their bytes come.
#[derive(Debug)]
pub struct Inflate {
    context: Context,
    /// Only while a message is read, unless the context is kept.
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    inflate: Decompress,
    step: Vec<u8>,
    /// How many streams of this message have ended.
    ended: usize,
}

impl Inflate {
    /// A decompressor for a peer whose context is of this kind.
    pub fn new(context: Context) -> Self {
        Self { context, stream: None }
    }

    /// Takes bytes of a message. `sink` is given what they hold, in small steps; what it returns
    /// ends the reading, so a few bytes that would become gigabytes cost no more than its limit.
    pub(super) fn push(
        &mut self,
        input: &[u8],
        sink: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let fresh =
            || Stream { inflate: Decompress::new(false), step: vec![0; STEP_BYTES], ended: 0 };
        self.stream.get_or_insert_with(fresh).push(input, sink)
    }

    /// Ends the message.
    pub(super) fn finish(
        &mut self,
        sink: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        self.push(&TAIL, sink)?;
        match (self.context, &mut self.stream) {
            (Context::Kept, Some(stream)) => stream.ended = 0,
            (Context::Kept | Context::Fresh, stream) => *stream = None,
        }
        Ok(())
    }
}

impl Stream {
    fn push(
        &mut self,
        mut input: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        loop {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, &mut self.step, FlushDecompress::Sync);
            // Both are at most the lengths of the slices.
            let read = usize::try_from(self.inflate.total_in() - read).unwrap_or_default();
            let written = usize::try_from(self.inflate.total_out() - written).unwrap_or_default();
            input = &input[read..];
            sink(&self.step[..written])?;
            match status {
                Err(_) => return Err(Violation::InvalidDeflate),
                Ok(Status::StreamEnd) => {
                    self.ended += 1;
                    if self.ended >= MOST_STREAMS {
                        return Err(Violation::InvalidDeflate);
                    }
                    self.inflate.reset(false);
                    if input.is_empty() {
                        return Ok(());
                    }
                }
                // A full step may be followed by more output.
                Ok(Status::Ok | Status::BufError) if written == self.step.len() => {}
                Ok(Status::Ok | Status::BufError) if input.is_empty() => return Ok(()),
                Ok(Status::Ok | Status::BufError) if read + written == 0 => {
                    return Err(Violation::InvalidDeflate);
                }
                Ok(Status::Ok | Status::BufError) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
