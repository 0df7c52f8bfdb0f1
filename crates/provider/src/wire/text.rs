//! Joins characters that upstreams split between two events: surrogate pairs (UTF-16) and UTF-8
//! sequences.
//!
//! A Rust string cannot contain either half, so [`super::json`] replaces them with marks:
//! characters in private use plane 16. [`super::parsed_output`] and [`super::fault`] join or
//! replace them, so that they go no further.

use serde_json::Value;

/// The mark of a surrogate `u` is `HALF + u`.
const HALF: u32 = 0x10_0000;
/// The mark of a byte `b` is `BYTE + b`.
const BYTE: u32 = 0x10_E000;

/// The mark for a surrogate.
pub(super) fn mark_of_half(half: u32) -> char {
    char::from_u32(HALF + half).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The mark for an invalid UTF-8 byte.
pub(super) fn mark_of_byte(byte: u8) -> char {
    char::from_u32(BYTE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Whether a text may contain marks: in UTF-8 they all start with this byte, and hardly anything
/// else does.
pub(super) fn has_marks(text: &str) -> bool {
    memchr::memchr(0xF4, text.as_bytes()).is_some()
}

/// A complete text without marks.
pub(super) fn without_marks(text: String) -> String {
    let mut joiner = Joiner::default();
    let mut joined = joiner.join(text);
    joined.extend(joiner.finish());
    joined
}

/// Removes the marks from every string in a complete value.
pub(super) fn remove_marks(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_marks(std::mem::take(text)),
        Value::Array(list) => list.iter_mut().for_each(remove_marks),
        Value::Object(fields) => {
            fields.values_mut().for_each(remove_marks);
            if fields.keys().any(|name| has_marks(name)) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, value)| (without_marks(name), value))
                    .collect();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a character represents.
enum Piece {
    Character(char),
    High(u32),
    Low(u32),
    Byte(u8),
}

impl Piece {
    fn of(character: char) -> Self {
        match u32::from(character) {
            code @ 0x10_D800..=0x10_DBFF => Self::High(code - HALF),
            code @ 0x10_DC00..=0x10_DFFF => Self::Low(code - HALF),
            code @ 0x10_E080..=0x10_E0FF => {
                u8::try_from(code - BYTE).map_or(Self::Character(character), Self::Byte)
            }
            _ => Self::Character(character),
        }
    }
}

/// Joins the texts of one channel (the response, the reasoning, the arguments of one call).
#[derive(Debug, Default)]
pub(super) struct Joiner {
    high: Option<u32>,
    bytes: Vec<u8>,
}

impl Joiner {
    /// The text without marks. A possibly incomplete character waits for the next text.
    pub(super) fn join(&mut self, text: String) -> String {
        if self.is_idle() && !has_marks(&text) {
            return text;
        }
        let mut joined = String::with_capacity(text.len() + 4);
        for character in text.chars() {
            match (Piece::of(character), self.high) {
                (Piece::Low(low), Some(high)) => {
                    self.high = None;
                    let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    joined.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                (Piece::Byte(byte), None) => {
                    self.bytes.push(byte);
                    self.decode(&mut joined);
                }
                (piece, _) => {
                    self.flush(&mut joined);
                    match piece {
                        Piece::Character(character) => joined.push(character),
                        Piece::High(high) => self.high = Some(high),
                        Piece::Low(_) => joined.push(char::REPLACEMENT_CHARACTER),
                        Piece::Byte(byte) => self.bytes.push(byte),
                    }
                }
            }
        }
        joined
    }

    /// What remains at the end of the channel: its other half never arrived.
    pub(super) fn finish(&mut self) -> Option<String> {
        let mut rest = String::new();
        self.flush(&mut rest);
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether nothing is held back.
    pub(super) fn is_idle(&self) -> bool {
        self.high.is_none() && self.bytes.is_empty()
    }

    fn flush(&mut self, joined: &mut String) {
        if self.high.take().is_some() || !std::mem::take(&mut self.bytes).is_empty() {
            joined.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// Decodes the complete characters.
    fn decode(&mut self, joined: &mut String) {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => joined.push_str(text),
            // The rest may still arrive.
            Err(error) if error.error_len().is_none() => return,
            Err(_) => joined.push_str(&String::from_utf8_lossy(&self.bytes)),
        }
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins texts of one channel, with `<hhhh>` for a surrogate and `<hh>` for a byte.
    fn check(texts: &[&str], expected: &[&str], rest: Option<&str>) {
        let marked = |text: &str| {
            let mut out = String::new();
            let mut left = text;
            while let Some((before, after)) = left.split_once('<') {
                let (code, after) = after.split_once('>').unwrap();
                out.push_str(before);
                let number = u32::from_str_radix(code, 16).unwrap();
                out.push(if code.len() == 4 {
                    mark_of_half(number)
                } else {
                    mark_of_byte(u8::try_from(number).unwrap())
                });
                left = after;
            }
            out + left
        };
        let mut joiner = Joiner::default();
        let joined: Vec<String> = texts.iter().map(|text| joiner.join(marked(text))).collect();
        assert_eq!(joined, expected);
        assert_eq!(joiner.finish().as_deref(), rest);
    }

    #[test]
    fn split_characters_are_joined_across_any_split() {
        check(&["a <d83d>", "<de00> b"], &["a ", "😀 b"], None);
        check(&["<d83d><de00>"], &["😀"], None);
        check(&["<f0>", "<9f><98>", "<80>!"], &["", "", "😀!"], None);
        check(&["<e4>", "<bd>", "<a0><e5>", "<a5><bd>"], &["", "", "你", "好"], None);
    }

    #[test]
    fn an_unpaired_half_becomes_a_replacement_character() {
        check(&["a<d83d>", "b"], &["a", "\u{fffd}b"], None);
        check(&["a<de00>b"], &["a\u{fffd}b"], None);
        check(&["a<d83d>"], &["a"], Some("\u{fffd}"));
        check(&["<d83d><d83d><de00>"], &["\u{fffd}😀"], None);
        check(&["<f0><9f>x"], &["\u{fffd}x"], None);
        check(&["<ff>a<e4>"], &["\u{fffd}a"], Some("\u{fffd}"));
    }

    #[test]
    fn complete_texts_have_no_marks() {
        let (half, byte) = (mark_of_half(0xD83D), mark_of_byte(0xF0));
        let mut value = serde_json::json!({ "token": format!("a{half}"), "list": [format!("{byte}b"), 1, null], "pair": format!("{half}{}", mark_of_half(0xDE00)) });
        remove_marks(&mut value);
        assert_eq!(
            value,
            serde_json::json!({ "token": "a\u{fffd}", "list": ["\u{fffd}b", 1, null], "pair": "😀" })
        );
    }

    #[test]
    fn other_text_is_unchanged() {
        check(&["plain", "", "😀 \u{10ffff}"], &["plain", "", "😀 \u{10ffff}"], None);
    }
}
