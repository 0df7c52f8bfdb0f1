//! The values that the opening handshake derives (RFC 6455, section 4), and the subprotocol it
//! chooses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The only version, in `Sec-WebSocket-Version` (section 4.1).
pub const VERSION: &str = "13";

/// Section 1.3: only a server that implements WebSocket appends this.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The bytes of a nonce (section 4.1).
const NONCE_BYTES: usize = 16;

/// The `Sec-WebSocket-Key` of a client; the nonce is to be random.
pub fn key(nonce: [u8; NONCE_BYTES]) -> String {
    STANDARD.encode(nonce)
}

/// Whether a `Sec-WebSocket-Key` is one: 16 bytes in base64 (section 4.2.1).
pub fn check_key(key: &str) -> bool {
    key.len() == NONCE_BYTES.div_ceil(3) * 4
        && STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == NONCE_BYTES)
}

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (section 4.2.2).
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// What precedes a key among the subprotocols: OpenAI's way for browsers, which can set no other
/// header of a handshake.
const KEY_PREFIX: &str = "openai-insecure-api-key.";

/// The key among the subprotocols that a client offers, if it sends one that way. `offers` is the
/// value of the header.
pub fn offered_key(offers: &str) -> Option<&str> {
    subprotocols(offers)
        .find_map(|name| name.strip_prefix(KEY_PREFIX))
        .filter(|key| !key.is_empty())
}

/// The subprotocol for an offer: the first that cannot be a secret. A browser fails a connection if
/// none of its offers is chosen, and what is chosen is sent back, past every proxy and its log.
pub fn choose_subprotocol(offers: &str) -> Option<&str> {
    subprotocols(offers).find(|name| !may_be_secret(name))
}

/// The names of an offer (RFC 6455, section 4.1); what is not a token of HTTP is none.
fn subprotocols(offers: &str) -> impl Iterator<Item = &str> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    offers
        .split(',')
        .map(str::trim)
        .filter(move |name| !name.is_empty() && name.bytes().all(is_letter))
}

/// Names of protocols are short; credentials are long, or contain the name of their kind.
fn may_be_secret(name: &str) -> bool {
    const LONGEST: usize = 40;
    const WORDS: [&str; 7] = ["key", "token", "bearer", "auth", "secret", "jwt", "ticket"];
    const PREFIXES: [&str; 6] =
        ["sk-", "wk_", "tk_", "ek_", "openai-organization.", "openai-project."];
    let lower = name.to_ascii_lowercase();
    name.len() > LONGEST
        || WORDS.iter().any(|word| lower.contains(word))
        || PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_accepted() {
        assert_eq!(key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_first_subprotocol_that_is_not_secret_is_chosen() {
        for (offers, chosen, key) in [
            ("", None, None),
            ("realtime", Some("realtime"), None),
            (
                "realtime, openai-insecure-api-key.wk_alice, openai-beta.realtime-v1",
                Some("realtime"),
                Some("wk_alice"),
            ),
            ("openai-insecure-api-key.wk_alice,chat", Some("chat"), Some("wk_alice")),
            ("openai-insecure-api-key.wk_alice", None, Some("wk_alice")),
            ("openai-insecure-api-key.", None, None),
            ("wk_alice, graphql-transport-ws", Some("graphql-transport-ws"), None),
            ("sk-proj-abc, base64url.bearer.authorization.k8s.io.YWJj", None, None),
            ("0123456789abcdef0123456789abcdef0123456789abcdef, v1", Some("v1"), None),
            ("two words, a/b, ok", Some("ok"), None),
        ] {
            assert_eq!(
                (choose_subprotocol(offers), offered_key(offers)),
                (chosen, key),
                "{offers}"
            );
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        assert!(check_key("dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQA=",
            "dGhlIHNhbXBsZSBub25jZTEy",
            "dGhl IHNhbXBsZSBub25jZ==",
        ] {
            assert!(!check_key(wrong), "{wrong:?}");
        }
    }
}
