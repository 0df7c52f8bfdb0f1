//! `POST /v1/embeddings`, for every API that supports it.

use engine::provider::route::Timeouts;
use fakes::{Script, Upstream, Vendor, vector};
use protocol::vector::VectorFormat;
use provider::config::{Preset, UpstreamConfig};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::{Vendors, request};
use crate::test_server::{TestServer, TestServerPlan, demo, upstream_of};

/// The APIs with embeddings.
const WITH: [&str; 5] = ["compatible", "openai", "responses", "gemini", "ollama"];

const PATH: &str = "/v1/embeddings";

/// The vectors of a response in either format.
fn vectors(list: &Value, format: &str) -> Vec<Vec<f32>> {
    assert_eq!(list["object"], "list", "{list}");
    let entries = list["data"].as_array().unwrap().iter().enumerate();
    let read = |(index, entry): (usize, &Value)| {
        assert_eq!(
            (&entry["object"], &entry["index"]),
            (&json!("embedding"), &json!(index)),
            "{list}"
        );
        let format = if format == "base64" { VectorFormat::Base64 } else { VectorFormat::Float };
        format
            .decode(&to_raw_value(&entry["embedding"]).unwrap())
            .unwrap_or_else(|| panic!("{entry}"))
    };
    entries.map(read).collect()
}

#[tokio::test]
async fn every_api_returns_the_same_list_in_the_requested_format() {
    let vendors = Vendors::open().await;
    for model in WITH {
        for format in ["float", "base64", ""] {
            for (more, dimensions) in
                [(json!({ "input": ["a", "four", "a"] }), 3), (json!({ "dimensions": 8 }), 8)]
            {
                let lengths: &[usize] = if dimensions == 3 { &[1, 4, 1] } else { &[5] };
                let mut more = more;
                if !format.is_empty() {
                    more["encoding_format"] = json!(format);
                }
                let (status, list) = vendors.test_server.json(&request(PATH, model, &more)).await;
                assert_eq!((status, &list["model"]), (200, &json!(model)), "{list}");
                let expected: Vec<Vec<f32>> =
                    lengths.iter().map(|length| vector(*length, dimensions)).collect();
                assert_eq!(vectors(&list, format), expected, "{model} {format}");
                let tokens = json!(lengths.len() * 2);
                let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens, "source": "provider" });
                assert_eq!(list["usage"], usage, "{model}");
            }
        }
    }
    vendors.close().await;
}

#[tokio::test]
async fn azure_gets_its_key_header_and_deployment_from_either_address() {
    let lab = Upstream::start_as(Vendor::OpenAi).await.unwrap();
    let deployment =
        format!("http://{}/openai/deployments/mine?api-version=2024-10-21", lab.address());
    let upstream = |model: &str, base_url: String| UpstreamConfig {
        preset: Preset::Azure,
        ..upstream_of(model, base_url, Timeouts::default())
    };
    let more_upstreams = vec![upstream("new", lab.azure_base_url()), upstream("old", deployment)];
    let test_server =
        TestServer::open_with(TestServerPlan { more_upstreams, ..TestServerPlan::default() }).await;
    for model in ["new", "old"] {
        let (status, list) =
            test_server.json(&request(PATH, model, &json!({ "encoding_format": "base64" }))).await;
        assert_eq!((status, &list["model"]), (200, &json!(model)), "{list}");
        assert_eq!(vectors(&list, "base64"), [vector(5, 3)]);
        assert_eq!(test_server.json(&request("/v1/completions", model, &json!({}))).await.0, 200);
    }
    assert_eq!(lab.complaints(), Vec::<String>::new());
    test_server.close().await;
}

#[tokio::test]
async fn unknown_fields_are_passed_both_ways_with_the_servers_key() {
    let vendors = Vendors::open().await;
    let odd = json!({ "input": [1, 2, 3], "odd": { "b": 1.50, "a": [] }, "user": "u" });
    let (status, list) =
        vendors.test_server.json(&request(PATH, "compatible", &odd).bearer("of-the-caller")).await;
    assert_eq!((status, &list["lab"]["odd"]), (200, &json!(1.50)), "{list}");
    let asked = vendors.fake("compatible").requests().pop().unwrap();
    assert_eq!(
        asked.body,
        json!({ "model": "compatible", "input": [1, 2, 3], "odd": { "b": 1.50, "a": [] }, "user": "u" })
    );
    assert_eq!(
        (asked.path.as_str(), asked.key.as_deref()),
        ("/v1/embeddings", Some("sk-of-q8Zv41Tn0bX"))
    );
    vendors.close().await;
}

#[tokio::test]
async fn more_texts_than_gemini_accepts_need_several_requests() {
    let vendors = Vendors::open().await;
    let texts: Vec<String> = (0..250).map(|number| "x".repeat(number)).collect();
    let (status, list) =
        vendors.test_server.json(&request(PATH, "gemini", &json!({ "input": texts }))).await;
    assert_eq!(status, 200);
    assert_eq!(
        vectors(&list, "float"),
        (0..250).map(|length| vector(length, 3)).collect::<Vec<_>>()
    );
    assert_eq!(list["usage"]["prompt_tokens"], 500);
    assert_eq!(vendors.fake("gemini").requests().len(), 3);
    vendors.close().await;
}

