//! Recognises a text that repeats what was streamed before, as some relays send at the end of a
//! stream, and finds what it adds.

use super::text::{Joiner, has_marks};

/// The text so far: its number of pieces, and its length and hash (FNV-1a) instead of a copy.
#[derive(Debug)]
pub(super) struct SoFar {
    pieces: usize,
    bytes: usize,
    hash: u64,
    /// A repeated text contains split surrogate pairs joined.
    joiner: Joiner,
}

impl Default for SoFar {
    fn default() -> Self {
        Self { pieces: 0, bytes: 0, hash: OFFSET, joiner: Joiner::default() }
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn hash(start: u64, text: &str) -> u64 {
    text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl SoFar {
    /// Adds a piece.
    pub(super) fn add(&mut self, piece: &str) {
        if piece.is_empty() {
            return;
        }
        self.pieces += 1;
        if self.joiner.is_idle() && !has_marks(piece) {
            (self.bytes, self.hash) = (self.bytes + piece.len(), hash(self.hash, piece));
        } else {
            let joined = self.joiner.join(piece.to_owned());
            (self.bytes, self.hash) = (self.bytes + joined.len(), hash(self.hash, &joined));
        }
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces == 0
    }

    /// The rest of `whole`, if it starts with the text so far.
    pub(super) fn rest<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let (before, rest) = whole.split_at_checked(self.bytes)?;
        (self.hash == hash(OFFSET, before)).then_some(rest)
    }

    /// Whether `text` equals the text so far.
    pub(super) fn is_all(&self, text: &str) -> bool {
        self.bytes == text.len() && self.pieces > 0 && self.hash == hash(OFFSET, text)
    }

    /// Whether `text`, from the end of the stream, repeats it. A model may repeat a word, so after
    /// a single piece it is not considered a repetition.
    pub(super) fn is_summary(&self, text: &str) -> bool {
        self.pieces > 1 && self.is_all(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::mark_of_half;
    use super::*;

    #[test]
    fn only_the_complete_text_is_a_summary() {
        let mut so_far = SoFar::default();
        for piece in ["Hel", "", "lo"] {
            so_far.add(piece);
        }
        assert!(
            so_far.is_summary("Hello")
                && !so_far.is_summary("Hallo")
                && !so_far.is_summary("lo")
                && !so_far.is_summary("")
        );
        let mut once = SoFar::default();
        once.add("ha");
        assert!(once.is_all("ha") && !once.is_summary("ha"), "\"haha\" is a laugh");
    }

    #[test]
    fn the_rest_is_what_a_complete_text_adds() {
        let mut so_far = SoFar::default();
        assert_eq!(so_far.rest("Hello"), Some("Hello"));
        so_far.add("Hé");
        assert_eq!(
            (so_far.rest("Héllo"), so_far.rest("Hé"), so_far.rest("H"), so_far.rest("Hallo")),
            (Some("llo"), Some(""), None, None)
        );
        // The length so far is not on a character boundary.
        assert_eq!(so_far.rest("ab你"), None);
        let mut halves = SoFar::default();
        halves.add(&format!("a{}", mark_of_half(0xD83D)));
        halves.add(&format!("{}b", mark_of_half(0xDE00)));
        assert_eq!(halves.rest("a😀bc"), Some("c"));
    }
}
