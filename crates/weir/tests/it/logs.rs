//! The lines of a JSON log: one for each request and one for each response, with numbers as numbers and texts as they are.

use client::Request;
use fakes::Script;
use serde_json::Value;

use crate::program::{ServerHome, ask, question};

/// Everything that a server logs which serves one request and a probe of each kind, and is stopped.
async fn lines() -> Vec<Value> {
    let mut place = ServerHome::new().await;
    place.set("WEIR_LOG_FORMAT", "json");
    place.upstream.script(Script::text(&["It is ", "a text."]));
    let mut server = place.start().await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.body(&Request::get(path)).await.0, 200, "{path}");
    }
    let (status, body) = server.body(&ask(&question("hi"))).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    server.terminate();
    let (status, log) = server.ended().await;
    assert!(status.success(), "{status}: {log}");
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn with_message<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn a_request_and_its_response_have_one_line_each_and_probes_have_none() {
    let lines = lines().await;
    let [request] = with_message(&lines, "request")[..] else { panic!("{lines:?}") };
    assert_eq!(
        (request["method"].as_str(), request["path"].as_str()),
        (Some("POST"), Some("/v1/responses")),
        "{request}"
    );
    assert_eq!(request["status"].as_u64(), Some(200), "{request}");
    assert!(request["duration_ms"].is_u64() && request["connection"].is_u64(), "{request}");
    assert!(request["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{request}");
    let [response] = with_message(&lines, "response ended")[..] else { panic!("{lines:?}") };
    assert_eq!(
        (response["status"].as_str(), response["model"].as_str()),
        (Some("completed"), Some("m")),
        "{response}"
    );
    for name in ["tokens_in", "tokens_out"] {
        assert!(response[name].as_u64().is_some_and(|tokens| tokens > 0), "{name}: {response}");
    }
    assert!(response["duration_ms"].is_u64(), "{response}");
    assert!(
        response["response"].is_string() && response["response"] == request["response"],
        "{request} {response}"
    );
}

#[tokio::test]
async fn no_value_is_written_as_the_debug_form_of_a_type() {
    let lines = lines().await;
    assert!(lines.len() >= 5, "{lines:?}");
    for line in &lines {
        for (name, value) in line.as_object().unwrap() {
            let text = value.as_str().unwrap_or_default();
            let is_duration = text.starts_with(|first: char| first.is_ascii_digit())
                && (text.ends_with("ns") || text.ends_with("ms"));
            assert!(
                !text.starts_with(['"', '['])
                    && !text.starts_with("Some(")
                    && text != "None"
                    && !is_duration,
                "{name}: {line}"
            );
        }
    }
}
