//! A frame of HTTP/2 (RFC 9113, sections 4 and 6).

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Frame {
    /// Its type.
    pub kind: Http2FrameKind,
    /// Its flags, whose meaning depends on the type.
    pub flags: u8,
    /// Which stream it is about; 0 is the connection.
    pub stream: u32,
    /// Bytes of its payload.
    pub length: u32,
    /// The fields of its payload that are not compressed.
    pub detail: Http2FrameDetail,
}

impl Http2Frame {
    /// Whether its sender ends the stream with it (sections 6.1 and 6.2).
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, Http2FrameKind::Data | Http2FrameKind::Headers) && self.flags & 0x1 != 0
    }

    /// Whether it acknowledges one of the other side (sections 6.5 and 6.7).
    pub fn is_acknowledgment(&self) -> bool {
        matches!(self.kind, Http2FrameKind::Settings | Http2FrameKind::Ping)
            && self.flags & 0x1 != 0
    }

    pub(super) fn is_padded(&self) -> bool {
        matches!(
            self.kind,
            Http2FrameKind::Data | Http2FrameKind::Headers | Http2FrameKind::PushPromise
        ) && self.flags & 0x8 != 0
    }
}

/// The types of section 6, and those of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the standard's names")]
pub enum Http2FrameKind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Other(u8),
}

impl Http2FrameKind {
    pub(super) fn new(number: u8) -> Self {
        match number {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Other(other),
        }
    }

    /// As the standard writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "DATA",
            Self::Headers => "HEADERS",
            Self::Priority => "PRIORITY",
            Self::RstStream => "RST_STREAM",
            Self::Settings => "SETTINGS",
            Self::PushPromise => "PUSH_PROMISE",
            Self::Ping => "PING",
            Self::GoAway => "GOAWAY",
            Self::WindowUpdate => "WINDOW_UPDATE",
            Self::Continuation => "CONTINUATION",
            Self::Other(_) => "extension",
        }
    }
}

/// Fields of a frame's payload that are not compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http2FrameDetail {
    /// Nothing, or not all of it was seen.
    None,
    /// Identifiers and values (section 6.5).
    Settings(Vec<(u16, u32)>),
    /// Why a stream ends (section 7).
    Reset(u32),
    /// Why a connection ends, and the last stream that was looked at (section 6.8).
    GoAway {
        /// The last stream.
        last_stream: u32,
        /// Why (section 7).
        code: u32,
    },
    /// How much more may be sent (section 6.9).
    WindowUpdate(u32),
}

/// A part of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2PayloadPart {
    /// How much padding there is.
    PadLength,
    /// Dependency and weight in HEADERS, the promised stream in PUSH_PROMISE.
    Fixed,
    /// A header block, or a part of one.
    Block,
    /// A body's bytes.
    Data,
    /// Padding.
    Padding,
    /// All of any other frame.
    Control,
}
