//! By what a caller was let in.

use engine::keys::KeyDigest;

/// A session, by the SHA-256 of its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) [u8; 32]);

/// By what a caller was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Credential {
    /// The digest of the key; `None` where the server required none.
    pub(crate) key: Option<KeyDigest>,
    /// The session that stood for it, whether itself or by a ticket.
    pub(crate) session: Option<SessionId>,
}

impl Credential {
    /// That of a server without keys.
    pub(crate) const KEYLESS: Self = Self { key: None, session: None };
}
