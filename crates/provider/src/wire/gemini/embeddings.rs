//! Embeddings with Gemini's `batchEmbedContents`.

use engine::provider::failure::ProviderFailure;
use engine::provider::passthrough::PassthroughRequest;
use protocol::fault::Fault;
use protocol::fields::JsonFields;
use protocol::passthrough::{Operation, Passthrough};
use protocol::vector::VectorFormat;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::fault::Callee;
use super::super::passthrough::{Passage, vectors};
use crate::wire::outgoing::Outgoing;
use crate::wire::passthrough::document::document;

const VENDOR: &str = "Gemini";

/// Gemini's own fields, in both spellings, with their names on the wire.
const OWN: &[(&str, &str)] =
    &[("taskType", "taskType"), ("task_type", "taskType"), ("title", "title")];

/// The largest batch ("at most 100 requests can be in one batch"). Clients send up to 2048 inputs.
const BATCH: usize = 100;

/// Rejects what Gemini does not support.
///
/// # Errors
/// The first unsupported field.
pub(super) fn check(request: &Passthrough) -> Result<(), Fault> {
    let own: Vec<&str> = OWN.iter().map(|(name, _)| *name).collect();
    vectors::check_fields(request, VENDOR, &own)?;
    vectors::format(request, VENDOR)?;
    vectors::texts(request, VENDOR).map(drop)
}

/// The call, in as many requests as the inputs need.
///
/// # Errors
/// As [`check`].
pub(super) fn pass(request: &PassthroughRequest) -> Result<Passage, Fault> {
    let asked = &request.request;
    let (texts, format) = (vectors::texts(asked, VENDOR)?, vectors::format(asked, VENDOR)?);
    // The model list has names such as `models/…`; tuned models have another prefix.
    let (collection, name) = request.model().split_once('/').unwrap_or(("models", request.model()));
    let mut usual = JsonFields::default();
    usual.set("model", &format!("{collection}/{name}"));
    for (field, on_the_wire) in [("dimensions", "outputDimensionality")].iter().chain(OWN) {
        if let Some(value) = asked.body.get(field) {
            usual.set(on_the_wire, value);
        }
    }
    let one = |text: &String| {
        let mut one = usual.clone();
        one.set("content", &json!({ "parts": [{ "text": text }] }));
        one
    };
    let method = format!("{name}:batchEmbedContents");
    let batch = |texts: &[String]| {
        let mut body = JsonFields::default();
        body.set("requests", &texts.iter().map(one).collect::<Vec<_>>());
        Outgoing::raw(&[collection, &method], body.to_bytes())
    };
    let (inputs, model) = (texts.len(), request.model().to_owned());
    Ok(Passage {
        outgoing: texts.chunks(BATCH).map(batch).collect(),
        read: Box::new(move |bodies, callee| read(bodies, inputs, format, &model, callee)),
    })
}

