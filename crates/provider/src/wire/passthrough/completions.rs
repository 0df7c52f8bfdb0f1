//! Text completions: translates finish reasons to OpenAI's, so that a truncated text never counts
//! as complete.

use engine::provider::event::Finish;
use engine::provider::failure::ProviderFailure;
use protocol::fields::JsonFields;

use super::super::fault::{Callee, ERROR};
use super::super::finish::{self, FinishVerdict};

/// The field for the upstream's own finish reason, as with OpenRouter.
const NATIVE: &str = "native_finish_reason";

/// Translates the finish reasons of a document or an event to OpenAI's. An unknown reason becomes
/// `length`: it is no evidence that the text is complete.
///
/// # Errors
/// The reason says that the upstream failed.
pub(super) fn translate(
    completion: &mut JsonFields,
    callee: &Callee,
) -> Result<(), ProviderFailure> {
    let mut choices: Vec<JsonFields> = completion.read("choices").unwrap_or_default();
    let mut is_changed = false;
    for choice in &mut choices {
        let Some(reason) =
            choice.read::<String>("finish_reason").filter(|reason| !is_known(reason))
        else {
            continue;
        };
        match finish::read(&reason) {
            FinishVerdict::Absent => choice.set("finish_reason", &()),
            FinishVerdict::Failed => {
                return Err(callee.plain(
                    ERROR,
                    &format!("stopped in the middle of the response (finish_reason '{reason}')"),
                ));
            }
            FinishVerdict::Finish(finish) => {
                let word = match finish {
                    Finish::Stop => "stop",
                    Finish::ContentFilter => "content_filter",
                    Finish::Length | Finish::Unknown(_) => "length",
                };
                choice.set("finish_reason", word);
                choice.set(NATIVE, &reason);
            }
        }
        is_changed = true;
    }
    if is_changed {
        completion.set("choices", &choices);
    }
    Ok(())
}

/// Checks that each text of a document has a finish reason.
///
/// # Errors
/// A text has none, so that it may be incomplete.
pub(super) fn check_end(completion: &JsonFields, callee: &Callee) -> Result<(), ProviderFailure> {
    let choices: Vec<JsonFields> = completion.read("choices").unwrap_or_default();
    if choices.iter().all(|choice| choice.read::<String>("finish_reason").is_some()) {
        return Ok(());
    }
    Err(callee.plain(
        "upstream_truncated",
        "ended its response without a finish reason: the response is not complete",
    ))
}

/// Whether it is one of OpenAI's finish reasons for text completions.
fn is_known(reason: &str) -> bool {
    matches!(reason, "stop" | "length" | "content_filter")
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    fn translated(completion: &str) -> Result<String, String> {
        let mut fields = JsonFields::parse(completion.as_bytes()).unwrap();
        translate(&mut fields, &sample::north()).map_err(|failure| failure.fault.message)?;
        Ok(String::from_utf8(fields.to_bytes()).unwrap())
    }

    #[test]
    fn finish_reasons_are_translated_to_openais() {
        for (reason, word) in [
            ("eos_token", "stop"),
            ("MAX_TOKENS", "length"),
            ("sensitive", "content_filter"),
            ("vibes", "length"),
        ] {
            let given = format!(r#"{{"choices":[{{"text":"a","finish_reason":"{reason}"}}]}}"#);
            let expected = format!(
                r#"{{"choices":[{{"text":"a","finish_reason":"{word}","native_finish_reason":"{reason}"}}]}}"#
            );
            assert_eq!(translated(&given), Ok(expected));
        }
        let message =
            translated(r#"{"choices":[{"text":"a","finish_reason":"abort"}]}"#).unwrap_err();
        assert!(message.contains("'north'") && message.contains("'abort'"), "{message}");
    }

    #[test]
    fn openais_reasons_and_empty_reasons_are_unchanged() {
        for same in [
            r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":"length","text":"a"}]}"#,
            r#"{"choices":[{"finish_reason":null,"text":"a","x":1.0}]}"#,
            r#"{"choices":{},"finish_reason":"vibes"}"#,
            "{}",
        ] {
            assert_eq!(translated(same), Ok(same.to_owned()));
        }
        let empty = translated(r#"{"choices":[{"finish_reason":""}]}"#);
        assert_eq!(empty, Ok(r#"{"choices":[{"finish_reason":null}]}"#.to_owned()));
    }
}
