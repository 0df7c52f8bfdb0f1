//! The credential by which a caller was authenticated.

use engine::keys::KeyDigest;

/// A session, by the SHA-256 of its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) [u8; 32]);

/// The credential by which a caller was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Credential {
    /// The digest of the key; `None` where the server required none.
    pub(crate) key: Option<KeyDigest>,
    /// The session that was used for it, directly or through a ticket.
    pub(crate) session: Option<SessionId>,
}

impl Credential {
    /// The credential of callers of a server without keys.
    pub(crate) const KEYLESS: Self = Self { key: None, session: None };
}
