//! Reads JSON as upstreams write it. Invalid details are repaired, so that a single character
//! cannot break a response; truncated JSON is an error.

use std::fmt::Write;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::text;

/// Why data is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is truncated.
    Cut,
    /// It is invalid.
    Invalid,
}

/// What follows the last value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    Nothing,
    /// `[DONE]` in the same event.
    Done,
}

/// Reads every value in `data`: usually one, but relays put several into one event. An array counts
/// as its values; anything that is not an object (a keep-alive's timestamp) is skipped. A struct is
/// deserialised directly if possible. Otherwise what RFC 8259 does not allow is repaired, and of
/// duplicate keys the last one counts.
///
/// # Errors
/// The data is not JSON. The values before the error were passed to `take`.
pub(super) fn read_all<T: DeserializeOwned>(
    data: &[u8],
    mut take: impl FnMut(T),
) -> Result<Tail, Broken> {
    if data.first() == Some(&b'{')
        && let Ok(value) = serde_json::from_slice(data)
    {
        take(value);
        return Ok(Tail::Nothing);
    }
    let repaired = repair(data);
    let mut values = serde_json::Deserializer::from_str(&repaired).into_iter::<Value>();
    loop {
        let rest = repaired[values.byte_offset()..].trim_start();
        if is_end(rest.as_bytes()) {
            return Ok(Tail::Done);
        }
        match values.next() {
            None => return Ok(Tail::Nothing),
            Some(Ok(Value::Array(list))) => {
                list.into_iter().filter_map(|value| read(value)).for_each(&mut take);
            }
            Some(Ok(value)) => read(value).into_iter().for_each(&mut take),
            Some(Err(error)) if error.is_eof() => return Err(Broken::Cut),
            Some(Err(_)) => return Err(Broken::Invalid),
        }
    }
}

/// Whether data is the `[DONE]` of OpenAI's streams, in any case, with or without more text.
pub(super) fn is_end(data: &[u8]) -> bool {
    data.get(..END.len()).is_some_and(|start| start.eq_ignore_ascii_case(END))
}

const END: &[u8] = b"[DONE]";

/// Reads one value, repaired if necessary.
///
/// # Errors
/// The data is not JSON.
pub(super) fn value(data: &[u8]) -> Result<Value, Broken> {
    if let Ok(value) = serde_json::from_slice(data) {
        return Ok(value);
    }
    serde_json::from_str(&repair(data))
        .map_err(|error| if error.is_eof() { Broken::Cut } else { Broken::Invalid })
}

/// Deserialises an object. All structs here tolerate fields of any type, so that every object can
/// be read.
fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    value.is_object().then(|| serde_json::from_value(value).ok())?
}

/// Repairs what RFC 8259 does not allow: unpaired surrogates and invalid UTF-8 become marks (see
/// [`text`]), control characters and unknown escapes are escaped, `NaN` and similar become `null`.
fn repair(data: &[u8]) -> String {
    let mut repair = Repair {
        out: String::with_capacity(data.len() + 16),
        is_in_text: false,
        escape: Escape::None,
        word: String::new(),
    };
    for chunk in data.utf8_chunks() {
        chunk.valid().chars().for_each(|character| repair.character(character));
        chunk.invalid().iter().for_each(|byte| repair.character(text::mark_of_byte(*byte)));
    }
    repair.finish()
}

struct Repair {
    out: String,
    is_in_text: bool,
    escape: Escape,
    /// A literal outside of strings.
    word: String,
}

/// The state of an escape.
enum Escape {
    None,
    /// After the backslash.
    Begun,
    /// After `\u` and some digits; `high` is a high surrogate directly before it.
    Unicode {
        digits: String,
        high: Option<u32>,
    },
    /// After a high surrogate and a backslash.
    High {
        high: u32,
        is_begun: bool,
    },
}

impl Repair {
    fn character(&mut self, character: char) {
        if !self.is_in_text {
            return self.outside(character);
        }
        match std::mem::replace(&mut self.escape, Escape::None) {
            Escape::None => self.plain(character),
            Escape::Begun => self.escaped(character, None),
            Escape::Unicode { mut digits, high } if character.is_ascii_hexdigit() => {
                digits.push(character);
                if digits.len() == 4 {
                    self.unit(u32::from_str_radix(&digits, 16).unwrap_or(0xFFFD), high);
                } else {
                    self.escape = Escape::Unicode { digits, high };
                }
            }
            Escape::Unicode { digits, high } => {
                self.half(high);
                self.out.push_str("\\\\u");
                self.out.push_str(&digits);
                self.plain(character);
            }
            Escape::High { high, is_begun: false } if character == '\\' => {
                self.escape = Escape::High { high, is_begun: true }
            }
            Escape::High { high, is_begun: false } => {
                self.half(Some(high));
                self.plain(character);
            }
            Escape::High { high, is_begun: true } => self.escaped(character, Some(high)),
        }
    }

