//! Upstreams with OpenAI's own format: request and response bodies are passed on.

use std::borrow::Cow;

use engine::provider::failure::ProviderFailure;
use engine::provider::passthrough::PassthroughRequest;
use protocol::fields::JsonFields;
use protocol::passthrough::Operation;
use protocol::vector::VectorFormat;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::family::ServerFamily;
use super::super::fault::Callee;
use super::Passage;
use super::document::document;
use crate::config::{Preset, UpstreamConfig};
use crate::wire::outgoing::Outgoing;

/// Optional features of an OpenAI-compatible upstream.
#[derive(Clone, Debug)]
pub(in crate::wire) struct OpenAiFeatures {
    /// Whether it supports base64 vectors. Others reject or ignore the format.
    has_base64: bool,
    /// Whether it supports `stream_options`. Otherwise Weir counts tokens itself.
    has_stream_options: bool,
    /// Fields that the settings add to every body.
    more: Map<String, Value>,
}

impl OpenAiFeatures {
    /// The features of the upstream `config`.
    pub(in crate::wire) fn of(config: &UpstreamConfig) -> Self {
        let has_base64 = match config.preset {
            Preset::OpenAi
            | Preset::Azure
            | Preset::OpenRouter
            | Preset::Vllm
            | Preset::LlamaCpp => true,
            Preset::Compatible => ServerFamily::of(config) == ServerFamily::OpenAi,
            Preset::Anthropic
            | Preset::Gemini
            | Preset::Ollama
            | Preset::DeepSeek
            | Preset::Qwen
            | Preset::Moonshot
            | Preset::LmStudio => false,
        };
        Self {
            has_base64,
            has_stream_options: config.compat.stream_options,
            more: config.compat.body.clone(),
        }
    }

    /// The call, with the operation's path under the base URL.
    pub(in crate::wire) fn pass(&self, request: &PassthroughRequest) -> Passage {
        let operation = request.request.operation;
        // Bodies are large: an unchanged one is not copied.
        let mut body = Cow::Borrowed(&request.request.body);
        if let Some(model) = &request.model {
            body.to_mut().set("model", &**model);
        }
        if !self.has_stream_options && body.get("stream_options").is_some() {
            body.to_mut().remove("stream_options");
        }
        if operation == Operation::Embeddings {
            return self.embeddings(body);
        }
        self.add_more(&mut body);
        let outgoing =
            Outgoing::raw(&[operation.path()], body.to_bytes()).streamed_if(request.request.stream);
        Passage::one(outgoing, move |body, callee| {
            document(body, operation.result(), operation, callee)
        })
    }

    fn add_more(&self, body: &mut Cow<'_, JsonFields>) {
        for (name, value) in &self.more {
            body.to_mut().set(name, value);
        }
    }

    fn embeddings(&self, mut body: Cow<'_, JsonFields>) -> Passage {
        let word: Option<String> = body.read("encoding_format");
        // OpenAI's default. Other formats are upstream-specific and passed on.
        let format = word.as_deref().map_or(Some(VectorFormat::Float), VectorFormat::read);
        if format == Some(VectorFormat::Base64) && !self.has_base64 {
            body.to_mut().remove("encoding_format");
        }
        self.add_more(&mut body);
        let inputs = body.get("input").and_then(count_inputs);
        let outgoing = Outgoing::raw(&[Operation::Embeddings.path()], body.to_bytes());
        Passage::one(outgoing, move |body, callee| {
            let mut response =
                document(body, Operation::Embeddings.result(), Operation::Embeddings, callee)?;
            let vectors = response.read::<Vec<IgnoredAny>>("data").map(|data| data.len());
            if let (Some(inputs), Some(vectors)) = (inputs, vectors)
                && vectors != inputs
            {
                return Err(callee.plain(
                    "upstream_invalid_data",
                    &format!("sent {vectors} embeddings for {inputs} inputs"),
                ));
            }
            if let Some(format) = format {
                convert(&mut response, format, callee)?;
            }
            Ok(response)
        })
    }
}

/// How many vectors an input requests: one for a string or a list of tokens, otherwise one for each
/// entry.
fn count_inputs(input: &RawValue) -> Option<usize> {
    let input = input.get().trim_start();
    if input.starts_with('"') {
        return Some(1);
    }
    let is_token =
        input.strip_prefix('[')?.trim_start().starts_with(|first: char| first.is_ascii_digit());
    if is_token {
        Some(1)
    } else {
        serde_json::from_str::<Vec<IgnoredAny>>(input).ok().map(|inputs| inputs.len())
    }
}

