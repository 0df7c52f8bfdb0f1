//! The demo's pass-through calls.

use std::sync::Arc;

use engine::provider::call::UpstreamCall;
use serde_json::{Value, json};

use super::*;

fn request(operation: Operation, body: &Value) -> PassthroughRequest {
    let request = Passthrough::read(operation, body.to_string().as_bytes()).unwrap();
    PassthroughRequest { request: Arc::new(request), model: None, call: UpstreamCall::default() }
}

/// All parts, as JSON.
async fn all(operation: Operation, body: Value) -> Vec<Value> {
    let parts: Vec<_> = pass(&request(operation, &body), 0.0).unwrap().collect().await;
    let read = |part: Result<PassthroughPart, ProviderFailure>| match part.unwrap() {
        PassthroughPart::Document(document) => (document.read)().unwrap(),
        PassthroughPart::Event(event) => event,
        PassthroughPart::KeepAlive | PassthroughPart::Progress => {
            panic!("the demo waits for nothing")
        }
    };
    parts
        .into_iter()
        .map(read)
        .map(|fields| serde_json::from_slice(&fields.to_bytes()).unwrap())
        .collect()
}

async fn vectors(input: Value, more: Value) -> Vec<Vec<f64>> {
    let mut body = json!({ "model": "demo", "input": input });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let list = all(Operation::Embeddings, body).await.remove(0);
    assert!(list["notice"].as_str().unwrap().contains("none has a meaning"), "{list}");
    let vector = |(index, entry): (usize, &Value)| {
        assert_eq!((&entry["object"], &entry["index"]), (&json!("embedding"), &json!(index)));
        entry["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_f64().unwrap())
            .collect()
    };
    list["data"].as_array().unwrap().iter().enumerate().map(vector).collect()
}

#[tokio::test]
async fn the_same_text_has_the_same_unit_vector() {
    let all = vectors(json!(["a", "b", "a"]), json!({})).await;
    assert_eq!(all[0], all[2]);
    assert_ne!(all[0], all[1]);
    assert_eq!(vectors(json!("a"), json!({})).await[0], all[0], "whatever is asked beside it");
    for vector in &all {
        assert_eq!(vector.len(), 256);
        let length: f64 = vector.iter().map(|number| number * number).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    // Pinned, so that later versions give the same vectors.
    assert!((all[0][0] + 0.027_826_713).abs() < 1e-6, "{}", all[0][0]);
    let tokens = vectors(json!([[1, 2], [1, 2], [3]]), json!({ "dimensions": 3 })).await;
    assert_eq!((tokens[0].len(), &tokens[0]), (3, &tokens[1]));
    assert_ne!(tokens[0], tokens[2]);
}

#[tokio::test]
async fn a_completion_is_the_same_complete_and_streamed() {
    let body = |stream: bool| json!({ "model": "demo", "prompt": ["one", "two"], "echo": true, "n": 2, "max_tokens": 5, "stream": stream });
    let whole = all(Operation::Completions, body(false)).await.remove(0);
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    assert!(
        choices[0]["text"].as_str().unwrap().starts_with("one …")
            && choices[3]["text"].as_str().unwrap().starts_with("two …")
    );
    let mut streamed = vec![(String::new(), Value::Null); 4];
    for event in all(Operation::Completions, body(true)).await {
        let choice = &event["choices"][0];
        let index = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
        streamed[index].0.push_str(choice["text"].as_str().unwrap());
        streamed[index].1 = choice["finish_reason"].clone();
    }
    for (index, (text, finish_reason)) in streamed.iter().enumerate() {
        assert_eq!(
            (text.as_str(), finish_reason),
            (choices[index]["text"].as_str().unwrap(), &json!("length"))
        );
    }
    let stopped = all(
        Operation::Completions,
        json!({ "model": "demo", "prompt": "x", "stop": ["built-in", "never"] }),
    )
    .await
    .remove(0);
    assert_eq!(stopped["choices"][0]["text"], " … This text is of Weir's ");
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
}

#[test]
fn unsupported_fields_are_named() {
    let refused = |operation, body: Value| {
        let fault = check(&request(operation, &body).request).unwrap_err();
        (fault.code, fault.param.unwrap_or_default())
    };
    let of = |name: &str, value: Value| {
        let mut body = json!({ "model": "demo", "input": "a", "prompt": "a" });
        body.as_object_mut().unwrap().remove(if name == "prompt" { "input" } else { "prompt" });
        body[name] = value;
        body
    };
    assert_eq!(
        refused(Operation::Embeddings, of("odd", json!(1))),
        ("unknown_parameter".into(), "odd".into())
    );
    assert_eq!(
        refused(Operation::Embeddings, of("dimensions", json!(0))),
        ("invalid_value".into(), "dimensions".into())
    );
    assert_eq!(
        refused(Operation::Embeddings, of("encoding_format", json!("hex"))),
        ("invalid_value".into(), "encoding_format".into())
    );
    assert_eq!(
        refused(Operation::Embeddings, of("input", json!([]))),
        ("invalid_value".into(), "input".into())
    );
    assert_eq!(
        refused(Operation::Completions, of("prompt", json!(vec!["a"; 200]))),
        ("invalid_value".into(), "prompt".into())
    );
    let logprobs = json!({ "model": "demo", "prompt": "a", "logprobs": 2 });
    assert_eq!(
        refused(Operation::Completions, logprobs),
        ("unsupported_value".into(), "logprobs".into())
    );
    assert_eq!(
        refused(Operation::Moderations, of("input", json!("a"))),
        ("unsupported_operation".into(), "model".into())
    );
}
