//! A push parser for the bytes of a WebSocket peer, split in any way; it holds one message and
//! never a whole frame of it.

use bytes::{Buf, Bytes, BytesMut};

use super::deflate::Inflate;
use super::utf8::Utf8Text;
use super::{CloseCode, LONGEST_CONTROL, Opcode, Violation, WebSocketRole, apply_mask};

/// How many frames a message may consist of, beside one for each [`FRAGMENT_BYTES`] in it. Empty
/// ones cost their sender a few bytes, and meet no other limit. Browsers send a message in one; the
/// Autobahn suite sends 4 MiB in frames of 64 bytes.
pub const MOST_FRAGMENTS: usize = 16_384;

/// Fragments of this size are as many as there is room for.
const FRAGMENT_BYTES: usize = 64;

/// How many times its compressed size a message may have, beyond the first [`FREE_OF_RATIO`] bytes.
/// Text comes to 20, and deflate at most to 1032.
const MOST_RATIO: usize = 100;

/// Repetitive data, such as a table, may be compressed better, up to this size.
const FREE_OF_RATIO: usize = 1 << 20;

/// Limits on the memory that a peer can occupy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketLimits {
    /// The largest payload of one frame, as it is on the wire.
    pub frame_bytes: usize,
    /// The largest message, after decompression.
    pub message_bytes: usize,
}

/// A message or control frame of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingMessage {
    /// A text message.
    Text(String),
    /// A message of bytes.
    Binary(Bytes),
    /// The response is a pong with the same payload. It may arrive between the frames of a message.
    Ping(Bytes),
    /// The response to a ping, or a sign of life.
    Pong(Bytes),
    /// The close of the connection, with its reason. The response is a close frame, unless one was
    /// sent.
    Close(Option<CloseCode>, String),
}

/// A push parser: give it bytes as they come, then take messages until there are none.
#[derive(Debug)]
pub struct WebSocketDecoder {
    role: WebSocketRole,
    limits: WebSocketLimits,
    inflate: Option<Inflate>,
    buffer: BytesMut,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message whose frames are being read.
    message: Option<Message>,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    rsv1: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    length: usize,
    /// How much of the payload was read.
    read: usize,
}

impl WebSocketDecoder {
    /// A decoder of what the peer of a `role` sends, without extensions.
    pub fn new(role: WebSocketRole, limits: WebSocketLimits) -> Self {
        Self {
            role,
            limits,
            inflate: None,
            buffer: BytesMut::new(),
            frame: None,
            message: None,
            is_over: false,
        }
    }

    /// Reads compressed messages, too: permessage-deflate was agreed upon.
    #[must_use]
    pub fn with_inflate(self, inflate: Inflate) -> Self {
        Self { inflate: Some(inflate), ..self }
    }

    /// Takes the next bytes of the connection. Call [`Self::next_message`] until `None` before the
    /// next push: what is held is then bounded by one message and one push.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_over {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message or control frame; `None` when more bytes are needed, and always after a
    /// close or a violation.
    pub fn next_message(&mut self) -> Option<Result<IncomingMessage, Violation>> {
        if self.is_over {
            return None;
        }
        let found = self.advance().transpose();
        if matches!(found, Some(Err(_) | Ok(IncomingMessage::Close(..)))) {
            // Section 1.4: what comes after a close is discarded.
            self.is_over = true;
            self.message = None;
            self.buffer = BytesMut::new();
        }
        if self.buffer.is_empty() {
            // An idle socket, as most are most of the time, holds no buffer.
            self.buffer = BytesMut::new();
        }
        found
    }

    /// The bytes of the message that has started and not ended, with those that its frame
    /// announces.
    pub fn coming(&self) -> usize {
        let announced = self
            .frame
            .filter(|frame| !frame.opcode.is_control())
            .map_or(0, |frame| frame.length - frame.read);
        self.message.as_ref().map_or(0, Message::len) + announced
    }

