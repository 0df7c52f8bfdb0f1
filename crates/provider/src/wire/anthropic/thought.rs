//! The prefixes by which thoughts of this API are known again in `encrypted_content`.

/// What the `encrypted_content` of a thought begins with; behind it is the signature of the thoughts in the item.
pub(super) const SIGNATURE: &str = "anthropic.signature.";

/// The same for thoughts of which nothing is shown; behind it are the thoughts.
pub(super) const REDACTED: &str = "anthropic.redacted.";
