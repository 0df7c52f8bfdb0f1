//! Recognises a text that only repeats what came before it, as some relays send one at the end of a stream.

/// What came so far: how many pieces, and their length and hash (FNV-1a) in place of a copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct SoFar {
    pieces: usize,
    bytes: usize,
    hash: u64,
}

impl Default for SoFar {
    fn default() -> Self {
        Self { pieces: 0, bytes: 0, hash: OFFSET }
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn hash(start: u64, text: &str) -> u64 {
    text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl SoFar {
    /// Takes a piece in.
    pub(super) fn add(&mut self, piece: &str) {
        if !piece.is_empty() {
            (self.pieces, self.bytes, self.hash) = (self.pieces + 1, self.bytes + piece.len(), hash(self.hash, piece));
        }
    }

    /// Whether nothing came.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces == 0
    }

    /// Whether `text` is all that came so far.
    pub(super) fn is_all(&self, text: &str) -> bool {
        self.bytes == text.len() && self.pieces > 0 && self.hash == hash(OFFSET, text)
    }

    /// Whether `text`, which came with the end of the stream, repeats it. A model may well say the same word twice, so one piece
    /// before it is too few to tell.
    pub(super) fn is_summary(&self, text: &str) -> bool {
        self.pieces > 1 && self.is_all(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_of_it_is_a_summary() {
        let mut so_far = SoFar::default();
        for piece in ["Hel", "", "lo"] {
            so_far.add(piece);
        }
        assert!(so_far.is_summary("Hello") && !so_far.is_summary("Hallo") && !so_far.is_summary("lo") && !so_far.is_summary(""));
        let mut once = SoFar::default();
        once.add("ha");
        assert!(once.is_all("ha") && !once.is_summary("ha"), "\"haha\" is a laugh");
    }
}
