//! The two values that the opening handshake derives (RFC 6455, section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The one version there is, as `Sec-WebSocket-Version` names it (section 4.1).
pub const VERSION: &str = "13";

/// Section 1.3: no server that does not know WebSocket would append this.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The bytes of a nonce (section 4.1).
const NONCE_BYTES: usize = 16;

/// The `Sec-WebSocket-Key` of a client; the nonce is to be random.
pub fn key(nonce: [u8; NONCE_BYTES]) -> String {
    STANDARD.encode(nonce)
}

/// Whether a `Sec-WebSocket-Key` is one: 16 bytes in base64 (section 4.2.1).
pub fn check_key(key: &str) -> bool {
    key.len() == NONCE_BYTES.div_ceil(3) * 4 && STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == NONCE_BYTES)
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (section 4.2.2).
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_is_accepted_as_it_says() {
        assert_eq!(key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        assert!(check_key("dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25jZTEy", "dGhl IHNhbXBsZSBub25jZ=="] {
            assert!(!check_key(wrong), "{wrong:?}");
        }
    }
}
