//! A record of TLS (RFC 8446, section 5.1), as far as it can be read without keys.

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRecord {
    /// What it says it is; from TLS 1.3 on, what is encrypted says it is application data.
    pub content: TlsContentType,
    /// The version in its head, which is a legacy: `0x0303` for both TLS 1.2 and 1.3.
    pub version: u16,
    /// Bytes after its header.
    pub length: u16,
    /// The first message of a handshake that is readable.
    pub hello: Option<TlsHello>,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsContentType {
    /// Sent for compatibility with middleboxes (RFC 8446, appendix D.4).
    ChangeCipherSpec,
    /// An alert: a fault, or the end.
    Alert,
    /// The handshake.
    Handshake,
    /// Anything that is encrypted.
    ApplicationData,
}

impl TlsContentType {
    pub(super) fn new(number: u8) -> Option<Self> {
        match number {
            20 => Some(Self::ChangeCipherSpec),
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::ApplicationData),
            _ => None,
        }
    }

    /// As the standard writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChangeCipherSpec => "change_cipher_spec",
            Self::Alert => "alert",
            Self::Handshake => "handshake",
            Self::ApplicationData => "application_data",
        }
    }
}

/// A hello (RFC 8446, sections 4.1.2 and 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsHello {
    /// Whether the client sent it.
    pub is_client: bool,
    /// The server's choice of a version, or the client's highest offer.
    pub version: u16,
    /// Which server the client wants (RFC 6066, section 3).
    pub server_name: Option<String>,
    /// Protocols offered by ALPN (RFC 7301); a server's choice is encrypted from TLS 1.3 on.
    pub application_protocols: Vec<String>,
    /// Whether a former session is offered, or taken up (`pre_shared_key`; a ticket in TLS 1.2's
    /// client hello).
    pub resumes: bool,
    /// Whether the server asks for another client hello (RFC 8446, section 4.1.4).
    pub is_retry: bool,
}