    /// Whether a close or a violation ended the messages.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    fn advance(&mut self) -> Result<Option<IncomingMessage>, Violation> {
        loop {
            let Some(frame) = self.frame else {
                let Some(frame) = self.head()? else { return Ok(None) };
                self.check_order(&frame)?;
                self.frame = Some(frame);
                continue;
            };
            if frame.opcode.is_control() {
                return self.control(frame);
            }
            if !self.payload(frame)? {
                return Ok(None);
            }
            self.frame = None;
            if frame.fin
                && let Some(mut message) = self.message.take()
            {
                if message.is_compressed
                    && let Some(inflate) = &mut self.inflate
                {
                    inflate.finish(|bytes| {
                        message.append_inflated(bytes, self.limits.message_bytes)
                    })?;
                }
                return message.finish().map(Some);
            }
        }
    }

    /// Takes a frame's head from the buffer, once it is whole there. Its first two bytes are
    /// checked as soon as they arrive.
    fn head(&mut self) -> Result<Option<Frame>, Violation> {
        let [first, second, ..] = self.buffer[..] else { return Ok(None) };
        let opcode =
            Opcode::from_bits(first & 0x0F).ok_or(Violation::ReservedOpcode(first & 0x0F))?;
        let (fin, rsv1, rsv23) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x30 != 0);
        // RFC 7692, section 6: RSV1 stands in the first frame of a message.
        let may_be_compressed =
            self.inflate.is_some() && matches!(opcode, Opcode::Text | Opcode::Binary);
        if rsv23 || (rsv1 && !may_be_compressed) {
            return Err(Violation::ReservedBit);
        }
        let short_length = second & 0x7F;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        if opcode.is_control() && usize::from(short_length) > LONGEST_CONTROL {
            return Err(Violation::LongControl);
        }
        let is_masked = second & 0x80 != 0;
        match self.role {
            WebSocketRole::Server if !is_masked => return Err(Violation::Unmasked),
            WebSocketRole::Client if is_masked => return Err(Violation::Masked),
            WebSocketRole::Server | WebSocketRole::Client => {}
        }
        let mut rest = &self.buffer[2..];
        let Some(length) = take_length(short_length, &mut rest)? else { return Ok(None) };
        let Some(length) =
            usize::try_from(length).ok().filter(|length| *length <= self.limits.frame_bytes)
        else {
            return Err(Violation::FrameTooLarge { limit: self.limits.frame_bytes });
        };
        let mask = match rest.split_first_chunk() {
            _ if !is_masked => None,
            None => return Ok(None),
            Some((mask, after)) => {
                rest = after;
                Some(*mask)
            }
        };
        let head_bytes = self.buffer.len() - rest.len();
        self.buffer.advance(head_bytes);
        Ok(Some(Frame { fin, rsv1, opcode, mask, length, read: 0 }))
    }

    /// Whether the frame may come now (section 5.4), and whether its message may become so large.
    /// Starts a message.
    fn check_order(&mut self, frame: &Frame) -> Result<(), Violation> {
        let message = match (frame.opcode, &mut self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::UnfinishedMessage),
            (Opcode::Continuation, Some(message)) => message,
            (Opcode::Text, None) => {
                self.message.insert(Message::new(Data::Text(Utf8Text::default()), frame.rsv1))
            }
            (Opcode::Binary, None) => {
                self.message.insert(Message::new(Data::Binary(BytesMut::new()), frame.rsv1))
            }
        };
        message.fragments += 1;
        message.announced = message.announced.saturating_add(frame.length);
        if message.fragments > MOST_FRAGMENTS + message.announced / FRAGMENT_BYTES {
            return Err(Violation::TooManyFragments { limit: MOST_FRAGMENTS });
        }
        let limit = self.limits.message_bytes;
        if !message.is_compressed && frame.length > limit.saturating_sub(message.len()) {
            return Err(Violation::MessageTooLarge { limit });
        }
        Ok(())
    }

    /// Reads what has come of a data frame's payload; true at its end.
    fn payload(&mut self, frame: Frame) -> Result<bool, Violation> {
        let count = (frame.length - frame.read).min(self.buffer.len());
        let payload = &mut self.buffer[..count];
        if let Some(mask) = frame.mask {
            apply_mask(mask, frame.read, payload);
        }
        if let Some(message) = &mut self.message {
            let limit = self.limits.message_bytes;
            match &mut self.inflate {
                Some(inflate) if message.is_compressed => {
                    message.received += payload.len();
                    inflate.push(payload, |bytes| message.append_inflated(bytes, limit))?;
                }
                _ => message.append(payload, limit)?,
            }
        }
        self.buffer.advance(count);
        let read = frame.read + count;
        self.frame = Some(Frame { read, ..frame });
        Ok(read == frame.length)
    }

    /// Reads a control frame, once it is whole in the buffer.
    fn control(&mut self, frame: Frame) -> Result<Option<IncomingMessage>, Violation> {
        if self.buffer.len() < frame.length {
            return Ok(None);
        }
        if let Some(mask) = frame.mask {
            apply_mask(mask, 0, &mut self.buffer[..frame.length]);
        }
        let payload = Bytes::copy_from_slice(&self.buffer[..frame.length]);
        self.buffer.advance(frame.length);
        self.frame = None;
        match frame.opcode {
            Opcode::Ping => Ok(Some(IncomingMessage::Ping(payload))),
            Opcode::Pong => Ok(Some(IncomingMessage::Pong(payload))),
            Opcode::Close | Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                close(&payload).map(Some)
            }
        }
    }
}

