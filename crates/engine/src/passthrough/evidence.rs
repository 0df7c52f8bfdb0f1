//! Whether a stream of completions is complete: every choice that started has a finish reason
//! (promise 4).

use std::collections::BTreeMap;

use protocol::fields::JsonFields;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The choices of a stream so far. Their number is that of prompts times `n`, which the upstream
/// bounds.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    is_finished: BTreeMap<u64, bool>,
}

/// The fields of a choice that matter here.
#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

impl Evidence {
    /// Takes the next event. Events in another form are not evidence.
    pub(super) fn add(&mut self, event: &JsonFields) {
        let choices: Vec<&RawValue> = event.read("choices").unwrap_or_default();
        for choice in choices
            .into_iter()
            .filter_map(|choice| serde_json::from_str::<Choice<'_>>(choice.get()).ok())
        {
            // A reason is a non-empty string; some servers send `false` or an empty one with every
            // event.
            let is_reason = choice
                .finish_reason
                .is_some_and(|reason| reason.get().starts_with('"') && reason.get() != "\"\"");
            *self.is_finished.entry(choice.index).or_default() |= is_reason;
        }
    }

    /// Whether every choice that started has ended.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_finished.is_empty() && self.is_finished.values().all(|is_finished| *is_finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(events: &[&str]) -> bool {
        let mut evidence = Evidence::default();
        for event in events {
            evidence.add(&JsonFields::parse(event.as_bytes()).unwrap());
        }
        evidence.is_whole()
    }

    #[test]
    fn every_choice_needs_a_reason() {
        let (a, b) = (
            r#"{"choices":[{"index":0,"text":"a","finish_reason":null}]}"#,
            r#"{"choices":[{"index":1,"text":"b"}]}"#,
        );
        let (a_ends, b_ends) = (
            r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#,
            r#"{"choices":[{"index":1,"finish_reason":"length"}]}"#,
        );
        assert!(!is_whole(&[]) && !is_whole(&[a]) && is_whole(&[a, a_ends]));
        assert!(
            !is_whole(&[a, b, a_ends])
                && is_whole(&[a, b, a_ends, b_ends, r#"{"choices":[],"usage":{}}"#])
        );
    }

    #[test]
    fn odd_reasons_are_not_evidence_and_a_missing_index_is_zero() {
        assert!(is_whole(&[r#"{"choices":[{"text":"a","finish_reason":"eos"}]}"#]));
        for odd in [
            r#"{"choices":[{"index":0,"finish_reason":""}]}"#,
            r#"{"choices":[{"finish_reason":false}]}"#,
            r#"{"choices":{}}"#,
            "{}",
        ] {
            assert!(!is_whole(&[odd]), "{odd}");
        }
    }
}
