//! Most chunks of a stream differ only in their text. What is around the text of one that was parsed
//! is compared with the next; where it is the same, only the text is read.

use memchr::memmem;

/// What may come directly before the text of a chunk that has nothing but text.
const BEFORE: [&[u8]; 4] = [
    b"\"delta\":{\"content\":\"",
    b"\"delta\": {\"content\": \"",
    b"\"delta\":{\"role\":\"assistant\",\"content\":\"",
    b"\"delta\": {\"role\": \"assistant\", \"content\": \"",
];

/// How often a stream may differ before it is left alone: some repeat the usage or a random text in
/// every chunk.
const MAX_MISSES: u8 = 4;

/// A chunk without its text.
#[derive(Debug, Default)]
pub(super) struct Template {
    /// Up to the quote before the text.
    before: Vec<u8>,
    /// From the quote after it.
    after: Vec<u8>,
    misses: u8,
}

impl Template {
    /// The text of a chunk that is equal to the learnt one but for its text. `None` if it is not,
    /// or the text is empty or not valid by itself.
    pub(super) fn text(&self, chunk: &[u8]) -> Option<String> {
        if self.after.is_empty() {
            return None;
        }
        let start = chunk.strip_prefix(self.before.as_slice())?;
        let text = start.strip_suffix(self.after.as_slice())?;
        // A quote that ends the text earlier makes this invalid JSON.
        let quoted = chunk.get(self.before.len() - 1..=self.before.len() + text.len())?;
        serde_json::from_slice(quoted).ok().filter(|text: &String| !text.is_empty())
    }

    /// Learns from a chunk of which nothing came but `text`.
    pub(super) fn learn(&mut self, chunk: &[u8], text: &str) {
        if self.misses >= MAX_MISSES {
            return;
        }
        self.misses += 1;
        let Some((start, end)) = place(chunk, text) else { return };
        (self.before, self.after) = (chunk[..start].to_vec(), chunk[end..].to_vec());
    }

    /// Has every part of the next chunk read.
    pub(super) fn forget(&mut self) {
        self.before.clear();
        self.after.clear();
    }
}

/// Where a chunk has this text, without its quotes: once, and alone in its delta.
fn place(chunk: &[u8], text: &str) -> Option<(usize, usize)> {
    let name = memmem::find(chunk, b"\"content\"")?;
    if memmem::find(&chunk[name + 1..], b"\"content\"").is_some() {
        return None;
    }
    let before = BEFORE.iter().find_map(|before| {
        let from = memmem::find(chunk, before)?;
        Some(from + before.len())
    })?;
    let mut values =
        serde_json::Deserializer::from_slice(&chunk[before - 1..]).into_iter::<String>();
    let read = values.next()?.ok()?;
    let end = before - 1 + values.byte_offset() - 1;
    // The delta ends after it.
    let is_alone = chunk[end + 1..].trim_ascii_start().starts_with(b"}");
    (read == text && is_alone).then_some((before, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str =
        r#"{"id":"x","choices":[{"index":0,"delta":{"content":"TEXT"},"finish_reason":null}]}"#;

    fn chunk(text: &str) -> Vec<u8> {
        CHUNK.replace("TEXT", text).into_bytes()
    }

    fn learnt() -> Template {
        let mut template = Template::default();
        template.learn(&chunk("a"), "a");
        template
    }

    #[test]
    fn a_chunk_that_differs_only_in_its_text_is_read() {
        for (json, text) in
            [("b", "b"), (r"\u4f60\n", "\u{4f60}\n"), (r#"\""#, "\""), ("\u{1f680}", "\u{1f680}")]
        {
            assert_eq!(learnt().text(&chunk(json)).as_deref(), Some(text), "{json}");
        }
    }

    #[test]
    fn anything_else_is_left_to_the_parser() {
        let others = [
            CHUNK.replace("TEXT", ""),
            CHUNK.replace("TEXT", r#"b","refusal":"no"#),
            CHUNK.replace("TEXT", r"\ud83d"),
            CHUNK.replace("TEXT", "b").replace("null", "\"stop\""),
            CHUNK.replace("TEXT", "b").replace("\"x\"", "\"y\""),
            CHUNK.replace(r#"{"content":"TEXT"}"#, "{}"),
            CHUNK.to_owned() + CHUNK,
        ];
        for other in others {
            assert_eq!(learnt().text(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Template::default().text(&chunk("b")), None);
    }

    #[test]
    fn only_a_delta_with_one_text_is_learnt() {
        let two = CHUNK.replace("TEXT", r#"a","content":"a"#);
        let beside = CHUNK.replace("\"TEXT\"", r#""a","refusal":null"#);
        let outside = CHUNK.replace("delta", "message");
        for other in [two, beside, outside, String::from_utf8(chunk("b")).unwrap()] {
            let mut template = Template::default();
            template.learn(other.as_bytes(), "a");
            assert_eq!(template.text(&chunk("a")), None, "{other}");
        }
    }

    #[test]
    fn a_stream_that_keeps_differing_is_left_alone() {
        let mut template = Template::default();
        for number in 0..u64::from(MAX_MISSES) {
            let other = CHUNK.replace("TEXT", "a").replace('x', &number.to_string());
            template.learn(other.as_bytes(), "a");
        }
        template.learn(&chunk("a"), "a");
        assert_eq!(template.text(&chunk("b")), None);
    }
}