/// A partial result would be useless.
#[tokio::test]
async fn a_failing_batch_fails_the_request() {
    let vendors = Vendors::open().await;
    let gemini = vendors.fake("gemini");
    gemini.script(Script::text(&[]));
    gemini.script(Script::refused(429, fakes::VendorError::RateLimit));
    let (status, body) = vendors
        .test_server
        .json(&request(PATH, "gemini", &json!({ "input": vec!["x"; 150] })))
        .await;
    assert_eq!((status, &body["error"]["code"]), (429, &json!("rate_limit_exceeded")), "{body}");
    vendors.close().await;
}

#[tokio::test]
async fn ollama_truncates_nothing_unless_requested() {
    let vendors = Vendors::open().await;
    let long = "x".repeat(3000);
    let (status, body) =
        vendors.test_server.json(&request(PATH, "ollama", &json!({ "input": long }))).await;
    let message = "the input length exceeds the context length (send \"truncate\": true to have the text cut) (upstream 'lab-ollama', status 400)";
    assert_eq!((status, &body["error"]["message"]), (400, &json!(message)), "{body}");
    let complaints = vendors.fake("ollama").complaints();
    let (status, _) = vendors
        .test_server
        .json(&request(PATH, "ollama", &json!({ "input": long, "truncate": true })))
        .await;
    assert_eq!(
        (status, vendors.fake("ollama").complaints()),
        (200, complaints),
        "the lab complains of the first only"
    );
    vendors.test_server.close().await;
}

#[tokio::test]
async fn unsupported_fields_are_rejected_by_name_before_any_call() {
    let vendors = Vendors::open().await;
    let cases = [
        ("ollama", json!({ "input": [1, 2] }), "unsupported_value", "input"),
        ("gemini", json!({ "input": [[1, 2]] }), "unsupported_value", "input"),
        ("gemini", json!({ "encoding_format": "int8" }), "unsupported_value", "encoding_format"),
        ("ollama", json!({ "options": { "num_ctx": 1 } }), "unsupported_parameter", "options"),
        ("ollama", json!({ "input": null }), "missing_required_parameter", "input"),
        ("anthropic", json!({}), "unsupported_operation", "model"),
        ("demo", json!({ "odd": 1 }), "unknown_parameter", "odd"),
        ("openai", json!({ "stream": true }), "unsupported_value", "stream"),
        ("openai", json!({ "model": 1 }), "invalid_type", "model"),
    ];
    for (model, more, code, param) in cases {
        let (status, body) = vendors.test_server.json(&request(PATH, model, &more)).await;
        assert_eq!(
            (status, &body["error"]["code"], &body["error"]["param"]),
            (400, &json!(code), &json!(param)),
            "{model}: {body}"
        );
    }
    let (_, body) = vendors.test_server.json(&request(PATH, "anthropic", &json!({}))).await;
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("'lab-anthropic'") && message.contains("has no embeddings"),
        "{message}"
    );
    let (_, body) =
        vendors.test_server.json(&request(PATH, "ollama", &json!({ "input": [1] }))).await;
    assert!(
        body["error"]["message"].as_str().unwrap().contains("check_embedding_ctx_length=False"),
        "{body}"
    );
    assert!(vendors.fakes.iter().all(|(_, fake)| fake.requests().is_empty()));
    vendors.close().await;
}

#[tokio::test]
async fn missing_usage_is_counted() {
    let vendors = Vendors::open().await;
    let response = |usage: Value| {
        let mut list = json!({ "object": "list", "data": [{ "object": "embedding", "index": 0, "embedding": [1.0] }], "model": "x" });
        list["usage"] = usage;
        Script::status(200, &[("content-type", "application/json")], list.to_string())
    };
    for usage in [Value::Null, json!({ "prompt_tokens": 0, "total_tokens": 0 })] {
        vendors.fake("compatible").script(response(usage));
        let (_, list) = vendors.test_server.json(&request(PATH, "compatible", &json!({}))).await;
        assert_eq!(
            list["usage"],
            json!({ "prompt_tokens": 1, "total_tokens": 1, "source": "counted" })
        );
    }
    vendors.close().await;
}

#[tokio::test]
async fn the_demo_returns_vectors_marked_as_meaningless() {
    let test_server = TestServer::open_with(TestServerPlan::default()).await;
    let ask = async |more: Value| test_server.json(&request(PATH, "demo", &more)).await.1;
    let (first, again) = (ask(json!({})).await, ask(json!({ "encoding_format": "base64" })).await);
    assert_eq!(vectors(&first, "float"), vectors(&again, "base64"));
    assert!(first["notice"].as_str().unwrap().contains("none has a meaning"), "{first}");
    assert_eq!(
        first["usage"],
        json!({ "prompt_tokens": 1, "total_tokens": 1, "source": "counted" })
    );
    // The demo's chat model is unaffected.
    assert_eq!(
        test_server
            .post("/v1/responses", &json!({ "model": "demo", "input": demo("x")["input"] }))
            .await
            .0,
        200
    );
    test_server.close().await;
}
