//! The Internet checksum (RFC 1071).

/// Whether a checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is.
    Right,
    /// It is not: the bytes were changed on their way.
    Wrong,
    /// The sender's kernel left it to the network card, and the packet was seen before the card did
    /// it.
    Offloaded,
    /// There is none, or not all the bytes that it is of were captured.
    Unknown,
}

/// The one's complement of the one's complement sum. Over bytes that hold their own checksum it
/// is 0. All parts but the last must be of even length.
pub fn sum(parts: &[&[u8]]) -> u16 {
    !fold(parts.iter().map(|part| add(part)).sum())
}

pub(super) fn add(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let sum: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    sum + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

pub(super) fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum & 0xFFFF) + (sum >> 16),
        }
    }
}
