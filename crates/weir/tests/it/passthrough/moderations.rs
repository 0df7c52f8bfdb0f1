//! `POST /v1/moderations`.

use client::Request;
use engine::provider::route::Timeouts;
use fakes::{Script, Upstream, Vendor};
use provider::config::{Preset, UpstreamConfig};
use serde_json::json;

use super::{Vendors, request};
use crate::test_server::{TestServer, TestServerPlan, upstream_of};

const PATH: &str = "/v1/moderations";

#[tokio::test]
async fn they_pass_through() {
    let vendors = Vendors::open().await;
    for model in ["openai", "compatible", "responses"] {
        let (status, body) =
            vendors.test_server.json(&request(PATH, model, &json!({ "input": ["a", "b"] }))).await;
        assert_eq!(
            (status, &body["model"], body["results"].as_array().unwrap().len()),
            (200, &json!(model), 2),
            "{body}"
        );
        assert_eq!(body["results"][0]["category_scores"]["violence"], json!(1.23e-7));
        assert!(body.get("usage").is_none(), "nobody asked what it cost");
    }
    for model in ["gemini", "ollama", "anthropic", "demo"] {
        let (status, body) = vendors.test_server.json(&request(PATH, model, &json!({}))).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (400, &json!("unsupported_operation")),
            "{body}"
        );
    }
    vendors.close().await;
}

#[tokio::test]
async fn one_without_a_model_goes_to_openai_unchanged() {
    let lab = Upstream::start_as(Vendor::OpenAi).await.unwrap();
    let other = Upstream::start().await.unwrap();
    let openai = UpstreamConfig {
        preset: Preset::OpenAi,
        models: Vec::new(),
        ..upstream_of("openai", lab.base_url(), Timeouts::default())
    };
    let before = UpstreamConfig {
        models: Vec::new(),
        ..upstream_of("before", other.base_url(), Timeouts::default())
    };
    let test_server = TestServer::open_with(TestServerPlan {
        more_upstreams: vec![before, openai],
        ..TestServerPlan::default()
    })
    .await;
    let (status, body) = test_server.json(&Request::post(PATH, &json!({ "input": "a" }))).await;
    assert_eq!(
        (status, &body["model"]),
        (200, &json!("lab-model")),
        "the model's own name, where the caller has none: {body}"
    );
    assert_eq!(
        (lab.requests().pop().unwrap().body, other.requests().len()),
        (json!({ "input": "a" }), 0)
    );
    test_server.close().await;
}

#[tokio::test]
async fn without_an_upstream_for_moderations_the_error_says_so() {
    let vendors = Vendors::open().await;
    let (status, body) =
        vendors.test_server.json(&Request::post(PATH, &json!({ "input": "a" }))).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")), "{body}");
    assert!(
        body["error"]["message"].as_str().unwrap().contains("omni-moderation-latest"),
        "{body}"
    );
    // A server without that path.
    for (status, content, said) in [
        (404, r#"{"detail":"Not Found"}"#, "(404): Not Found."),
        (405, "", "(405)."),
        (
            501,
            r#"{"error":"this model does not support moderations"}"#,
            "does not support moderations.",
        ),
        (
            400,
            r#"{"error":{"message":"The model does not support Moderations API"}}"#,
            "does not support Moderations API.",
        ),
        (
            200,
            r#"{"error":"Unexpected endpoint or method. (POST /v1/moderations). Returning 200 anyway"}"#,
            "Returning 200 anyway.",
        ),
    ] {
        vendors.fake("compatible").script(Script::status(
            status,
            &[("content-type", "application/json")],
            content,
        ));
        let (status, body) =
            vendors.test_server.json(&request(PATH, "compatible", &json!({}))).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (400, &json!("unsupported_operation")),
            "{body}"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("The upstream 'lab-compatible' has no moderations")
                && message.contains(said),
            "{message}"
        );
    }
    vendors.close().await;
}
