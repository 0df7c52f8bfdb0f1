//! New ids: a prefix and 128 random bits, so that they cannot be guessed; and trace ids, which have
//! no prefix.

use protocol::id::{ItemId, ResponseId};

/// A new response id.
pub(crate) fn response() -> ResponseId {
    ResponseId::new(random("resp"))
}

/// A new item id under `prefix`.
pub(crate) fn item(prefix: &str) -> ItemId {
    ItemId::new(random(prefix))
}

/// Random bits.
pub(crate) fn bits<const N: usize>() -> [u8; N] {
    let mut bits = [0_u8; N];
    if getrandom::fill(&mut bits).is_err() {
        // Without randomness ids could be guessed and other callers' responses read.
        tracing::error!("the operating system provides no random bytes; aborting");
        std::process::abort();
    }
    bits
}

fn random(prefix: &str) -> String {
    let mut text = String::with_capacity(prefix.len() + 33);
    text.push_str(prefix);
    text.push('_');
    for byte in bits::<16>() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}
