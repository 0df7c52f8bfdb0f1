//! The head of a WebSocket frame (RFC 6455, section 5.2).

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketFrameHeader {
    /// Whether its message ends with it.
    pub is_final: bool,
    /// Whether it begins a compressed message (RFC 7692, section 6).
    pub is_compressed: bool,
    /// What it is.
    pub opcode: WebSocketOpcode,
    /// Whether its payload is masked, as a client's must be.
    pub is_masked: bool,
    /// Bytes of its payload.
    pub length: u64,
    /// Why it closes, if it is a close frame that says it (section 7.4).
    pub close_code: Option<u16>,
}

/// What a frame is (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketOpcode {
    /// What follows a message's first frame.
    Continuation,
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// The last frame.
    Close,
    /// To be answered by a pong.
    Ping,
    /// The answer to a ping.
    Pong,
    /// Without meaning.
    Reserved(u8),
}

impl WebSocketOpcode {
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            other => Self::Reserved(other),
        }
    }

    /// Its name, as the standard writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Reserved(_) => "reserved",
        }
    }
}
