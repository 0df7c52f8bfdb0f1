//! `on_leave`: what happens to a response when its last reader leaves, as the request or the route specifies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::test_server::TestFrame;
use client::soon;
use client::{Stream, websocket};
use fakes::Script;
use protocol::on_leave::OnLeave;
use provider::config::{RouteConfig, Strategy, TargetConfig};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::cells::{CellTransport, WAYS};
use crate::leaving::id_of;
use crate::test_server::{MODEL, TestServer, TestServerPlan};

/// Every way to stream a response.
const STREAMED: [CellTransport; 3] = [
    CellTransport::Responses(TestFrame::Sse),
    CellTransport::Chat(TestFrame::Ndjson),
    CellTransport::Socket,
];

/// The model of a route with `on_leave`.
const ROUTED: &str = "routed";

/// A reader of a response.
enum LeavingReader {
    Stream(Box<Stream>),
    Socket(Box<websocket::Socket>),
}

/// Starts a response and waits for the upstream call; returns its id and its only reader.
async fn start(
    test_server: &TestServer,
    way: CellTransport,
    model: &str,
    more: &Value,
) -> (String, LeavingReader) {
    let asked = test_server.upstream.requests().len();
    let mut body = way.question(model, &json!({ "store": true }));
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (id, reader) = if way == CellTransport::Socket {
        let mut socket =
            websocket::connect(test_server.address, "/v1/responses", &[]).await.unwrap().socket;
        socket.send_text(&body.to_string()).await.unwrap();
        let created: Value =
            serde_json::from_str(&soon(socket.next_text()).await.unwrap().unwrap().unwrap())
                .unwrap();
        (
            created["response"]["id"].as_str().unwrap().to_owned(),
            LeavingReader::Socket(Box::new(socket)),
        )
    } else {
        let stream = test_server.stream(&way.request(&body)).await;
        (id_of(&stream), LeavingReader::Stream(Box::new(stream)))
    };
    soon(test_server.upstream.wait_requests(asked + 1)).await.unwrap();
    (id, reader)
}

/// The reader leaves; when this returns, the server has noticed.
async fn leave(test_server: &TestServer, reader: LeavingReader) -> Instant {
    let left = client::now();
    match reader {
        LeavingReader::Stream(stream) => stream.abandon().reset().unwrap(),
        LeavingReader::Socket(socket) => socket.reset().unwrap(),
    }
    test_server.wait_connections(0).await;
    left
}

/// The stored response.
async fn kept(test_server: &TestServer, id: &str) -> Value {
    let (status, response) = test_server.get(&format!("/v1/responses/{id}")).await;
    assert_eq!(status, 200, "{response}");
    response
}

/// Resolves when the stored response contains this text.
async fn says(test_server: &TestServer, id: &str, text: &str) {
    let says =
        async { while kept(test_server, id).await["output"][0]["content"][0]["text"] != text {} };
    soon(says).await.unwrap_or_else(|_late| panic!("it does not say {text:?}"));
}

fn check_left(response: &Value, what: &str) {
    assert_eq!(
        (&response["status"], &response["incomplete_details"]["reason"]),
        (&json!("cancelled"), &json!("client_left")),
        "{what}"
    );
}

/// Sends one piece for each notification.
fn gated(pieces: &[&str]) -> (Script, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let script = pieces.iter().fold(Script::new().role().content("0"), |script, piece| {
        script.wait_for(&gate).content(piece)
    });
    (script.finish("stop").usage(9, 9, 0).done(), gate)
}

