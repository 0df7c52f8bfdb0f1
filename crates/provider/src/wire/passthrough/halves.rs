//! Joins surrogate pairs that were split between two events of a stream of completions.

use std::collections::BTreeMap;

use protocol::fields::JsonFields;
use serde_json::value::RawValue;

/// High surrogates that wait for the low one, by choice index, as an escape such as `\ud83d`.
#[derive(Debug, Default)]
pub(super) struct SurrogateHalves(BTreeMap<u64, String>);

/// The length of an escape.
const ESCAPE: usize = 6;

impl SurrogateHalves {
    /// Moves a high surrogate from the end of a choice's text to its next text.
    pub(super) fn join(&mut self, event: &mut JsonFields) {
        let Some(choices) = event.get("choices") else { return };
        if self.0.is_empty()
            && memchr::memmem::find(choices.get().as_bytes(), b"\\ud").is_none()
            && !choices.get().contains("\\uD")
        {
            return;
        }
        let Some(mut choices) = event.read::<Vec<JsonFields>>("choices") else { return };
        let mut is_changed = false;
        for choice in &mut choices {
            let index = choice.read("index").unwrap_or(0);
            let Some(text) = choice.get("text").and_then(|text| self.text(index, text.get()))
            else {
                continue;
            };
            if let Ok(text) = RawValue::from_string(text) {
                choice.set("text", &text);
                is_changed = true;
            }
        }
        if is_changed {
            event.set("choices", &choices);
        }
    }

    /// A text as JSON, with the previous surrogate added and the trailing one removed. `None` if it
    /// is unchanged.
    fn text(&mut self, index: u64, json: &str) -> Option<String> {
        let inner = json.strip_prefix('"')?.strip_suffix('"')?;
        let before = self.0.remove(&index);
        let is_second = inner.get(..ESCAPE).is_some_and(|escape| is_half(escape, "c"..="f"));
        let before_text = match &before {
            Some(half) if is_second => half.as_str(),
            Some(_) => "\\ufffd",
            None => "",
        };
        let last = inner.len().checked_sub(ESCAPE).and_then(|start| inner.split_at_checked(start));
        let rest = match last {
            Some((rest, escape)) if is_half(escape, "8"..="b") && !ends_escaped(rest) => {
                self.0.insert(index, escape.to_owned());
                rest
            }
            _ => inner,
        };
        (before.is_some() || rest.len() < inner.len()).then(|| format!("\"{before_text}{rest}\""))
    }
}

/// Whether an escape is a surrogate, by its third digit.
fn is_half(escape: &str, digits: std::ops::RangeInclusive<&str>) -> bool {
    let escape = escape.to_ascii_lowercase();
    let Some(digits_of) = escape.strip_prefix("\\ud") else { return false };
    digits_of.len() == 3 && digits.contains(&&digits_of[..1])
}

/// Whether the text ends with an unescaped backslash.
fn ends_escaped(text: &str) -> bool {
    (text.len() - text.trim_end_matches('\\').len()) % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: &[&str], expected: &[&str]) {
        let mut halves = SurrogateHalves::default();
        for (event, expected) in events.iter().zip(expected) {
            let mut fields = JsonFields::parse(event.as_bytes()).unwrap();
            halves.join(&mut fields);
            assert_eq!(String::from_utf8(fields.to_bytes()).unwrap(), *expected);
        }
    }

    #[test]
    fn split_pairs_of_one_choice_are_joined() {
        let (first, second) =
            (r#"{"choices":[{"text":"a \ud83d"}]}"#, r#"{"choices":[{"text":"\ude00 b"}]}"#);
        check(
            &[first, second],
            &[r#"{"choices":[{"text":"a "}]}"#, r#"{"choices":[{"text":"\ud83d\ude00 b"}]}"#],
        );
        let other = r#"{"choices":[{"index":1,"text":"x"}]}"#;
        check(
            &[first, other, second],
            &[
                r#"{"choices":[{"text":"a "}]}"#,
                other,
                r#"{"choices":[{"text":"\ud83d\ude00 b"}]}"#,
            ],
        );
        let end = r#"{"choices":[{"text":"","finish_reason":"stop"}]}"#;
        check(
            &[first, end],
            &[
                r#"{"choices":[{"text":"a "}]}"#,
                r#"{"choices":[{"text":"\ufffd","finish_reason":"stop"}]}"#,
            ],
        );
        for same in [
            r#"{"choices":[{"text":"a \ud83d\ude00"}]}"#,
            r#"{"choices":[{"text":"a \\ud83d"}]}"#,
            r#"{"choices":[{"text":"\ude00"}]}"#,
        ] {
            check(&[same, same], &[same, same]);
        }
    }
}