fn read(
    bodies: &[Vec<u8>],
    inputs: usize,
    format: VectorFormat,
    model: &str,
    callee: &Callee,
) -> Result<JsonFields, ProviderFailure> {
    let responses = bodies
        .iter()
        .map(|body| document(body, "embeddings", Operation::Embeddings, callee))
        .collect::<Result<Vec<_>, ProviderFailure>>()?;
    let embeddings: Vec<JsonFields> = responses
        .iter()
        .filter_map(|response| response.read::<Vec<JsonFields>>("embeddings"))
        .flatten()
        .collect();
    let vectors: Vec<&RawValue> =
        embeddings.iter().filter_map(|embedding| embedding.get("values")).collect();
    // Older models do not report it.
    let tokens = responses.iter().map(|response| {
        response.read::<JsonFields>("usageMetadata")?.read::<u64>("promptTokenCount")
    });
    vectors::list(&vectors, inputs, format, model, tokens.sum(), callee)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::provider::call::UpstreamCall;
    use serde_json::Value;

    use super::super::super::sample;
    use super::*;

    fn request(body: &Value, model: Option<&str>) -> PassthroughRequest {
        let request =
            Passthrough::read(Operation::Embeddings, body.to_string().as_bytes()).unwrap();
        PassthroughRequest {
            request: Arc::new(request),
            model: model.map(Arc::from),
            call: UpstreamCall::default(),
        }
    }

    fn sent(body: &Value, model: Option<&str>) -> Vec<(String, Value)> {
        let passage = pass(&request(body, model)).unwrap();
        let sent = |outgoing: &Outgoing| {
            (
                outgoing.path.join("/"),
                serde_json::from_slice(outgoing.raw.as_ref().unwrap()).unwrap(),
            )
        };
        passage.outgoing.iter().map(sent).collect()
    }

    #[test]
    fn each_text_is_one_request_of_the_batch() {
        let body = json!({ "model": "gemini-embedding-001", "input": ["a", "b"], "dimensions": 768, "task_type": "RETRIEVAL_QUERY", "user": "u" });
        let one = |text: &str| {
            json!({
                "model": "models/gemini-embedding-001",
                "outputDimensionality": 768,
                "taskType": "RETRIEVAL_QUERY",
                "content": { "parts": [{ "text": text }] },
            })
        };
        let path = "models/gemini-embedding-001:batchEmbedContents".to_owned();
        assert_eq!(sent(&body, None), [(path, json!({ "requests": [one("a"), one("b")] }))]);
        let named =
            sent(&json!({ "model": "mine", "input": "a" }), Some("models/gemini-embedding-2"));
        assert_eq!(named[0].0, "models/gemini-embedding-2:batchEmbedContents");
        assert_eq!(named[0].1["requests"][0]["model"], "models/gemini-embedding-2");
    }

    #[test]
    fn larger_inputs_need_several_batches() {
        let texts: Vec<String> = (0..250).map(|number| number.to_string()).collect();
        let sent = sent(&json!({ "model": "m", "input": texts }), None);
        let counts: Vec<usize> =
            sent.iter().map(|(_, body)| body["requests"].as_array().unwrap().len()).collect();
        assert_eq!(counts, [100, 100, 50]);
        assert_eq!(sent[2].1["requests"][49]["content"]["parts"][0]["text"], "249");
    }

    #[test]
    fn unsupported_fields_are_named() {
        let refused = |more: Value| {
            let mut body = json!({ "model": "m", "input": "a" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let fault = check(&request(&body, None).request).unwrap_err();
            (fault.code, fault.param.unwrap())
        };
        assert_eq!(
            refused(json!({ "input": [[1], [2]] })),
            ("unsupported_value".into(), "input".into())
        );
        assert_eq!(
            refused(json!({ "input_type": "query" })),
            ("unsupported_parameter".into(), "input_type".into())
        );
    }

    #[test]
    fn the_vectors_of_all_batches_are_joined() {
        let body = json!({ "model": "m", "input": (0..101).map(|number| number.to_string()).collect::<Vec<_>>() });
        let response = |count: usize, tokens: Option<u64>| {
            let embeddings: Vec<Value> =
                (0..count).map(|number| json!({ "values": [count, number] })).collect();
            let usage = tokens.map(|tokens| json!({ "promptTokenCount": tokens }));
            json!({ "embeddings": embeddings, "usageMetadata": usage }).to_string().into_bytes()
        };
        let read = |bodies: &[Vec<u8>]| {
            let read = (pass(&request(&body, None)).unwrap().read)(bodies, &sample::north());
            read.map(|fields| serde_json::from_slice::<Value>(&fields.to_bytes()).unwrap())
                .map_err(|failure| failure.fault.code)
        };
        let list = read(&[response(100, Some(300)), response(1, Some(2))]).unwrap();
        assert_eq!(list["data"].as_array().unwrap().len(), 101);
        assert_eq!(
            list["data"][100],
            json!({ "object": "embedding", "index": 100, "embedding": [1, 0] })
        );
        assert_eq!((&list["model"], &list["usage"]["prompt_tokens"]), (&json!("m"), &json!(302)));
        assert!(
            read(&[response(100, Some(300)), response(1, None)]).unwrap().get("usage").is_none(),
            "incomplete"
        );
        assert_eq!(
            read(&[response(100, None), response(2, None)]),
            Err("upstream_invalid_data".into())
        );
        let sample = include_bytes!("../../../fixtures/gemini/embeddings.json").to_vec();
        let read = (pass(&request(&json!({ "model": "m", "input": ["a", "b"] }), None))
            .unwrap()
            .read)(&[sample], &sample::north());
        let list: Value = serde_json::from_slice(&read.unwrap().to_bytes()).unwrap();
        assert_eq!(list["data"][1]["embedding"], json!([0.003_721_6, -0.010_5]));
    }
}