/// Specified by the request, or by the route.
fn by(text: &str) -> [(TestServerPlan, &'static str, Value); 2] {
    let policy: OnLeave = text.parse().unwrap();
    let target =
        TargetConfig { upstream: format!("lab-{MODEL}"), model: Some(MODEL.into()), weight: 1 };
    let route = RouteConfig {
        model: ROUTED.into(),
        upstreams: vec![target],
        strategy: Strategy::Order,
        on_leave: Some(policy),
    };
    [
        plan(policy, Vec::new(), MODEL, json!({ "on_leave": text })),
        plan(policy, vec![route], ROUTED, json!({})),
    ]
}

/// The settings specify the opposite.
fn plan(
    policy: OnLeave,
    routes: Vec<RouteConfig>,
    model: &'static str,
    more: Value,
) -> (TestServerPlan, &'static str, Value) {
    let mut plan = TestServerPlan { routes, ..TestServerPlan::default() };
    plan.engine.on_leave_stored =
        if policy == OnLeave::Cancel { OnLeave::Finish } else { OnLeave::Cancel };
    (plan, model, more)
}

#[tokio::test]
async fn cancel_closes_the_upstream_at_once() {
    for (plan, model, more) in by("cancel") {
        let test_server = TestServer::open_with(plan).await;
        for (number, way) in STREAMED.into_iter().enumerate() {
            test_server.upstream.script(Script::new().role().content("0").stall());
            let (id, reader) = start(&test_server, way, model, &more).await;
            says(&test_server, &id, "0").await;
            leave(&test_server, reader).await;
            soon(test_server.upstream.wait_closed(number)).await.unwrap();
            test_server.quiet().await;
            check_left(&kept(&test_server, &id).await, &format!("{way:?}, {model}"));
        }
        test_server.close().await;
    }
}

#[tokio::test]
async fn finish_reads_the_upstream_to_its_end() {
    for (plan, model, more) in by("finish") {
        let test_server = TestServer::open_with(plan).await;
        for way in STREAMED {
            let (script, gate) = gated(&["1"]);
            test_server.upstream.script(script);
            let (id, reader) = start(&test_server, way, model, &more).await;
            leave(&test_server, reader).await;
            assert_eq!(test_server.engine.census().running, 1, "{way:?}, {model}");
            gate.notify_one();
            test_server.quiet().await;
            let response = kept(&test_server, &id).await;
            assert_eq!(
                (&response["status"], &response["usage"]["source"]),
                (&json!("completed"), &json!("provider")),
                "{way:?}, {model}"
            );
        }
        assert_eq!(test_server.upstream.accepted_connections(), 1, "none was cut");
        test_server.close().await;
    }
}

#[tokio::test]
async fn finish_within_a_time_ends_when_it_expires() {
    for (plan, model, more) in by("finish_within 1s") {
        let test_server = TestServer::open_with(plan).await;
        for (number, way) in STREAMED.into_iter().enumerate() {
            test_server.upstream.script(Script::new().role().content("0").stall());
            let (id, reader) = start(&test_server, way, model, &more).await;
            says(&test_server, &id, "0").await;
            let left = leave(&test_server, reader).await;
            let closed = soon(test_server.upstream.wait_closed(number))
                .await
                .unwrap()
                .saturating_duration_since(left);
            assert!(
                (Duration::from_secs(1)..Duration::from_secs(5)).contains(&closed),
                "{way:?}, {model}: {closed:?}"
            );
            test_server.quiet().await;
            check_left(&kept(&test_server, &id).await, &format!("{way:?}, {model}"));
        }
        test_server.close().await;
    }
}

#[tokio::test]
async fn finish_within_some_tokens_ends_after_them() {
    for (plan, model, more) in by("finish_within 3 tokens") {
        let test_server = TestServer::open_with(plan).await;
        for (number, way) in STREAMED.into_iter().enumerate() {
            let (script, gate) = gated(&["1", "2", "3", "4", "5", "6"]);
            test_server.upstream.script(script);
            let (id, reader) = start(&test_server, way, model, &more).await;
            // Output while there is a reader does not count.
            gate.notify_one();
            says(&test_server, &id, "01").await;
            leave(&test_server, reader).await;
            for text in ["012", "0123", "01234"] {
                gate.notify_one();
                says(&test_server, &id, text).await;
                assert_eq!(test_server.engine.census().running, 1, "{way:?}, {model}: {text}");
            }
            gate.notify_one();
            soon(test_server.upstream.wait_closed(number)).await.unwrap();
            test_server.quiet().await;
            let response = kept(&test_server, &id).await;
            check_left(&response, &format!("{way:?}, {model}"));
            assert_eq!(response["usage"]["source"], "counted", "{way:?}, {model}");
        }
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_response_that_ends_with_the_last_allowed_token_is_complete() {
    let [(plan, model, more), _] = by("finish_within 3 tokens");
    let test_server = TestServer::open_with(plan).await;
    let (script, gate) = gated(&["1", "2", "3"]);
    test_server.upstream.script(script);
    let (id, reader) =
        start(&test_server, CellTransport::Responses(TestFrame::Sse), model, &more).await;
    says(&test_server, &id, "0").await;
    leave(&test_server, reader).await;
    for text in ["01", "012", "0123"] {
        gate.notify_one();
        says(&test_server, &id, text).await;
    }
    test_server.quiet().await;
    let response = kept(&test_server, &id).await;
    assert_eq!(
        (&response["status"], &response["usage"]["source"]),
        (&json!("completed"), &json!("provider")),
        "{response}"
    );
    test_server.close().await;
}

#[tokio::test]
async fn the_request_has_precedence_over_the_route() {
    let [_, (plan, model, _)] = by("cancel");
    let test_server = TestServer::open_with(plan).await;
    let (script, gate) = gated(&["1"]);
    test_server.upstream.script(script);
    let (id, reader) = start(
        &test_server,
        CellTransport::Responses(TestFrame::Sse),
        model,
        &json!({ "on_leave": "finish" }),
    )
    .await;
    leave(&test_server, reader).await;
    gate.notify_one();
    test_server.quiet().await;
    assert_eq!(kept(&test_server, &id).await["status"], "completed");
    test_server.close().await;
}

#[tokio::test]
async fn an_invalid_value_is_rejected_by_name() {
    let test_server = TestServer::open().await;
    for value in [json!("never"), json!("finish_within"), json!("finish_within 3"), json!(true)] {
        for way in WAYS {
            let body = way.question(MODEL, &json!({ "on_leave": value }));
            let (status, error) = super::refused::refusal(&test_server, way, &body).await;
            assert_eq!(
                (status, &error["param"]),
                (400, &json!("on_leave")),
                "{way:?}, {value}: {error}"
            );
        }
    }
    assert!(test_server.upstream.requests().is_empty());
    test_server.close().await;
}