/// The length of a frame (section 5.2); `None` if it is not whole yet.
fn take_length(short: u8, rest: &mut &[u8]) -> Result<Option<u64>, Violation> {
    let (length, least) = match short {
        126 => (rest.try_get_u16().map(u64::from), 126),
        127 => (rest.try_get_u64(), 1 << 16),
        short => (Ok(u64::from(short)), 0),
    };
    match length {
        Err(_) => Ok(None),
        // "The minimal number of bytes MUST be used", and "the most significant bit MUST be 0".
        Ok(length) if length < least || length >> 63 != 0 => Err(Violation::InvalidLength),
        Ok(length) => Ok(Some(length)),
    }
}

/// Section 5.5.1: nothing, or a code and a reason.
fn close(mut payload: &[u8]) -> Result<IncomingMessage, Violation> {
    if payload.is_empty() {
        return Ok(IncomingMessage::Close(None, String::new()));
    }
    let number = payload.try_get_u16().map_err(|_short| Violation::HalfCloseCode)?;
    let code = CloseCode::new(number).ok_or(Violation::InvalidCloseCode(number))?;
    let reason = std::str::from_utf8(payload).map_err(|_error| Violation::InvalidUtf8)?;
    Ok(IncomingMessage::Close(Some(code), reason.to_owned()))
}

#[derive(Debug)]
struct Message {
    data: Data,
    is_compressed: bool,
    fragments: usize,
    /// Bytes of all frames that have started.
    announced: usize,
    /// Bytes as they came, for the ratio of compression.
    received: usize,
}

#[derive(Debug)]
enum Data {
    Text(Utf8Text),
    Binary(BytesMut),
}

impl Message {
    fn new(data: Data, is_compressed: bool) -> Self {
        Self { data, is_compressed, fragments: 0, announced: 0, received: 0 }
    }

    /// Takes in what was decompressed: real texts never exceed [`MOST_RATIO`] times their
    /// compressed size.
    fn append_inflated(&mut self, bytes: &[u8], limit: usize) -> Result<(), Violation> {
        self.append(bytes, limit)?;
        if self.len() > FREE_OF_RATIO && self.len() > self.received.saturating_mul(MOST_RATIO) {
            return Err(Violation::Inflated { ratio: MOST_RATIO });
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match &self.data {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }

    /// Bytes within the limit are checked and those beyond it are not, so the first wrong byte
    /// decides, however the bytes were split.
    fn append(&mut self, bytes: &[u8], limit: usize) -> Result<(), Violation> {
        let within = &bytes[..bytes.len().min(limit.saturating_sub(self.len()))];
        match &mut self.data {
            Data::Text(text) => text.push(within)?,
            Data::Binary(binary) => binary.extend_from_slice(within),
        }
        if within.len() < bytes.len() { Err(Violation::MessageTooLarge { limit }) } else { Ok(()) }
    }

    fn finish(self) -> Result<IncomingMessage, Violation> {
        match self.data {
            Data::Text(text) => Ok(IncomingMessage::Text(text.finish()?)),
            Data::Binary(bytes) => Ok(IncomingMessage::Binary(bytes.freeze())),
        }
    }
}
