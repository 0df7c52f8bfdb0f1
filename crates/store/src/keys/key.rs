//! A listed key and its permissions.

use engine::secret::Secret;

/// A key as it is listed, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The id of the key; it owns what is created with the key.
    pub id: String,
    /// The name given at creation; may be empty.
    pub name: String,
    /// Its permissions.
    pub role: KeyRole,
    /// When it was created, in seconds since 1970.
    pub created_at: u64,
}

/// The permissions of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// Use models.
    User,
    /// Use models and administer the server.
    Admin,
}

/// A new key, with the only copy of its secret.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The key as it is listed.
    pub key: Key,
    /// The secret that callers present: `wk_` and 64 hexadecimal digits.
    pub secret: Secret,
    /// Whether it is the only key: from now on callers need one.
    pub first: bool,
}
