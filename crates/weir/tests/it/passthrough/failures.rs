//! Failures: another key, another upstream, a pause, the correct status; and after output an end that does not look
//! complete.

use std::time::{Duration, Instant};

use client::{BodyEnd, Connection};
use engine::provider::route::{Retries, Timeouts};
use engine::secret::Secret;
use fakes::{Script, Step, VendorError};
use provider::config::KeyConfig;
use serde_json::{Value, json};

use super::{PATHS, Pair, SHORT, request};
use crate::leaving::Slowest;
use crate::metrics::{scrape, until};
use crate::test_server::{TestServer, TestServerPlan};

const COMPLETIONS: &str = "/v1/completions";

/// Every kind of request: the path, and whether it is streamed.
fn ways() -> impl Iterator<Item = (&'static str, bool)> {
    PATHS.into_iter().map(|(path, _)| (path, false)).chain([(COMPLETIONS, true)])
}

fn streamed(is_stream: bool) -> Value {
    if is_stream { json!({ "stream": true }) } else { json!({}) }
}

/// The status, `Retry-After` and body.
async fn ask(
    test_server: &TestServer,
    path: &str,
    is_stream: bool,
) -> (u16, Option<String>, String) {
    let mut response =
        client::soon(test_server.send(&request(path, "both", &streamed(is_stream)))).await.unwrap();
    let retry_after = response.headers.get("retry-after").map(str::to_owned);
    let (body, _) = client::soon(response.collect()).await.unwrap().unwrap();
    (response.status, retry_after, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn before_output_the_next_upstream_is_tried_with_its_own_model_name() {
    for (path, is_stream) in ways() {
        let cut = Script::new().step(Step::Partial("{\"data\":[".into())).fin();
        let scripts = [
            Script::refused(500, VendorError::Internal),
            Script::refused(404, VendorError::NotFound),
            Script::new().rst(),
            cut,
            Script::status(200, &[], "<html>"),
            Script::error(200, &json!({ "error": { "message": "overloaded", "code": 503 } })),
        ];
        for (number, script) in scripts.into_iter().enumerate() {
            let pair = Pair::start().await;
            let test_server = TestServer::open_with(pair.plan(|_| {})).await;
            pair.first.script(script);
            let (status, _, body) = ask(&test_server, path, is_stream).await;
            assert_eq!(status, 200, "{path} {number}: {body}");
            assert!(body.contains("\"model\":\"both\""), "{path} {number}: {body}");
            assert_eq!(pair.asked(), [1, 1], "{path} {number}");
            let models = [&pair.first, &pair.second]
                .map(|upstream| upstream.requests()[0].model.clone().unwrap());
            assert_eq!(models, ["first-model", "second-model"]);
            let seen = scrape(&test_server).await;
            let labels = [("upstream", "lab-first"), ("reason", "other_upstream")];
            assert_eq!(
                seen.value("weir_upstream_retries_total", &labels),
                Some(1.0),
                "{path} {number}"
            );
            test_server.close().await;
        }
    }
}

#[tokio::test]
async fn another_key_is_tried_before_another_upstream() {
    for (path, is_stream) in ways() {
        let pair = Pair::start().await;
        let plan = pair.plan(|first| {
            first.keys = ["sk-one", "sk-two"]
                .map(|key| KeyConfig::new(key.trim_start_matches("sk-"), Secret::new(key)))
                .into();
            first.key_rest = Duration::from_mins(10);
        });
        let test_server = TestServer::open_with(plan).await;
        pair.first.require_keys(&["sk-two"]);
        assert_eq!(ask(&test_server, path, is_stream).await.0, 200, "{path}");
        let keys: Vec<_> =
            pair.first.requests().into_iter().filter_map(|request| request.key).collect();
        assert_eq!(
            (keys.last().map(String::as_str), pair.asked()[1]),
            (Some("sk-two"), 0),
            "{path}"
        );
        test_server.close().await;
    }
}

#[tokio::test]
async fn temporary_failures_are_retried_after_a_pause() {
    for (path, is_stream) in ways() {
        let pair = Pair::start().await;
        let retries = Retries { count: 1, ..Retries::default() };
        let test_server =
            TestServer::open_with(TestServerPlan { retries, ..pair.plan(|_| {}) }).await;
        pair.first.script(Script::refused(503, VendorError::Overloaded));
        pair.second.script(Script::refused(500, VendorError::Internal));
        assert_eq!(ask(&test_server, path, is_stream).await.0, 200);
        assert_eq!(pair.asked(), [2, 1]);
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_failure_before_the_first_event_has_its_status() {
    for (path, is_stream) in ways() {
        let pair = Pair::start().await;
        let test_server = TestServer::open_with(pair.plan(|_| {})).await;
        let wait = Duration::from_secs(7);
        let cases = [
            (
                Script::refused_for(429, VendorError::RateLimit, wait),
                429,
                "rate_limit_exceeded",
                Some("7"),
            ),
            (
                Script::refused(401, VendorError::InvalidKey),
                502,
                "upstream_authentication_failed",
                None,
            ),
            (Script::refused(429, VendorError::Quota), 502, "upstream_quota_exhausted", None),
            (
                Script::refused(400, VendorError::ContextLength),
                400,
                "context_length_exceeded",
                None,
            ),
            (Script::new().rst(), 502, "upstream_unreachable", None),
            (Script::status(200, &[], "{}"), 502, "upstream_invalid_data", None),
        ];
        for (script, status, code, retry_after) in cases {
            pair.first.script(script.clone());
            pair.second.script(script);
            let (said, wait, body) = ask(&test_server, path, is_stream).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (said, body["error"]["code"].as_str(), wait.as_deref()),
                (status, Some(code), retry_after),
                "{path} {is_stream}: {body}"
            );
            // Failures of the request itself are not retried elsewhere; the second upstream keeps its script.
            while pair.second.scripts_left() > 0 {
                ask(&test_server, path, is_stream).await;
            }
            assert!(!body.to_string().contains("sk-of"), "{body}");
        }
        test_server.close().await;
    }
}

/// Spring AI, langchain4j and others treat `[DONE]`, or a clean end, as success.
#[tokio::test]
async fn after_output_a_failure_breaks_the_stream_off_without_a_retry() {
    let begun = || Script::new().content("Once");
    let cases = [
        (begun().rst(), "upstream_cut"),
        (begun().fin(), "upstream_cut"),
        (begun().end(), "upstream_truncated"),
        (begun().done().end(), "upstream_truncated"),
        (begun().failure(VendorError::RateLimit).done().end(), "rate_limit_exceeded"),
        (begun().raw("data: {\"choices\":[{\"te\n\n").end(), "upstream_invalid_data"),
        (
            begun().event(json!({ "object": "error", "message": "no", "code": 400 })).done().end(),
            "upstream_invalid_request",
        ),
        (
            begun()
                .event(
                    json!({ "code": 50505, "message": "Model service overloaded", "data": null }),
                )
                .end(),
            "upstream_error",
        ),
        (begun().stall(), "upstream_idle_timeout"),
        (
            (0..40).fold(begun(), |script, _| script.comment().sleep(SHORT / 4)).stall(),
            "upstream_keep_alive_timeout",
        ),
    ];
    for (script, code) in cases {
        for accept in ["text/event-stream", "application/x-ndjson"] {
            let pair = Pair::start().await;
            let retries = Retries { count: 2, ..Retries::default() };
            let plan = pair.plan(|first| {
                first.timeouts =
                    Timeouts { idle: SHORT, keep_alive: 3 * SHORT, ..Timeouts::default() }
            });
            let test_server = TestServer::open_with(TestServerPlan { retries, ..plan }).await;
            pair.first.script(script.clone());
            let request =
                request(COMPLETIONS, "both", &json!({ "stream": true })).header("accept", accept);
            let (events, end) =
                client::soon(test_server.stream(&request).await.collect()).await.unwrap().unwrap();
            let events: Vec<Value> =
                events.into_iter().map(|event| event.json().unwrap()).collect();
            let [first, last] = &events[..] else { panic!("{code}: {events:?}") };
            assert_eq!(
                (&first["choices"][0]["text"], &last["error"]["code"]),
                (&json!("Once"), &json!(code)),
                "{last}"
            );
            assert_ne!(end, BodyEnd::Clean, "{code}");
            assert_eq!(pair.asked(), [1, 0], "{code}");
            test_server.close().await;
        }
    }
}

/// Once the head is sent, the status cannot report it, but others can still be tried.
#[tokio::test]
async fn after_the_head_a_failure_is_an_event() {
    let pair = Pair::start().await;
    let mut plan =
        pair.plan(|first| first.timeouts = Timeouts { headers: SHORT, ..Timeouts::default() });
    plan.server.hold = Duration::from_millis(10);
    let test_server = TestServer::open_with(plan).await;
    pair.first.default_script(Script::no_head());
    let stream = request(COMPLETIONS, "both", &json!({ "stream": true }));
    let (events, end) =
        client::soon(test_server.stream(&stream).await.collect()).await.unwrap().unwrap();
    assert_eq!(
        (events.last().map(|event| &event.data[..]), end),
        (Some(&b"[DONE]"[..]), BodyEnd::Clean)
    );
    pair.second.default_script(Script::refused(500, VendorError::Internal));
    let (events, end) =
        client::soon(test_server.stream(&stream).await.collect()).await.unwrap().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].json().unwrap()["error"]["code"], "upstream_error");
    assert_ne!(end, BodyEnd::Clean);
    test_server.close().await;
}

#[tokio::test]
async fn every_timeout_applies() {
    let usual = Timeouts::default();
    let silent = || Script::new().head().stall();
    // Empty lines are not part of a document.
    let waiting = || {
        (0..40)
            .fold(Script::new().step(Step::Partial("\n".into())), |script, _| {
                script.sleep(SHORT / 8).step(Step::Partial("\n".into()))
            })
            .stall()
    };
    let half = || Script::new().step(Step::Partial("{\"data\":[".into())).stall();
    let cases = [
        (Timeouts { idle: SHORT, ..usual }, half(), "upstream_idle_timeout"),
        (Timeouts { total: SHORT, ..usual }, Script::no_head(), "upstream_total_timeout"),
        (Timeouts { total: SHORT, ..usual }, half(), "upstream_total_timeout"),
    ];
    for (path, is_stream) in ways() {
        // A document's head arrives with its end, so the header timeout does not apply.
        let heads = Timeouts { headers: SHORT, ..usual };
        let firsts = Timeouts { first_token: SHORT, ..usual };
        let more = if is_stream {
            [
                (heads, Script::no_head(), "upstream_headers_timeout"),
                (firsts, silent(), "upstream_first_token_timeout"),
            ]
        } else {
            let firsts = Timeouts { headers: Duration::from_millis(1), ..firsts };
            [
                (firsts, Script::no_head(), "upstream_first_token_timeout"),
                (firsts, waiting(), "upstream_first_token_timeout"),
            ]
        };
        for (timeouts, script, code) in cases.iter().cloned().chain(more) {
            let pair = Pair::start().await;
            let test_server =
                TestServer::open_with(pair.plan(|first| first.timeouts = timeouts)).await;
            pair.first.script(script);
            let (status, body) =
                test_server.json(&request(path, "first", &streamed(is_stream))).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (504, &json!(code)),
                "{path} {is_stream}: {body}"
            );
            test_server.close().await;
        }
    }
}

