//! Embeddings with Ollama's `/api/embed`.

use engine::provider::failure::ProviderFailure;
use engine::provider::passthrough::PassthroughRequest;
use protocol::fault::Fault;
use protocol::fields::JsonFields;
use protocol::passthrough::{Operation, Passthrough};
use protocol::vector::VectorFormat;
use serde_json::value::RawValue;

use super::super::fault::Callee;
use super::super::passthrough::{Passage, vectors};
use crate::wire::outgoing::Outgoing;
use crate::wire::passthrough::document::document;

const VENDOR: &str = "Ollama";

/// Ollama's own fields. Those of its runner (`options`, `keep_alive`) are reserved for the
/// operator.
const OWN: &[&str] = &["truncate"];

/// Rejects what Ollama does not support.
///
/// # Errors
/// The first unsupported field.
pub(super) fn check(request: &Passthrough) -> Result<(), Fault> {
    vectors::check_fields(request, VENDOR, OWN)?;
    vectors::format(request, VENDOR)?;
    vectors::texts(request, VENDOR).map(drop)
}

/// The call.
///
/// # Errors
/// As [`check`].
pub(super) fn pass(request: &PassthroughRequest) -> Result<Passage, Fault> {
    let asked = &request.request;
    let (texts, format) = (vectors::texts(asked, VENDOR)?, vectors::format(asked, VENDOR)?);
    let inputs = texts.len();
    let mut body = JsonFields::default();
    body.set("model", request.model());
    body.set("input", &texts);
    if let Some(dimensions) = asked.body.get("dimensions") {
        body.set("dimensions", dimensions);
    }
    match asked.body.get("truncate") {
        Some(truncate) => body.set("truncate", truncate),
        // Ollama silently truncates a text that is too long, and returns the vector of another
        // text. OpenAI rejects it.
        None => body.set("truncate", &false),
    }
    let model = request.model().to_owned();
    Ok(Passage::one(Outgoing::raw(&["api", "embed"], body.to_bytes()), move |body, callee| {
        read(body, inputs, format, &model, callee)
    }))
}

fn read(
    body: &[u8],
    inputs: usize,
    format: VectorFormat,
    model: &str,
    callee: &Callee,
) -> Result<JsonFields, ProviderFailure> {
    let response = document(body, "embeddings", Operation::Embeddings, callee)?;
    let vectors: Vec<&RawValue> = response.read("embeddings").unwrap_or_default();
    vectors::list(&vectors, inputs, format, model, response.read("prompt_eval_count"), callee)
}

/// Adds what to do about a text that is too long.
pub(super) fn with_remedy(message: String) -> String {
    if message.contains("input length exceeds") {
        format!("{message} (send \"truncate\": true to have the text cut)")
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::provider::call::UpstreamCall;
    use serde_json::{Value, json};

    use super::super::super::sample;
    use super::*;

    fn request(body: &Value) -> PassthroughRequest {
        let request =
            Passthrough::read(Operation::Embeddings, body.to_string().as_bytes()).unwrap();
        PassthroughRequest {
            request: Arc::new(request),
            model: Some("theirs".into()),
            call: UpstreamCall::default(),
        }
    }

    fn sent(body: &Value) -> (String, Value) {
        let passage = pass(&request(body)).unwrap();
        let outgoing = &passage.outgoing[0];
        (outgoing.path.join("/"), serde_json::from_slice(outgoing.raw.as_ref().unwrap()).unwrap())
    }

    #[test]
    fn a_text_is_a_list_of_one_and_not_truncated() {
        let expected = json!({ "model": "theirs", "input": ["a"], "truncate": false });
        assert_eq!(
            sent(&json!({ "model": "m", "input": "a", "encoding_format": "base64", "user": "u" })),
            ("api/embed".to_owned(), expected)
        );
        let more = json!({ "model": "m", "input": ["a", "b"], "dimensions": 64, "truncate": true });
        assert_eq!(
            sent(&more).1,
            json!({ "model": "theirs", "input": ["a", "b"], "dimensions": 64, "truncate": true })
        );
    }

    #[test]
    fn unsupported_fields_are_named() {
        let refused = |more: Value| {
            let mut body = json!({ "model": "m", "input": "a" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let fault = check(&request(&body).request).unwrap_err();
            (fault.code, fault.param.unwrap())
        };
        assert_eq!(
            refused(json!({ "input": [1, 2] })),
            ("unsupported_value".into(), "input".into())
        );
        assert_eq!(refused(json!({ "input": [] })), ("invalid_value".into(), "input".into()));
        assert_eq!(
            refused(json!({ "encoding_format": "int8" })),
            ("unsupported_value".into(), "encoding_format".into())
        );
        assert_eq!(
            refused(json!({ "keep_alive": -1 })),
            ("unsupported_parameter".into(), "keep_alive".into())
        );
    }

    fn response(asked: &Value, body: &str) -> Result<Value, String> {
        let passage = pass(&request(asked)).unwrap();
        let read = (passage.read)(&[body.as_bytes().to_vec()], &sample::north());
        read.map(|fields| serde_json::from_slice(&fields.to_bytes()).unwrap())
            .map_err(|failure| failure.fault.code)
    }

    #[test]
    fn vectors_become_openais_list() {
        let body = include_str!("../../../fixtures/ollama/embed.json");
        let asked = json!({ "model": "m", "input": ["a", "b"] });
        let expected = json!({
            "object": "list",
            "data": [
                { "object": "embedding", "index": 0, "embedding": [0.010_071_029, -0.001_759_486_2] },
                { "object": "embedding", "index": 1, "embedding": [0.050_072_21, 0.046_929_72] },
            ],
            "model": "theirs",
            "usage": { "prompt_tokens": 8, "total_tokens": 8 },
        });
        assert_eq!(response(&asked, body), Ok(expected));
        let base64 = response(
            &json!({ "model": "m", "input": ["a", "b"], "encoding_format": "base64" }),
            body,
        )
        .unwrap();
        assert!(
            base64["data"][0]["embedding"].is_string()
                && base64["data"][1]["embedding"].is_string()
        );
        assert_eq!(
            response(&json!({ "model": "m", "input": "a" }), body),
            Err("upstream_invalid_data".into()),
            "two for one"
        );
        assert_eq!(
            response(&asked, r#"{"embeddings":[[1],{}]}"#),
            Err("upstream_invalid_data".into())
        );
    }
}
