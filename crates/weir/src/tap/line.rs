//! One line of text for each event.

use std::time::Duration;

use protocol::visible::visible_in_line;
use serde_json::Value;
use unicode_width::UnicodeWidthChar;

use super::recording::TappedEvent;

/// The columns of an excerpt.
const EXCERPT: usize = 40;

/// The heading of the lines.
pub(super) const HEADING: &str =
    "     time ms        gap      #  type                                       bytes  text\n";

/// The line of an event that was shown `gap` after the one before.
pub(super) fn line(event: &TappedEvent, gap: Option<Duration>) -> String {
    let time = event.shown.map_or_else(|| "-".to_owned(), milliseconds);
    let gap = gap.map_or_else(|| "-".to_owned(), |gap| format!("+{}", milliseconds(gap)));
    let text = excerpt(&event.value());
    let text = text.map(|text| format!("  {text}")).unwrap_or_default();
    format!(
        "{time:>12} {gap:>10} {:>6}  {:<40} {:>7}{text}\n",
        event.position,
        visible_in_line(&event.kind),
        event.data.len()
    )
}

/// A time in milliseconds, to a tenth.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// The text that tells an event from others of its type, in quotes; or what it says of the
/// response.
fn excerpt(event: &Value) -> Option<String> {
    let quoted = |text: &str| Some(format!("\"{}\"", shortened(text)));
    if let Some(delta) = event["delta"].as_str() {
        return quoted(delta);
    }
    for name in ["text", "refusal", "arguments", "input"] {
        if let Some(text) = event[name].as_str() {
            return quoted(text);
        }
    }
    if let Some(message) = event["message"].as_str().or(event["error"]["message"].as_str()) {
        return quoted(message);
    }
    let named = [&event["response"]["status"], &event["item"]["type"], &event["part"]["type"]];
    named.into_iter().find_map(Value::as_str).map(shortened)
}

/// The start of a text, without control characters.
fn shortened(text: &str) -> String {
    // Beyond these no character fits: looking at all of a long text would be in vain.
    let start: String = text.chars().take(EXCERPT + 1).collect();
    let (mut short, mut columns) = (String::new(), 0);
    for character in visible_in_line(&start).chars() {
        columns += character.width().unwrap_or(0);
        if columns > EXCERPT {
            short.push('…');
            break;
        }
        short.push(character);
    }
    short
}

#[cfg(test)]
mod tests {
    use client::now;
    use serde_json::json;

    use super::*;

    fn event(value: &Value) -> TappedEvent {
        TappedEvent {
            position: 7,
            kind: value["type"].as_str().unwrap_or_default().to_owned(),
            data: value.to_string().into(),
            logged: None,
            taken: now(),
            shown: Some(Duration::from_micros(12_340)),
        }
    }

    #[test]
    fn a_line_has_the_times_and_an_excerpt() {
        let value = json!({ "type": "response.output_text.delta", "delta": "Hello" });
        let shown = line(&event(&value), Some(Duration::from_millis(9)));
        let words: Vec<&str> = shown.split_whitespace().collect();
        let bytes = value.to_string().len().to_string();
        assert_eq!(
            words,
            ["12.3", "+9.0", "7", "response.output_text.delta", bytes.as_str(), "\"Hello\""]
        );
        assert!(shown.find("Hello") > HEADING.find("text"), "{shown}");
    }

    #[test]
    fn control_characters_are_shown_and_long_texts_cut() {
        let value = json!({ "type": "x\u{1b}[2J", "delta": "a\u{1b}]0;b\u{7}\r\n" });
        let shown = line(&event(&value), None);
        assert!(shown.contains("\"a\u{241b}]0;b\u{2407}\u{240d}\u{240a}\""), "{shown}");
        assert!(shown.trim_end().chars().all(|character| !character.is_control()), "{shown:?}");
        assert_eq!(shortened(&"x".repeat(41)), "x".repeat(40) + "…");
        assert_eq!(shortened(&"字".repeat(2_000_000)), "字".repeat(20) + "…");
        assert_eq!(shortened(&"x".repeat(40)), "x".repeat(40));
    }

    #[test]
    fn events_without_text_name_what_they_are_about() {
        let excerpt_of = |value: Value| excerpt(&value).unwrap_or_default();
        assert_eq!(excerpt_of(json!({ "response": { "status": "completed" } })), "completed");
        assert_eq!(excerpt_of(json!({ "item": { "type": "message" } })), "message");
        assert_eq!(excerpt_of(json!({ "error": { "message": "no" } })), "\"no\"");
        assert_eq!(excerpt_of(json!({})), "");
    }
}
