//! What a decoder hides: the encoding of a body, checked byte by byte.

/// Checks the bytes of a body, in pieces of any size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteScan {
    /// Whether the body starts with a byte order mark.
    pub has_byte_order_mark: bool,
    /// Whether the bytes are not UTF-8.
    pub is_not_utf8: bool,
    /// Whether a NUL occurs.
    pub has_nul: bool,
    /// How often a read ended inside of a character.
    pub split_characters: usize,
    /// The bytes of a character that a read has split.
    rest: Vec<u8>,
    length: u64,
}

impl ByteScan {
    /// Takes the bytes of one read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.length < 3 {
            let start: Vec<u8> = self.rest.iter().chain(bytes).copied().take(3).collect();
            self.has_byte_order_mark = start == b"\xEF\xBB\xBF";
        }
        self.length += bytes.len() as u64;
        self.has_nul |= bytes.contains(&0);
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(bytes);
        if let Err(error) = std::str::from_utf8(&text) {
            if error.error_len().is_some() {
                self.is_not_utf8 = true;
            } else {
                self.split_characters += 1;
                self.rest = text.split_off(error.valid_up_to());
            }
        }
    }

    /// Whether the body ends inside of a character.
    pub fn ends_inside_character(&self) -> bool {
        !self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> ByteScan {
        let mut scan = ByteScan::default();
        for piece in pieces {
            scan.push(piece);
        }
        scan
    }

    #[test]
    fn characters_may_be_split() {
        let split = scan(&[b"data: \xE4\xBD", b"\xA0\n\n"]);
        assert!(!split.is_not_utf8 && split.split_characters == 1);
        assert!(!split.ends_inside_character());
        assert!(scan(&[b"\xE4\xBD"]).ends_inside_character());
        assert!(scan(&[b"\xFF\n"]).is_not_utf8);
    }

    #[test]
    fn marks_and_zeros_are_seen() {
        assert!(scan(&[b"\xEF", b"\xBB\xBFdata: 1\n\n"]).has_byte_order_mark);
        assert!(scan(&[b"a\0b"]).has_nul);
    }
}
