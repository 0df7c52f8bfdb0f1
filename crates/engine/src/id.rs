//! Makes ids: 128 random bits behind a prefix, so that none can be guessed; and those of traces, which are bits only.

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
        // Without a source of randomness ids could be guessed and another caller's answer read: there is no way to go on.
        tracing::error!("the operating system gives no random bytes");
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
