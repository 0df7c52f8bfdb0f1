//! Invariants of a response's log after a crash.

use std::collections::HashMap;

use serde_json::Value;

use super::script::ExpectedContent;
use crate::program::reader::is_terminal;

/// How a response ended.
#[derive(Clone, Debug)]
pub(super) struct EndedResponse {
    /// The terminal event's response.
    pub(super) response: Value,
    /// Whether the crash cut it off.
    pub(super) is_cut: bool,
}

/// Checks a complete log: dense positions, one end, everything closed, and exactly the upstream's text.
pub(super) fn check(log: &[String], said: &HashMap<String, ExpectedContent>) -> EndedResponse {
    let events: Vec<Value> = log.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let show = || log.join("\n");
    for (position, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], position, "{}", show());
    }
    let terminals: Vec<usize> = (0..log.len()).filter(|index| is_terminal(&log[*index])).collect();
    assert_eq!(terminals, [log.len() - 1], "one end, and nothing after it: {}", show());
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("response.created"), count("response.in_progress")), (1, 1), "{}", show());
    assert_eq!(events[0]["type"], "response.created");
    for what in ["output_item", "content_part"] {
        let (added, done) = (format!("response.{what}.added"), format!("response.{what}.done"));
        assert_eq!(count(&added), count(&done), "{what}: {}", show());
    }

    let response = &events[log.len() - 1]["response"];
    let reason = response["incomplete_details"]["reason"].as_str();
    let is_cut = match (response["status"].as_str(), reason) {
        (Some("completed"), None) => false,
        (Some("incomplete"), Some("server_restarted")) => true,
        other => panic!("{other:?}: {}", show()),
    };
    let output = response["output"].as_array().unwrap();
    for (index, item) in output.iter().enumerate() {
        let deltas = events.iter().filter(|event| event["output_index"] == index);
        let streamed: String = deltas.filter_map(|event| event["delta"].as_str()).collect();
        let whole =
            item["arguments"].as_str().or_else(|| item["content"][0]["text"].as_str()).unwrap();
        assert_eq!(streamed, whole, "item {index} of {}", show());
        check_words(item, whole, said, is_cut);
    }
    match (output.is_empty(), &response["usage"]) {
        (true, usage) => assert!(usage.is_null(), "nothing was made: {usage}"),
        (false, usage) => {
            let expected: &[&str] = if is_cut { &["counted", "provider"] } else { &["provider"] };
            assert!(
                usage["source"].as_str().is_some_and(|source| expected.contains(&source)),
                "{usage}"
            );
        }
    }
    EndedResponse { response: response.clone(), is_cut }
}

/// Checks that an item's text is a prefix of the upstream's, and all of it unless cut off.
fn check_words(item: &Value, whole: &str, said: &HashMap<String, ExpectedContent>, is_cut: bool) {
    let label = whole.trim_start_matches("{\"").split(' ').next().unwrap();
    let Some(said) = said.get(label) else {
        // Arguments that were cut off before their first piece.
        assert!(whole.is_empty() && is_cut, "nobody says {whole:?}");
        return;
    };
    let expected = match item["type"].as_str().unwrap() {
        "message" => &said.text,
        "reasoning" => &said.reasoning,
        "function_call" => &said.arguments,
        other => panic!("an item of type {other}"),
    };
    assert!(
        expected.starts_with(whole) && (is_cut || expected == whole),
        "{whole:?} of {expected:?}"
    );
}

/// All text of a response, as far as it exists.
pub(super) fn text_of(response: &Value) -> String {
    let items = response["output"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| item["type"] == "message");
    items.filter_map(|item| item["content"][0]["text"].as_str()).collect()
}