    fn outside(&mut self, character: char) {
        let is_of_word =
            character.is_ascii_alphabetic() || (character == '-' && self.word.is_empty());
        if is_of_word && self.out.ends_with(|last: char| !last.is_ascii_digit() && last != '.') {
            return self.word.push(character);
        }
        self.end_word();
        match character {
            // A byte order mark, or padding.
            '\u{feff}' | '\0' => {}
            '"' => {
                self.is_in_text = true;
                self.out.push('"');
            }
            other => self.out.push(other),
        }
    }

    fn end_word(&mut self) {
        match std::mem::take(&mut self.word).as_str() {
            "NaN" | "nan" | "-NaN" | "Infinity" | "-Infinity" | "inf" | "-inf" | "undefined" => {
                self.out.push_str("null");
            }
            other => self.out.push_str(other),
        }
    }

    fn plain(&mut self, character: char) {
        match character {
            '\\' => self.escape = Escape::Begun,
            '"' => {
                self.is_in_text = false;
                self.out.push('"');
            }
            '\0'..='\u{1f}' => self.unicode(u32::from(character)),
            other => self.out.push(other),
        }
    }

    /// Handles the character after a backslash.
    fn escaped(&mut self, character: char, high: Option<u32>) {
        if character == 'u' {
            self.escape = Escape::Unicode { digits: String::new(), high };
            return;
        }
        self.half(high);
        match character {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {
                self.out.push('\\');
                self.out.push(character);
            }
            other => {
                self.out.push_str("\\\\");
                self.plain(other);
            }
        }
    }

    /// Handles a UTF-16 code unit, with the high surrogate before it if there is one.
    fn unit(&mut self, unit: u32, high: Option<u32>) {
        match (unit, high) {
            (0xDC00..=0xDFFF, Some(high)) => {
                self.unicode(high);
                self.unicode(unit);
            }
            (0xD800..=0xDBFF, _) => {
                self.half(high);
                self.escape = Escape::High { high: unit, is_begun: false };
            }
            (0xDC00..=0xDFFF, None) => self.half(Some(unit)),
            (_, _) => {
                self.half(high);
                self.unicode(unit);
            }
        }
    }

    /// Writes an escape.
    fn unicode(&mut self, unit: u32) {
        _ = write!(self.out, "\\u{unit:04x}");
    }

    /// Writes an unpaired surrogate.
    fn half(&mut self, half: Option<u32>) {
        self.out.extend(half.map(text::mark_of_half));
    }

    fn finish(mut self) -> String {
        self.end_word();
        self.out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(data: &str, expected: &[Value]) {
        let mut values = Vec::new();
        assert_eq!(
            read_all(data.as_bytes(), |value: Value| values.push(value)),
            Ok(Tail::Nothing),
            "{data}"
        );
        assert_eq!(values, expected, "{data}");
    }

    #[test]
    fn invalid_details_are_repaired() {
        check(r#"{"a":1,"a":2}"#, &[json!({ "a": 2 })]);
        check(
            r#"{"a":NaN,"b":[-Infinity, 1e5, -2.5e-3],"c":"NaN"}"#,
            &[json!({ "a": null, "b": [null, 1e5, -2.5e-3], "c": "NaN" })],
        );
        check("{\"a\":\"x\ny\tz\"}", &[json!({ "a": "x\ny\tz" })]);
        check(r#"{"a":"it\'s \x41 \u12"}"#, &[json!({ "a": "it\\'s \\x41 \\u12" })]);
        check("\u{feff}{\"a\":true}\0", &[json!({ "a": true })]);
        check(r#"{"a":NaN,"b":"\ud83d\ude00 \u00e9 \\"}"#, &[json!({ "a": null, "b": "😀 é \\" })]);
    }

    #[test]
    fn several_values_are_read_and_scalars_skipped() {
        check(
            r#"{"a":1}{"a":2} {"a":3}"#,
            &[json!({ "a": 1 }), json!({ "a": 2 }), json!({ "a": 3 })],
        );
        check(r#"[{"a":1},null,{"a":2}]"#, &[json!({ "a": 1 }), json!({ "a": 2 })]);
        check("null", &[]);
        check("1712345678", &[]);
        let mut count = 0;
        assert_eq!(
            read_all(b"{\"a\":1}\n{\"a\":2}\n[DONE]", |_: Value| count += 1),
            Ok(Tail::Done)
        );
        assert_eq!(count, 2);
    }

    #[test]
    fn truncated_json_is_an_error() {
        let broken = |data: &str| read_all(data.as_bytes(), |_: Value| {}).unwrap_err();
        for cut in [
            r#"{"a":"#,
            r#"{"a":"b"#,
            r#"{"a":"\ud83d"#,
            r#"{"a":"b\"#,
            "{",
            r#"{"a":1,"a":2"#,
            r#"{"a":1}{"b"#,
        ] {
            assert_eq!(broken(cut), Broken::Cut, "{cut}");
        }
        for invalid in [r#"{"a" 1}"#, "{a:1}", "<html>", r#"{"a":1}}"#] {
            assert_eq!(broken(invalid), Broken::Invalid, "{invalid}");
        }
    }
}