/// Waiting for a document means waiting for its head; the upstream counts as silent.
#[tokio::test]
async fn silence_counts_as_a_failure_of_the_upstream() {
    for (path, is_stream) in ways() {
        let pair = Pair::start().await;
        let plan = pair.plan(|first| {
            first.breaker = 1;
            first.timeouts = Timeouts { headers: SHORT, first_token: SHORT, ..Timeouts::default() };
        });
        let test_server = TestServer::open_with(plan).await;
        pair.first.default_script(Script::no_head());
        let ask = async || test_server.json(&request(path, "first", &streamed(is_stream))).await;
        assert_eq!(ask().await.0, 504, "{path} {is_stream}");
        let (status, body) = ask().await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (503, &json!("upstream_unavailable")),
            "{path} {is_stream}: {body}"
        );
        assert_eq!(pair.asked(), [1, 0]);
        test_server.close().await;
    }
}

#[tokio::test]
async fn over_http_2_a_leaving_client_resets_its_stream_only() {
    let pair = Pair::start().await;
    let test_server = TestServer::open_with(pair.plan(|first| first.connection.http2 = true)).await;
    for (number, (path, is_stream)) in ways().enumerate() {
        pair.first.script(Script::no_head());
        let mut connection = Connection::open(test_server.address).await.unwrap();
        connection.write(&request(path, "both", &streamed(is_stream))).await.unwrap();
        client::soon(pair.first.wait_requests(2 * number + 1)).await.unwrap();
        drop(connection);
        client::soon(pair.first.wait_streams(0)).await.unwrap();
        assert_eq!(
            (ask(&test_server, path, is_stream).await.0, pair.first.resets()),
            (200, number + 1),
            "{path} {is_stream}"
        );
    }
    assert_eq!(pair.first.accepted_connections(), 1);
    assert!(pair.first.requests().iter().all(|request| request.is_http2));
    test_server.close().await;
}

