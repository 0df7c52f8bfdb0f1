//! A key as it is listed, and what it may do.

use engine::secret::Secret;

/// A key as it is listed. Its secret is not known to anybody but its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id, which owns what is made with it.
    pub id: String,
    /// What its maker called it; may be empty.
    pub name: String,
    /// What it may do.
    pub role: KeyRole,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// Talk to models.
    User,
    /// That, and look after the server.
    Admin,
}

/// A key just made, with the only copy of its secret.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The key as it will be listed.
    pub key: Key,
    /// What its holder presents: `wk_` and 64 hexadecimal digits.
    pub secret: Secret,
    /// Whether it is the only one: from now on callers need a key.
    pub first: bool,
}
