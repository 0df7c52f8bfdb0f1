//! The usage of a pass-through call and its source: the upstream's report, or Weir's own count if
//! that is missing or implausible.

use protocol::fields::JsonFields;
use protocol::passthrough::{EmbeddingInputs, Operation, Passthrough};
use protocol::usage::UsageSource;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokens::Encoding;

use crate::response::meter::Tokens;

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: String,
}

/// The most text of a stream that is kept for counting: more than any model writes.
const MOST_COUNTED_BYTES: usize = 8 << 20;

/// Adds its source to the usage of a document or an event, and returns its tokens; `None` if there
/// is no usage.
pub(super) fn of_upstream(fields: &mut JsonFields) -> Option<Tokens> {
    let mut usage: JsonFields = fields.read("usage")?;
    if usage.get("source").is_none() {
        usage.set("source", &UsageSource::Provider);
        fields.set("usage", &usage);
    }
    Some(Tokens { input: usage.read("prompt_tokens"), output: usage.read("completion_tokens") })
}

/// Ensures that a complete document has a usage. Blocks while it counts.
pub(super) fn of_document(request: &Passthrough, document: &mut JsonFields) -> Tokens {
    let said = of_upstream(document).unwrap_or_default();
    match request.operation {
        Operation::Moderations => return said,
        // Zero tokens are implausible. Input that cannot be parsed cannot be counted either.
        Operation::Embeddings | Operation::Completions
            if said.input.is_some_and(|input| input > 0) =>
        {
            return said;
        }
        Operation::Embeddings | Operation::Completions => {}
    }
    let Some(input) = input(request) else { return said };
    let output = (request.operation == Operation::Completions)
        .then(|| texts(document).map(|text| count(request, &text)).sum::<u64>());
    if (input, output.unwrap_or_default()) == (0, 0) {
        return said;
    }
    let tokens = Tokens { input: Some(input), output };
    set(document, tokens);
    tokens
}

/// The usage of a stream whose caller asked for it (`stream_options.include_usage`), if the
/// upstream does not send it.
#[derive(Default)]
pub(super) struct StreamUsage {
    text: String,
    /// The template of the event with the usage.
    last: Option<JsonFields>,
}

impl StreamUsage {
    /// For a request; `None` if it does not ask for usage.
    pub(super) fn of(request: &Passthrough) -> Option<Self> {
        let options: JsonFields = request.body.read("stream_options")?;
        options
            .read::<bool>("include_usage")
            .filter(|is_wanted| *is_wanted)
            .map(|_| Self::default())
    }

    /// Adds an event. `false`: the limit of what is counted is reached.
    pub(super) fn add(&mut self, event: &JsonFields) -> bool {
        self.text.extend(texts(event));
        self.last = Some(event.clone());
        self.text.len() <= MOST_COUNTED_BYTES
    }

    /// The event with the usage, which comes last. Blocks while it counts.
    pub(super) fn event(self, request: &Passthrough) -> Option<(JsonFields, Tokens)> {
        let mut event = self.last?;
        let tokens =
            Tokens { input: Some(input(request)?), output: Some(count(request, &self.text)) };
        event.set("choices", &[(); 0]);
        set(&mut event, tokens);
        Some((event, tokens))
    }
}

/// The texts of all choices.
fn texts(fields: &JsonFields) -> impl Iterator<Item = String> {
    let choices: Vec<&RawValue> = fields.read("choices").unwrap_or_default();
    choices
        .into_iter()
        .filter_map(|choice| serde_json::from_str::<Choice>(choice.get()).ok())
        .map(|choice| choice.text)
}

/// Input tokens; `None` if the input cannot be parsed.
fn input(request: &Passthrough) -> Option<u64> {
    Some(match request.inputs().ok()? {
        EmbeddingInputs::Texts(texts) => texts.iter().map(|text| count(request, text)).sum(),
        EmbeddingInputs::Tokens(inputs) => inputs.iter().map(|tokens| tokens.len() as u64).sum(),
    })
}

fn count(request: &Passthrough, text: &str) -> u64 {
    Encoding::for_model(&request.model).count(text)
}

