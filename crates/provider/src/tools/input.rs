//! Extracts a custom tool's input text from the arguments of the function that replaces the tool,
//! incrementally.

use serde_json::Value;

/// The name of the function's only parameter.
const KEY: &str = "input";

/// An incremental parser of `{"input":"…"}`. Other forms are accepted where they make sense:
/// another object with a single string, a bare JSON string, or plain text.
#[derive(Debug, Default)]
pub(super) struct InputText {
    state: State,
    held: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// The object's start is incomplete.
    #[default]
    Start,
    /// Inside the text; `held` is an incomplete escape.
    Text,
    /// After the text.
    Over,
    /// Another form, which can only be interpreted when it is complete.
    Document,
    /// Plain text.
    Plain,
}

impl InputText {
    /// Adds arguments; returns the next piece of text.
    pub(super) fn push(&mut self, arguments: &str) -> String {
        match self.state {
            State::Over => String::new(),
            State::Plain => arguments.to_owned(),
            State::Document => {
                self.held.push_str(arguments);
                String::new()
            }
            State::Text => self.text(arguments),
            State::Start => {
                self.held.push_str(arguments);
                self.start()
            }
        }
    }

    /// Ends the arguments; returns the rest of the text.
    pub(super) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Start | State::Document => whole(&held),
            State::Text | State::Over | State::Plain => String::new(),
        }
    }

    fn start(&mut self) -> String {
        let Some(first) = self.held.trim_start().chars().next() else { return String::new() };
        match first {
            '{' => match after_key(&self.held) {
                Prefix::Incomplete => String::new(),
                Prefix::Other => {
                    self.state = State::Document;
                    String::new()
                }
                Prefix::Complete(length) => {
                    self.state = State::Text;
                    let rest = std::mem::take(&mut self.held).split_off(length);
                    self.text(&rest)
                }
            },
            '"' => {
                self.state = State::Document;
                String::new()
            }
            _ => {
                self.state = State::Plain;
                std::mem::take(&mut self.held)
            }
        }
    }

    /// Unescapes text up to the closing quote (RFC 8259 §7).
    fn text(&mut self, more: &str) -> String {
        let joined = std::mem::take(&mut self.held) + more;
        let mut text = String::with_capacity(joined.len());
        let mut rest = joined.as_str();
        while let Some(end) = rest.find(['"', '\\']) {
            text.push_str(&rest[..end]);
            rest = &rest[end..];
            if rest.starts_with('"') {
                self.state = State::Over;
                return text;
            }
            let Some((character, length)) = unescape(rest) else {
                // The rest arrives with the next piece.
                rest.clone_into(&mut self.held);
                return text;
            };
            text.push(character);
            rest = &rest[length..];
        }
        text.push_str(rest);
        text
    }
}

/// Whether a text matches the start of `{"input":"`.
enum Prefix {
    Incomplete,
    Other,
    /// It matches; its length in bytes.
    Complete(usize),
}

fn after_key(text: &str) -> Prefix {
    let mut rest = text;
    for token in ["{", "\"", KEY, "\"", ":", "\""] {
        // White space is allowed between tokens, but not in the key.
        if token != KEY {
            rest = rest.trim_start();
        }
        if let Some(after) = rest.strip_prefix(token) {
            rest = after;
        } else if token.starts_with(rest) {
            return Prefix::Incomplete;
        } else {
            return Prefix::Other;
        }
    }
    Prefix::Complete(text.len() - rest.len())
}

/// The character and length of the escape at the start of `text`; `None` if it is incomplete.
fn unescape(text: &str) -> Option<(char, usize)> {
    let kind = text.chars().nth(1)?;
    let character = match kind {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => return unescape_unicode(text),
        other => other,
    };
    Some((character, 1 + kind.len_utf8()))
}

fn unescape_unicode(text: &str) -> Option<(char, usize)> {
    const LONE: char = char::REPLACEMENT_CHARACTER;
    let unit = |at: usize| {
        text.get(at..at + 4).map(|digits| u32::from_str_radix(digits, 16).unwrap_or(0xFFFD))
    };
    let high = unit(2)?;
    if !(0xD800..0xDC00).contains(&high) {
        return Some((char::from_u32(high).unwrap_or(LONE), 6));
    }
    match text.as_bytes().get(6..8) {
        // The low surrogate may still arrive.
        None if text.len() < 8 && text[6..].chars().all(|character| character == '\\') => None,
        Some(b"\\u") => {
            let low = unit(8)?;
            if (0xDC00..0xE000).contains(&low) {
                return Some((
                    char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))
                        .unwrap_or(LONE),
                    12,
                ));
            }
            Some((LONE, 6))
        }
        _ => Some((LONE, 6)),
    }
}

/// The text of arguments in another form.
fn whole(arguments: &str) -> String {
    match serde_json::from_str(arguments) {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(fields)) => match (fields.get(KEY), fields.len()) {
            (Some(Value::String(text)), _) => text.clone(),
            (Some(other), _) => other.to_string(),
            (None, 0) => String::new(),
            (None, 1) => fields
                .values()
                .find_map(Value::as_str)
                .map_or_else(|| arguments.to_owned(), str::to_owned),
            (None, _) => arguments.to_owned(),
        },
        Ok(_) | Err(_) => arguments.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
        let mut input = InputText::default();
        let mut text: String = pieces.into_iter().map(|piece| input.push(piece)).collect();
        text.push_str(&input.finish());
        text
    }

    fn check(arguments: &str, expected: &str) {
        assert_eq!(read([arguments]), expected, "{arguments}");
        let characters: Vec<String> = arguments.chars().map(String::from).collect();
        assert_eq!(
            read(characters.iter().map(String::as_str)),
            expected,
            "{arguments} by characters"
        );
    }

    #[test]
    fn text_is_unescaped_incrementally() {
        check(r#"{"input":"*** Begin Patch\n+\"a\"\t\\\n"}"#, "*** Begin Patch\n+\"a\"\t\\\n");
        check(r#" { "input" : "\u4f60\ud83d\ude00\/" } "#, "你😀/");
        check(r#"{"input":"a\ud83dx"}"#, "a\u{fffd}x");
        check(r#"{"input":""}"#, "");
        assert_eq!(
            InputText::default().push("{\"input\":\"ab"),
            "ab",
            "nothing waits that need not"
        );
    }

    #[test]
    fn other_argument_forms_are_accepted() {
        check(r#"{"patch":"x\n"}"#, "x\n");
        check(r#""x\n""#, "x\n");
        check("*** Begin Patch\n", "*** Begin Patch\n");
        check(r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#);
        check(r#"{"input":{"a":1}}"#, r#"{"a":1}"#);
        check("{}", "");
        check("", "");
    }

    proptest! {
        #[test]
        fn any_text_survives_any_split(text in ".*", cuts in proptest::collection::vec(0_usize..200, 0..5)) {
            let arguments = serde_json::json!({ "input": text }).to_string();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| arguments.is_char_boundary(*cut)).collect();
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([arguments.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let pieces: Vec<&str> = starts.zip(ends).map(|(start, end)| &arguments[start..end.max(start)]).collect();
            prop_assert_eq!(read(pieces), text);
        }
    }
}
