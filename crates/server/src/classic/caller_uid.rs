//! The owner of a conversation of the classic API.

use protocol::id::Owner;

/// A uid of a caller. The uid is no secret, and two callers may have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallerUid {
    pub(crate) owner: Owner,
    pub(crate) uid: String,
}
