//! WebSocket (RFC 6455) and permessage-deflate (RFC 7692): the types of the protocol, and its
//! violations.

pub mod decode;
pub mod deflate;
pub mod encode;
pub mod handshake;
pub mod text;

mod utf8;

/// An empty ping: the heartbeat of a socket. Browsers respond to it by themselves.
pub const HEARTBEAT: &[u8] = &[0x89, 0x00];

/// Section 5.5: the longest payload of a control frame, in bytes.
pub const LONGEST_CONTROL: usize = 125;

/// The end of the connection that decodes: clients mask what they send, servers must not (section
/// 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketRole {
    /// We read what a client sends.
    Server,
    /// We read what a server sends.
    Client,
}

/// The type of a frame (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A frame after a message's first.
    Continuation = 0x0,
    /// A message of UTF-8, or the first part of one.
    Text = 0x1,
    /// A message of bytes, or the first part of one.
    Binary = 0x2,
    /// The last frame of its sender.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// The response to a ping, or unsolicited.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of these four bits, unless they are reserved.
    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether it may stand between the frames of a message (section 5.5).
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Why a connection ends, as in a close frame (section 7.4, and IANA's registry for those after
/// 1011).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// Everything was sent.
    pub const NORMAL: Self = Self(1000);
    /// The server shuts down, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// The peer sent a kind of data that is not understood here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The peer sent data that does not fit its kind: text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// The peer violated a policy.
    pub const POLICY: Self = Self(1008);
    /// The peer sent more than is read here.
    pub const TOO_LARGE: Self = Self(1009);
    /// Something failed here.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts: the client should reconnect.
    pub const RESTART: Self = Self(1012);
    /// The server is overloaded: the client should reconnect later.
    pub const TRY_AGAIN: Self = Self(1013);

    /// The code of this number, unless it must not be on the wire: 1005, 1006 and 1015 are for
    /// interfaces only, 1004 has no meaning, and below 3000 only what is registered may be used
    /// (section 7.4.2).
    pub fn new(number: u16) -> Option<Self> {
        matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// A violation of the protocol by the peer. The connection is failed with [`Self::close_code`], and
/// nothing more is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set whose meaning was not agreed upon, or that has none in this frame
    /// (section 5.2).
    #[error("a reserved bit is set")]
    ReservedBit,
    /// A reserved opcode (section 5.2).
    #[error("the opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A client did not mask a frame (section 5.1).
    #[error("a frame from a client is not masked")]
    Unmasked,
    /// A server masked a frame (section 5.1).
    #[error("a frame from a server is masked")]
    Masked,
    /// A control frame that is not the last of its message (section 5.5).
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame of more than 125 bytes (section 5.5).
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// A length that is not in its shortest form, or that has its highest bit set (section 5.2).
    #[error("a frame's length is not written as it must be")]
    InvalidLength,
    /// A continuation frame outside a message (section 5.4).
    #[error("a continuation continues nothing")]
    UnexpectedContinuation,
    /// A new message before the end of the last one (section 5.4).
    #[error("a message starts before the last one has ended")]
    UnfinishedMessage,
    /// A close frame with a payload of one byte, which is no code (section 5.5.1).
    #[error("a close frame holds half a code")]
    HalfCloseCode,
    /// A code that must not be on the wire (section 7.4).
    #[error("the close code {0} is not allowed")]
    InvalidCloseCode(u16),
    /// Text, or the reason of a close, that is not UTF-8 (section 8.1).
    #[error("a text is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that cannot be decompressed (RFC 7692, section 7.2.2).
    #[error("a compressed message cannot be decompressed")]
    InvalidDeflate,
    /// A frame over the limit.
    #[error("a frame is larger than {limit} bytes")]
    FrameTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A message over the limit, after decompression.
    #[error("a message is larger than {limit} bytes")]
    MessageTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A message in too many frames.
    #[error("a message has more than {limit} fragments")]
    TooManyFragments {
        /// The limit.
        limit: usize,
    },
    /// A compressed message that becomes far larger than what came.
    #[error("a message is compressed to less than 1/{ratio} of its size")]
    Inflated {
        /// The limit.
        ratio: usize,
    },
}

impl Violation {
    /// The code for the close frame (section 7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBit
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::InvalidLength
            | Self::UnexpectedContinuation
            | Self::UnfinishedMessage
            | Self::HalfCloseCode
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL,
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_DATA,
            Self::FrameTooLarge { .. } | Self::MessageTooLarge { .. } | Self::Inflated { .. } => {
                CloseCode::TOO_LARGE
            }
            Self::TooManyFragments { .. } => CloseCode::POLICY,
        }
    }
}

/// Masks or unmasks `payload` (section 5.3), whose first byte stands at `offset` in its frame.
fn apply_mask(mask: [u8; 4], offset: usize, payload: &mut [u8]) {
    let [a, b, c, d] = mask;
    let [a, b, c, d] = match offset % 4 {
        0 => [a, b, c, d],
        1 => [b, c, d, a],
        2 => [c, d, a, b],
        _ => [d, a, b, c],
    };
    let word = [a, b, c, d, a, b, c, d];
    let (words, rest) = payload.as_chunks_mut::<8>();
    for eight in words {
        *eight = (u64::from_ne_bytes(*eight) ^ u64::from_ne_bytes(word)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(word) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
