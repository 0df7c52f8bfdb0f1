//! Takes the text of a custom tool out of the arguments of the function that stands in for it, as they come.

use serde_json::Value;

/// The name of the function's one argument.
const KEY: &str = "input";

/// A push parser of `{"input":"…"}`. What is not of this form is taken as far as it makes sense: another object with a single
/// text, a bare JSON string, or plain text.
#[derive(Debug, Default)]
pub(super) struct InputText {
    state: State,
    held: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// The start of the object is not complete.
    #[default]
    Start,
    /// In the text; `held` is an escape that is not complete.
    Text,
    /// The text is over.
    Over,
    /// Something else that can only be understood when all of it is there.
    Document,
    /// Plain text.
    Plain,
}

impl InputText {
    /// Takes more of the arguments. Gives more of the text.
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

    /// The end of the arguments. Gives the rest of the text.
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

    /// Unescapes a text up to its closing quote (RFC 8259 §7).
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
                // Its rest comes next.
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

/// How far something is the start of `{"input":"`.
enum Prefix {
    Incomplete,
    Other,
    /// So many bytes.
    Complete(usize),
}

fn after_key(text: &str) -> Prefix {
    let mut rest = text;
    for token in ["{", "\"", KEY, "\"", ":", "\""] {
        // White space may stand between tokens, but not in the key.
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

/// The character of the escape at the start of `text`, and its length. `None` where it is not complete.
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
    let unit = |at: usize| text.get(at..at + 4).map(|digits| u32::from_str_radix(digits, 16).unwrap_or(0xFFFD));
    let high = unit(2)?;
    if !(0xD800..0xDC00).contains(&high) {
        return Some((char::from_u32(high).unwrap_or(LONE), 6));
    }
    match text.as_bytes().get(6..8) {
        // The second half may be about to come.
        None if text.len() < 8 && text[6..].chars().all(|character| character == '\\') => None,
        Some(b"\\u") => {
            let low = unit(8)?;
            if (0xDC00..0xE000).contains(&low) {
                return Some((char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)).unwrap_or(LONE), 12));
            }
            Some((LONE, 6))
        }
        _ => Some((LONE, 6)),
    }
}

/// The text in arguments of another form.
fn whole(arguments: &str) -> String {
    match serde_json::from_str(arguments) {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(fields)) => match (fields.get(KEY), fields.len()) {
            (Some(Value::String(text)), _) => text.clone(),
            (Some(other), _) => other.to_string(),
            (None, 0) => String::new(),
            (None, 1) => fields.values().find_map(Value::as_str).map_or_else(|| arguments.to_owned(), str::to_owned),
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
        assert_eq!(read(characters.iter().map(String::as_str)), expected, "{arguments} by characters");
    }

    #[test]
    fn the_text_is_unescaped_as_it_comes() {
        check(r#"{"input":"*** Begin Patch\n+\"a\"\t\\\n"}"#, "*** Begin Patch\n+\"a\"\t\\\n");
        check(r#" { "input" : "\u4f60\ud83d\ude00\/" } "#, "你😀/");
        check(r#"{"input":"a\ud83dx"}"#, "a\u{fffd}x");
        check(r#"{"input":""}"#, "");
        assert_eq!(InputText::default().push("{\"input\":\"ab"), "ab", "nothing waits that need not");
    }

    #[test]
    fn other_forms_are_taken_as_far_as_they_make_sense() {
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
