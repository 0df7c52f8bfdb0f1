//! Sequence numbers that do not wrap (RFC 9293, section 3.4): 64 bits, counted from the initial
//! one.

/// The relative number of the 32-bit `number`, which lies within 2^31 of the relative number
/// `near`. `initial` is the number that counts as 0. A number before it is `None`.
pub(super) fn relative(initial: u32, near: u64, number: u32) -> Option<u64> {
    let near_absolute = initial.wrapping_add(wrapped(near));
    let distance = number.wrapping_sub(near_absolute).cast_signed();
    near.checked_add_signed(i64::from(distance))
}

/// A number as 32 bits hold it.
#[expect(clippy::cast_possible_truncation, reason = "numbers wrap: that is what it is for")]
pub(super) fn wrapped(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_32_bits_end() {
        assert_eq!(relative(u32::MAX, 0, u32::MAX), Some(0));
        assert_eq!(relative(u32::MAX, 0, 4), Some(5));
        assert_eq!(relative(1000, 1 << 33, 1007), Some((1 << 33) + 7));
        assert_eq!(relative(1000, 1 << 33, 993), Some((1 << 33) - 7));
        assert_eq!(relative(1000, 0, 999), None);
    }
}