/// Converts the vectors of a response to the format that the caller requested.
fn convert(
    response: &mut JsonFields,
    format: VectorFormat,
    callee: &Callee,
) -> Result<(), ProviderFailure> {
    let invalid =
        || callee.plain("upstream_invalid_data", "sent an embedding that is not a list of numbers");
    let mut data: Vec<JsonFields> = response.read("data").ok_or_else(invalid)?;
    let is_of_format =
        |entry: &JsonFields| entry.get("embedding").is_none_or(|vector| format.is_of(vector));
    if data.iter().all(is_of_format) {
        return Ok(());
    }
    for entry in &mut data {
        let vector: Option<Box<RawValue>> = entry
            .get("embedding")
            .map(|vector| format.convert(vector).ok_or_else(invalid))
            .transpose()?;
        if let Some(vector) = vector {
            entry.set("embedding", &vector);
        }
    }
    response.set("data", &data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::provider::call::UpstreamCall;
    use engine::provider::failure::FailureScope;
    use protocol::passthrough::Passthrough;
    use serde_json::json;

    use super::super::super::sample;
    use super::*;

    fn dialect(preset: Preset) -> OpenAiFeatures {
        OpenAiFeatures::of(&UpstreamConfig::new("north", preset, "https://north.example/v1"))
    }

    fn request(operation: Operation, body: &Value, model: Option<&str>) -> PassthroughRequest {
        let request = Passthrough::read(operation, body.to_string().as_bytes()).unwrap();
        PassthroughRequest {
            request: Arc::new(request),
            model: model.map(Arc::from),
            call: UpstreamCall::default(),
        }
    }

    fn sent(passage: &Passage) -> (String, &'static str, String) {
        let [outgoing] = &passage.outgoing[..] else { panic!("{passage:?}") };
        let body = String::from_utf8(outgoing.raw.as_ref().unwrap().to_vec()).unwrap();
        (outgoing.path.join("/"), outgoing.accept, body)
    }

    #[test]
    fn a_body_is_passed_on_except_for_the_model_name() {
        let body = json!({ "model": "mine", "prompt": "x", "stream": true, "odd": { "a": 1.0 } });
        let passage = dialect(Preset::Compatible).pass(&request(
            Operation::Completions,
            &body,
            Some("theirs"),
        ));
        let expected = r#"{"model":"theirs","prompt":"x","stream":true,"odd":{"a":1.0}}"#;
        assert_eq!(
            sent(&passage),
            ("completions".to_owned(), "text/event-stream", expected.to_owned())
        );
        let passage = dialect(Preset::Compatible).pass(&request(
            Operation::Moderations,
            &json!({ "input": "x" }),
            None,
        ));
        assert_eq!(
            sent(&passage),
            ("moderations".to_owned(), "application/json", r#"{"input":"x"}"#.to_owned())
        );
    }

    #[test]
    fn the_settings_add_fields_and_remove_stream_options() {
        let mut config =
            UpstreamConfig::new("north", Preset::Compatible, "https://north.example/v1");
        config.compat.stream_options = false;
        config.compat.body = json!({ "provider": { "data_collection": "deny" }, "user": "weir" })
            .as_object()
            .unwrap()
            .clone();
        let of = |operation, body: Value| {
            let sent = sent(&OpenAiFeatures::of(&config).pass(&request(operation, &body, None))).2;
            serde_json::from_str::<Value>(&sent).unwrap()
        };
        let more = json!({ "data_collection": "deny" });
        let asked = json!({ "model": "m", "prompt": "x", "user": "u", "stream": true, "stream_options": { "include_usage": true } });
        let expected = json!({ "model": "m", "prompt": "x", "user": "weir", "stream": true, "provider": more });
        assert_eq!(of(Operation::Completions, asked), expected);
        let expected = json!({ "model": "m", "input": "x", "provider": more, "user": "weir" });
        assert_eq!(
            of(
                Operation::Embeddings,
                json!({ "model": "m", "input": "x", "encoding_format": "base64" })
            ),
            expected
        );
    }

    #[test]
    fn base64_is_requested_where_supported_and_converted_otherwise() {
        let vectors = |encoding: &Value, preset, response: &Value| {
            let mut body = json!({ "model": "m", "input": "x" });
            body["encoding_format"] = encoding.clone();
            let passage = dialect(preset).pass(&request(Operation::Embeddings, &body, None));
            let asked: Value = serde_json::from_str(&sent(&passage).2).unwrap();
            let read = (passage.read)(&[response.to_string().into_bytes()], &sample::north());
            let read =
                read.map(|fields| serde_json::from_slice::<Value>(&fields.to_bytes()).unwrap());
            (asked.get("encoding_format").cloned(), read)
        };
        let floats =
            json!({ "data": [{ "index": 0, "embedding": [1.0, -0.5, 0.1], "odd": 1 }], "odd": 2 });
        let base64 = json!({ "data": [{ "index": 0, "embedding": "AACAPwAAAL/NzMw9", "odd": 1 }], "odd": 2 });
        let word = json!("base64");
        for response in [&floats, &base64] {
            assert_eq!(
                vectors(&word, Preset::OpenAi, response),
                (Some(word.clone()), Ok(base64.clone()))
            );
            assert_eq!(vectors(&word, Preset::Compatible, response), (None, Ok(base64.clone())));
            assert_eq!(
                vectors(&json!("float"), Preset::Compatible, response),
                (Some(json!("float")), Ok(floats.clone()))
            );
            assert_eq!(
                vectors(&Value::Null, Preset::Qwen, response),
                (Some(Value::Null), Ok(floats.clone()))
            );
            // Other formats are upstream-specific.
            assert_eq!(
                vectors(&json!("ubinary"), Preset::Compatible, response),
                (Some(json!("ubinary")), Ok(response.clone()))
            );
        }
        let odd = json!({ "data": [{ "embedding": [1.0, null] }] });
        assert_eq!(
            vectors(&word, Preset::Compatible, &odd).1.unwrap_err().fault.code,
            "upstream_invalid_data"
        );
    }

    #[test]
    fn there_must_be_as_many_vectors_as_inputs() {
        let read = |input: Value, vectors: usize| {
            let passage = dialect(Preset::Compatible).pass(&request(
                Operation::Embeddings,
                &json!({ "model": "m", "input": input }),
                None,
            ));
            let data = vec![json!({ "embedding": [1.0] }); vectors];
            (passage.read)(&[json!({ "data": data }).to_string().into_bytes()], &sample::north())
                .map_err(|failure| failure.fault.message)
        };
        for (input, vectors) in [
            (json!("x"), 1),
            (json!(["x"]), 1),
            (json!(["x", "y"]), 2),
            (json!([1, 2]), 1),
            (json!([[1], [2]]), 2),
        ] {
            assert!(read(input.clone(), vectors).is_ok(), "{input}");
            assert!(
                read(input.clone(), vectors - 1)
                    .is_err_and(|message| message.contains("embeddings for")),
                "{input}"
            );
        }
    }

    #[test]
    fn anything_but_a_response_is_an_error_even_with_status_200() {
        let read = |body: &str| {
            let passage = dialect(Preset::Compatible).pass(&request(
                Operation::Moderations,
                &json!({ "input": "x" }),
                None,
            ));
            let failure =
                (passage.read)(&[body.as_bytes().to_vec()], &sample::north()).unwrap_err();
            (failure.fault.status, failure.fault.code, failure.scope)
        };
        assert_eq!(
            read("<html>"),
            (502, "upstream_invalid_data".into(), FailureScope::Upstream(None))
        );
        assert_eq!(read("{}"), (502, "upstream_invalid_data".into(), FailureScope::Upstream(None)));
        assert_eq!(
            read(r#"{"error":{"message":"m","code":429}}"#),
            (429, "rate_limit_exceeded".into(), FailureScope::RateLimited(None))
        );
        let lm_studio = r#"{"error":"Unexpected endpoint or method. (POST /v1/moderations). Returning 200 anyway"}"#;
        assert_eq!(
            read(lm_studio),
            (400, "unsupported_operation".into(), FailureScope::Unsupported)
        );
        assert!(
            Passage::one(Outgoing::document(&[]), |_, _| Ok(JsonFields::default())).outgoing.len()
                == 1
        );
    }
}
