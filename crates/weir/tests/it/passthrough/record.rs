//! Metrics and traces of pass-through calls.
#![expect(clippy::float_cmp, reason = "what is counted is whole")]

use fakes::{Script, VendorError};
use serde_json::{Value, json};

use super::{Pair, request};
use crate::metrics::{scrape, until};
use crate::test_server::{TestServer, TestServerPlan};
use crate::traces::Collector;

#[tokio::test]
async fn they_are_measured_like_responses() {
    let pair = Pair::start().await;
    let test_server = TestServer::open_with(pair.plan(|_| {})).await;
    for path in ["/v1/embeddings", "/v1/completions", "/v1/moderations"] {
        assert_eq!(test_server.json(&request(path, "both", &json!({}))).await.0, 200);
    }
    test_server
        .send(&request("/v1/completions", "both", &json!({ "stream": true })))
        .await
        .collect()
        .await
        .unwrap();
    pair.first.script(Script::refused(400, VendorError::Invalid));
    assert_eq!(test_server.json(&request("/v1/embeddings", "both", &json!({}))).await.0, 400);
    let is_idle = |seen: &crate::metrics::exposition::Scrape| {
        seen.sum("weir_passthrough_calls_running", &[]) < 0.5
    };
    let seen = until(&test_server, is_idle, "nothing runs").await;
    let calls = |operation: &str, status: &str| {
        seen.sum("weir_passthrough_calls_total", &[("operation", operation), ("status", status)])
    };
    let counts = [
        ("embeddings", "completed"),
        ("text_completion", "completed"),
        ("moderation", "completed"),
        ("embeddings", "failed"),
    ];
    assert_eq!(counts.map(|(operation, status)| calls(operation, status)), [1.0, 2.0, 1.0, 1.0]);
    let labels = |operation| {
        [
            ("gen_ai_operation_name", operation),
            ("gen_ai_provider_name", "lab-first"),
            ("gen_ai_request_model", "both"),
        ]
    };
    for (operation, count) in [("embeddings", 2.0), ("text_completion", 2.0), ("moderation", 1.0)] {
        for metric in [
            "gen_ai_client_operation_duration_seconds_count",
            "gen_ai_server_request_duration_seconds_count",
        ] {
            assert_eq!(seen.sum(metric, &labels(operation)), count, "{metric} {operation}");
        }
    }
    assert_eq!(
        seen.sum(
            "gen_ai_client_operation_time_to_first_chunk_seconds_count",
            &labels("text_completion")
        ),
        2.0
    );
    let tokens = |operation: &'static str, kind: &'static str| {
        let [name, provider, model] = labels(operation);
        seen.sum(
            "gen_ai_client_token_usage_sum",
            &[name, provider, model, ("gen_ai_token_type", kind)],
        )
    };
    // The lab's embeddings cost two tokens each; its text costs nine in and four out, which it also reports in a
    // stream.
    assert_eq!(
        [
            tokens("embeddings", "input"),
            tokens("text_completion", "input"),
            tokens("text_completion", "output")
        ],
        [2.0, 18.0, 8.0]
    );
    assert_eq!(seen.sum("weir_answers_total", &[]), 0.0, "they are no answers");
    assert_eq!(seen.sum("weir_upstream_errors_total", &[("upstream", "lab-first")]), 1.0);
    test_server.close().await;
}

#[tokio::test]
async fn each_call_is_a_child_span_without_private_data() {
    let pair = Pair::start().await;
    let collector = Collector::start(&[]).await;
    let test_server = TestServer::open_with(TestServerPlan {
        traces: collector.plan().traces,
        ..pair.plan(|_| {})
    })
    .await;
    pair.first.script(Script::refused(500, VendorError::Internal));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let asked = request("/v1/embeddings", "both", &json!({ "input": "a very private text" }))
        .header("traceparent", parent);
    assert_eq!(test_server.json(&asked).await.0, 200);
    test_server.close().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let of_kind = |kind: u64| spans.iter().filter(move |span| span.0["kind"] == kind);
    let request = of_kind(2).next().unwrap();
    assert_eq!(
        (&request.0["name"], &request.0["parentSpanId"]),
        (&json!("embeddings both"), &json!("b7ad6b7169203331"))
    );
    assert_eq!(request.attribute("gen_ai.usage.input_tokens"), json!("2"));
    let upstreams: Vec<Value> = of_kind(3).map(|span| span.attribute("weir.upstream")).collect();
    assert_eq!(upstreams, ["lab-first", "lab-second"]);
    assert!(of_kind(3).all(|span| span.0["parentSpanId"] == request.0["spanId"]
        && span.0["traceId"] == "0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(of_kind(3).next().unwrap().attribute("error.type"), json!("upstream_error"));
    let passed_on = pair.second.requests()[0].headers.get("traceparent").unwrap().to_owned();
    assert!(
        passed_on.starts_with("00-0af7651916cd43dd8448eb211c80319c-")
            && !passed_on.contains("b7ad6b7169203331")
    );
    assert!(!format!("{spans:?}").contains("private"));
}

#[tokio::test]
async fn a_made_up_model_name_is_not_a_label() {
    let pair = Pair::start().await;
    let plan = pair.plan(|first| first.models = Vec::new());
    let test_server = TestServer::open_with(plan).await;
    assert_eq!(
        test_server.json(&request("/v1/embeddings", "made-up-4711", &json!({}))).await.0,
        200
    );
    let seen = scrape(&test_server).await;
    let of = |model| {
        seen.sum("gen_ai_server_request_duration_seconds_count", &[("gen_ai_request_model", model)])
    };
    assert_eq!([of("made-up-4711"), of("other")], [0.0, 1.0]);
    test_server.close().await;
}
