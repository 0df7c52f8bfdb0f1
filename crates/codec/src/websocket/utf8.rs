//! Validates text in pieces: an invalid byte is found when it is read, not at the message's end.

use std::str::from_utf8;

use super::Violation;

/// The text so far, and the bytes of an incomplete character.
#[derive(Debug, Default)]
pub(super) struct Utf8Text {
    whole: String,
    partial: [u8; 4],
    partial_bytes: usize,
}

impl Utf8Text {
    /// The number of bytes so far.
    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.partial_bytes
    }

    /// Takes the next bytes. The error is at the first byte after which no UTF-8 can follow
    /// (Unicode, table 3-7).
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while self.partial_bytes > 0 {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            self.partial[self.partial_bytes] = *first;
            self.partial_bytes += 1;
            bytes = rest;
            match from_utf8(&self.partial[..self.partial_bytes]) {
                Ok(character) => {
                    self.whole.push_str(character);
                    self.partial_bytes = 0;
                }
                // An incomplete character has at most three bytes, so there is room for a fourth.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Violation::InvalidUtf8),
            }
        }
        let Err(error) = from_utf8(bytes).map(|text| self.whole.push_str(text)) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(Violation::InvalidUtf8);
        }
        let (whole, partial) = bytes.split_at(error.valid_up_to());
        self.whole.push_str(from_utf8(whole).unwrap_or_default());
        self.partial[..partial.len()].copy_from_slice(partial);
        self.partial_bytes = partial.len();
        Ok(())
    }

    /// The text, if its last character is complete.
    pub(super) fn finish(self) -> Result<String, Violation> {
        if self.partial_bytes == 0 { Ok(self.whole) } else { Err(Violation::InvalidUtf8) }
    }
}
