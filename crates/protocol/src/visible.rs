//! Makes untrusted texts safe to print: terminal control characters and characters that change the
//! text direction are shown as symbols (Unicode TR 36, §2.10).

use std::borrow::Cow;
use std::fmt::Write;

/// The text with its line ends and tabs; every other invisible character becomes a symbol.
pub fn visible(text: &str) -> Cow<'_, str> {
    shown(text, |character| matches!(character, '\n' | '\t'))
}

/// The text as part of one line: line ends become symbols, too.
pub fn visible_in_line(text: &str) -> Cow<'_, str> {
    shown(text, |_| false)
}

/// JSON with the same characters escaped (RFC 8259 §7): its meaning is unchanged. A carriage return
/// can only be whitespace between tokens.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let is_plain =
        |character: char| matches!(character, '\n' | '\t') || symbol(character).is_none();
    if json.chars().all(is_plain) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 32);
    for character in json.chars() {
        if is_plain(character) {
            text.push(character);
        } else if character == '\r' {
            text.push(' ');
        } else {
            // None of them is beyond U+FFFF, and writing to a String cannot fail.
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        }
    }
    text.into()
}

fn shown(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_plain = |character: char| stays(character) || symbol(character).is_none();
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .map(
            |character| {
                if is_plain(character) { character } else { symbol(character).unwrap_or(character) }
            },
        )
        .collect()
}

/// The symbol for a character that is not shown: its control picture where Unicode has one.
fn symbol(character: char) -> Option<char> {
    match character {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(character)),
        '\x7f' => Some('\u{2421}'),
        // C1, line and paragraph separators, marks and overrides of direction.
        '\u{80}'..='\u{9f}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => Some('\u{fffd}'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_symbols() {
        assert_eq!(
            visible("a\x1b]0;PWN\x07\x1b[2J\u{9b}31m\r\x7f\u{202e}b\n\tc"),
            "a␛]0;PWN␇␛[2J\u{fffd}31m␍␡\u{fffd}b\n\tc"
        );
        assert_eq!(visible_in_line("a\nb\tc"), "a␊b␉c");
        assert_eq!(
            visible_json("{\"a\": \"\u{9b}2J\x7f\u{202e}\"}\r\n"),
            "{\"a\": \"\\u009b2J\\u007f\\u202e\"} \n"
        );
        assert!(matches!(visible("你好 😀 é"), Cow::Borrowed(_)));
    }
}
