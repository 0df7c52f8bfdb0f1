//! Keys typed while a response arrives: they become the start of the next line, except for `/stop`.

/// Text without escape sequences.
#[derive(Debug, Default)]
pub(super) struct PlainText {
    text: String,
    /// The bytes of an incomplete character or escape sequence.
    open: Vec<u8>,
}

impl PlainText {
    /// Adds typed bytes; returns whether they contain `/stop` or Ctrl-C.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let mut is_stop = false;
        for byte in bytes {
            self.open.push(*byte);
            if self.open[0] == 0x1b {
                // A sequence ends with a letter or `~`; its second byte may be `[` or `O` (ECMA-48,
                // §5.4).
                if self.open.len() > 2 && (byte.is_ascii_alphabetic() || *byte == b'~')
                    || self.open.len() == 2 && !b"[O".contains(byte)
                {
                    self.open.clear();
                }
                continue;
            }
            match std::str::from_utf8(&self.open) {
                Ok("\n" | "\r") => {
                    is_stop |= self.text.trim() == "/stop";
                    if is_stop {
                        self.text.clear();
                    }
                }
                // Ctrl-C that was pressed before the terminal turned it into a signal.
                Ok("\u{3}") => is_stop = true,
                Ok("\u{7f}" | "\u{8}") => drop(self.text.pop()),
                Ok("\u{15}") => self.text.clear(),
                Ok(text) => {
                    self.text.extend(text.chars().filter(|character| !character.is_control()));
                }
                Err(error) if error.error_len().is_none() && self.open.len() < 4 => continue,
                Err(_) => {}
            }
            self.open.clear();
        }
        is_stop
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], expected: &str, is_stop: bool) {
        let mut typed = PlainText::default();
        let stops = pieces.iter().filter(|piece| typed.push(piece)).count() > 0;
        assert_eq!((typed.text(), stops), (expected, is_stop), "{pieces:?}");
    }

    #[test]
    fn keys() {
        check(&[b"hello"], "hello", false);
        check(&[b"/sto", b"p\n"], "", true);
        check(&[b"/stopp\x7f\r"], "", true);
        check(&["一二".as_bytes(), b"\x7f"], "一", false);
        check(&["一".as_bytes().get(..2).unwrap_or_default(), &"一".as_bytes()[2..]], "一", false);
        check(&[b"a\x1b[Ab\x1b[3~c\x1bOPd\x1bxe"], "abcde", false);
        check(&[b"a\n"], "a", false);
        check(&[b"ab\x03"], "ab", true);
        check(&[b"abc\x15d\xff\xff\xffe"], "de", false);
    }
}