#[tokio::test]
async fn a_leaving_client_cancels_the_call_at_once() {
    let mut slowest = Slowest::default();
    for (path, is_stream) in ways() {
        let mid = if is_stream {
            Script::new().content("Once").stall()
        } else {
            Script::new().step(Step::Partial("{".into())).stall()
        };
        for (phase, script) in [("before the head", Script::no_head()), ("in its middle", mid)] {
            let pair = Pair::start().await;
            let test_server = TestServer::open_with(pair.plan(|_| {})).await;
            pair.first.script(script);
            let mut connection = Connection::open(test_server.address).await.unwrap();
            connection.write(&request(path, "both", &streamed(is_stream))).await.unwrap();
            client::soon(pair.first.wait_requests(1)).await.unwrap();
            if is_stream && phase == "in its middle" {
                // The head and the first event have arrived.
                client::soon(connection.read_raw()).await.unwrap().unwrap();
            }
            let act = Instant::now();
            drop(connection);
            slowest.wait(&pair.first, 0, act, &format!("{path} {is_stream} {phase}")).await;
            let labels = [("status", "cancelled"), ("reason", "client_left")];
            until(
                &test_server,
                |seen| (seen.sum("weir_passthrough_calls_total", &labels) - 1.0).abs() < 1e-9,
                "it is counted",
            )
            .await;
            assert_eq!(pair.asked(), [1, 0]);
            test_server.close().await;
        }
    }
    slowest.tell("a client that leaves a pass-through call");
}
