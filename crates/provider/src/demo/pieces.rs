//! Splits text into pieces like a tokenizer: a word with the space before it, or one or two Chinese
//! characters.

/// A longer word is split into several pieces, like rare words.
const MAX_WORD_BYTES: usize = 12;

/// Whether `character` belongs to a script without spaces.
pub(super) fn is_cjk(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}')
}

/// The pieces of a text; joined, they are the text.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    text: String,
    start: usize,
    count: usize,
}

impl Pieces {
    /// Splits `text`.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), start: 0, count: 0 }
    }
}

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let rest = self.text.get(self.start..).filter(|rest| !rest.is_empty())?;
        // One character or two, alternating: deterministic, and both occur.
        let piece = &rest[..piece_length(rest, 1 + self.count % 2)];
        self.start += piece.len();
        self.count += 1;
        Some(piece.to_owned())
    }
}

/// The length of the first piece in bytes; at least one character.
fn piece_length(rest: &str, cjk_characters: usize) -> usize {
    let Some(first) = rest.chars().next() else { return 0 };
    if first.is_whitespace() {
        let word = rest.trim_start_matches(|character: char| character.is_whitespace());
        let space = rest.len() - word.len();
        // A single space belongs to the word after it; line breaks and indentation are separate
        // pieces.
        let is_word =
            first == ' ' && space == 1 && word.chars().next().is_some_and(is_word_character);
        return if is_word { space + word_length(word) } else { space };
    }
    if is_cjk(first) {
        return rest
            .chars()
            .take(cjk_characters)
            .take_while(|character| is_cjk(*character))
            .map(char::len_utf8)
            .sum();
    }
    if is_word_character(first) { word_length(rest) } else { first.len_utf8() }
}

fn is_word_character(character: char) -> bool {
    (character.is_alphanumeric() || character == '_') && !is_cjk(character)
}

fn word_length(word: &str) -> usize {
    let end = |(index, character): &(usize, char)| {
        !is_word_character(*character) || *index >= MAX_WORD_BYTES
    };
    word.char_indices().find(end).map_or(word.len(), |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(Pieces::new(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn pieces_look_like_tokens() {
        check("", &[]);
        check(
            "Hello, dear world!\n\n- a",
            &["Hello", ",", " dear", " world", "!", "\n\n", "-", " a"],
        );
        check("你好世界,once", &["你", "好世", "界", ",", "once"]);
        check("internationalisation", &["internationa", "lisation"]);
    }

    proptest! {
        #[test]
        fn joined_they_are_the_text(text in "(\\PC|[ \\n你好é]){0,200}") {
            prop_assert_eq!(Pieces::new(text.clone()).collect::<String>(), text.clone());
            prop_assert!(Pieces::new(text).all(|piece| !piece.is_empty()));
        }
    }
}
