//! Text completions: finish reasons in the words that OpenAI's clients know, so that what is cut never passes for whole.

use engine::provider::event::Finish;
use engine::provider::failure::Failure;
use protocol::fields::Fields;

use super::super::fault::{Callee, ERROR};
use super::super::finish::{self, Verdict};

/// Where a reason goes that is not OpenAI's, in the upstream's own word, as OpenRouter does.
const NATIVE: &str = "native_finish_reason";

/// Reads the finish reasons of a document or an event, and puts each into OpenAI's word for it. One that nobody knows becomes
/// `length`: it is no evidence that the text is complete.
///
/// # Errors
/// A reason that says that the upstream failed.
pub(super) fn translate(completion: &mut Fields, callee: &Callee) -> Result<(), Failure> {
    let mut choices: Vec<Fields> = completion.read("choices").unwrap_or_default();
    let mut is_changed = false;
    for choice in &mut choices {
        let Some(reason) = choice.read::<String>("finish_reason").filter(|reason| !is_known(reason)) else { continue };
        match finish::read(&reason) {
            Verdict::Absent => choice.set("finish_reason", &()),
            Verdict::Failed => {
                return Err(callee.plain(ERROR, &format!("stopped in the middle of the response (finish_reason '{reason}')")));
            }
            Verdict::Finish(finish) => {
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

/// Checks that each text of a whole document has a reason for its end.
///
/// # Errors
/// One has none: nothing says that it is complete.
pub(super) fn check_end(completion: &Fields, callee: &Callee) -> Result<(), Failure> {
    let choices: Vec<Fields> = completion.read("choices").unwrap_or_default();
    if choices.iter().all(|choice| choice.read::<String>("finish_reason").is_some()) {
        return Ok(());
    }
    Err(callee.plain("upstream_truncated", "ended its response without a finish reason: the response is not complete"))
}

/// Whether a reason is one of OpenAI's for text completions.
fn is_known(reason: &str) -> bool {
    matches!(reason, "stop" | "length" | "content_filter")
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    fn translated(completion: &str) -> Result<String, String> {
        let mut fields = Fields::parse(completion.as_bytes()).unwrap();
        translate(&mut fields, &sample::north()).map_err(|failure| failure.fault.message)?;
        Ok(String::from_utf8(fields.to_bytes()).unwrap())
    }

    #[test]
    fn reasons_are_in_the_words_of_openai() {
        for (reason, word) in [("eos_token", "stop"), ("MAX_TOKENS", "length"), ("sensitive", "content_filter"), ("vibes", "length")] {
            let given = format!(r#"{{"choices":[{{"text":"a","finish_reason":"{reason}"}}]}}"#);
            let expected = format!(r#"{{"choices":[{{"text":"a","finish_reason":"{word}","native_finish_reason":"{reason}"}}]}}"#);
            assert_eq!(translated(&given), Ok(expected));
        }
        let message = translated(r#"{"choices":[{"text":"a","finish_reason":"abort"}]}"#).unwrap_err();
        assert!(message.contains("'north'") && message.contains("'abort'"), "{message}");
    }

    #[test]
    fn what_openai_says_and_what_is_no_reason_stays_as_it_is() {
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
