//! The prefixes by which thoughts of this API are known again in `encrypted_content`.

/// Prefix of `encrypted_content` for the signature of visible reasoning.
pub(super) const SIGNATURE: &str = "anthropic.signature.";

/// Prefix of `encrypted_content` for redacted reasoning.
pub(super) const REDACTED: &str = "anthropic.redacted.";