fn set(fields: &mut JsonFields, tokens: Tokens) {
    let input = tokens.input.unwrap_or_default();
    let usage = match tokens.output {
        Some(output) => {
            json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output, "source": UsageSource::Counted })
        }
        None => {
            json!({ "prompt_tokens": input, "total_tokens": input, "source": UsageSource::Counted })
        }
    };
    fields.set("usage", &usage);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(operation: Operation, request: &str, document: &str) -> (String, Tokens) {
        let request = Passthrough::read(operation, request.as_bytes()).unwrap();
        let mut document = JsonFields::parse(document.as_bytes()).unwrap();
        let tokens = of_document(&request, &mut document);
        (document.get("usage").map(|usage| usage.get().to_owned()).unwrap_or_default(), tokens)
    }

    #[test]
    fn a_reported_usage_is_kept_and_gets_its_source() {
        let document =
            r#"{"data":[],"usage":{"prompt_tokens":7,"total_tokens":7,"odd":{"x":1.0}}}"#;
        let expected =
            r#"{"prompt_tokens":7,"total_tokens":7,"odd":{"x":1.0},"source":"provider"}"#;
        let tokens = Tokens { input: Some(7), output: None };
        assert_eq!(
            usage(Operation::Embeddings, r#"{"model":"m","input":"a"}"#, document),
            (expected.to_owned(), tokens)
        );
    }

    #[test]
    fn a_missing_or_implausible_usage_is_counted() {
        let counted = r#"{"prompt_tokens":3,"total_tokens":3,"source":"counted"}"#;
        for document in [
            r#"{"data":[]}"#,
            r#"{"usage":null}"#,
            r#"{"usage":{"prompt_tokens":0,"total_tokens":0}}"#,
            r#"{"usage":"odd"}"#,
        ] {
            let (usage, tokens) = usage(
                Operation::Embeddings,
                r#"{"model":"m","input":["hello","hello world"]}"#,
                document,
            );
            assert_eq!((usage.as_str(), tokens.input), (counted, Some(3)), "{document}");
        }
        let (tokens, _) =
            usage(Operation::Embeddings, r#"{"model":"m","input":[[1,2],[3]]}"#, "{}");
        assert_eq!(tokens, counted);
        let (text, tokens) = usage(
            Operation::Completions,
            r#"{"model":"m","prompt":"hello"}"#,
            r#"{"choices":[{"text":" world"},{"text":" world"}]}"#,
        );
        assert_eq!(
            text,
            r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"source":"counted"}"#
        );
        assert_eq!(tokens, Tokens { input: Some(1), output: Some(2) });
    }

    #[test]
    fn a_stream_is_counted_if_its_caller_asked() {
        let request = |options: &str| {
            let body = format!(r#"{{"model":"m","prompt":"hello","stream":true{options}}}"#);
            Passthrough::read(Operation::Completions, body.as_bytes()).unwrap()
        };
        assert!(StreamUsage::of(&request("")).is_none());
        assert!(
            StreamUsage::of(&request(r#","stream_options":{"include_usage":false}"#)).is_none()
        );
        let asked = request(r#","stream_options":{"include_usage":true}"#);
        let mut usage = StreamUsage::of(&asked).unwrap();
        for text in [" wor", "ld"] {
            assert!(
                usage.add(
                    &JsonFields::parse(
                        format!(r#"{{"id":"a","choices":[{{"text":"{text}"}}]}}"#).as_bytes()
                    )
                    .unwrap()
                )
            );
        }
        let (event, tokens) = usage.event(&asked).unwrap();
        let expected = r#"{"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"source":"counted"}}"#;
        assert_eq!(String::from_utf8(event.to_bytes()).unwrap(), expected);
        assert_eq!(tokens, Tokens { input: Some(1), output: Some(1) });
    }

    #[test]
    fn no_usage_is_invented() {
        assert_eq!(usage(Operation::Moderations, r#"{"input":"a"}"#, "{}").0, "");
        assert_eq!(usage(Operation::Embeddings, r#"{"model":"m","messages":[]}"#, "{}").0, "");
        let zero = r#"{"prompt_tokens":0,"total_tokens":0,"source":"provider"}"#;
        assert_eq!(
            usage(
                Operation::Embeddings,
                r#"{"model":"m","input":""}"#,
                r#"{"usage":{"prompt_tokens":0,"total_tokens":0}}"#
            )
            .0,
            zero
        );
    }
}
