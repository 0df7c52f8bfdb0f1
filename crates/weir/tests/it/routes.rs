//! Routes: which upstream is tried first, which next, how long a failing one is avoided, and never after the first
//! output.

use std::sync::Arc;
use std::time::Duration;

use client::websocket;
use engine::provider::route::{Retries, Timeouts};
use engine::upstreams::Circuit;
use fakes::{Script, Step, Upstream, VendorError};
use provider::config::{RouteConfig, Strategy, TargetConfig, UpstreamConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::metrics::{scrape, until};
use crate::test_server::{
    TestApi, TestFrame, TestServer, TestServerPlan, WAYS, question, upstream_of,
};
use crate::traces::Collector;

/// The route's model; each upstream has another name for it.
const MODEL: &str = "fast";

const PLAIN: (TestApi, TestFrame) = (TestApi::Responses, TestFrame::Json);

/// The timeout where silence is the fault.
const SHORT: Duration = Duration::from_millis(200);

/// Two upstreams and the route over them.
struct Pair {
    first: Upstream,
    second: Upstream,
}

impl Pair {
    async fn start() -> Self {
        Self { first: Upstream::start().await.unwrap(), second: Upstream::start().await.unwrap() }
    }

    /// A server with the route; `change` changes the first upstream's settings.
    fn plan(
        &self,
        strategy: Strategy,
        weights: [u32; 2],
        change: impl FnOnce(&mut UpstreamConfig),
    ) -> TestServerPlan {
        let mut first = upstream_of(
            "first",
            self.first.base_url(),
            Timeouts { first_token: SHORT, ..Timeouts::default() },
        );
        change(&mut first);
        let second = upstream_of("second", self.second.base_url(), Timeouts::default());
        let target = |name: &str, weight| TargetConfig {
            upstream: format!("lab-{name}"),
            model: Some(name.to_owned()),
            weight,
        };
        let upstreams = vec![target("first", weights[0]), target("second", weights[1])];
        let route = RouteConfig { model: MODEL.to_owned(), upstreams, strategy, on_leave: None };
        TestServerPlan {
            more_upstreams: vec![first, second],
            routes: vec![route],
            ..TestServerPlan::default()
        }
    }

    fn in_order(&self, change: impl FnOnce(&mut UpstreamConfig)) -> TestServerPlan {
        self.plan(Strategy::Order, [1, 1], change)
    }

    fn asked(&self) -> [usize; 2] {
        [self.first.requests().len(), self.second.requests().len()]
    }
}

async fn ask(test_server: &TestServer) -> (u16, Value) {
    test_server.json(&question(PLAIN, MODEL, &json!({}))).await
}

/// Sends one kind of request, or one over a WebSocket, and returns the status and everything received.
async fn heard(test_server: &TestServer, way: Option<(TestApi, TestFrame)>) -> (u16, String) {
    let Some(way) = way else {
        let mut socket =
            websocket::connect(test_server.address, "/v1/responses", &[]).await.unwrap().socket;
        socket
            .send_text(
                &json!({ "type": "response.create", "model": MODEL, "input": "hi" }).to_string(),
            )
            .await
            .unwrap();
        let mut all = String::new();
        while !all.contains("\"type\":\"response.completed\"")
            && !all.contains("\"type\":\"response.failed\"")
        {
            all += &client::soon(socket.next_text()).await.unwrap().unwrap().unwrap();
        }
        socket.close(1000, "").await.unwrap();
        client::soon(socket.collect()).await.unwrap().unwrap();
        return (200, all);
    };
    let mut response =
        client::soon(test_server.send(&question(way, MODEL, &json!({})))).await.unwrap();
    let body = client::soon(response.collect()).await.unwrap().unwrap().0;
    (response.status, String::from_utf8(body).unwrap())
}

fn every_way() -> impl Iterator<Item = Option<(TestApi, TestFrame)>> {
    WAYS.into_iter().map(Some).chain([None])
}

fn circuit(test_server: &TestServer) -> Circuit {
    test_server
        .engine
        .upstreams()
        .into_iter()
        .find(|state| &*state.upstream == "lab-first")
        .unwrap()
        .circuit
}

#[tokio::test]
async fn load_is_shared_among_upstreams_by_strategy_and_weight() {
    for (strategy, weights, expected) in [
        (Strategy::Order, [1, 3], [8, 0]),
        (Strategy::RoundRobin, [1, 3], [2, 6]),
        (Strategy::RoundRobin, [1, 1], [4, 4]),
        (Strategy::LeastBusy, [1, 1], [4, 4]),
    ] {
        let pair = Pair::start().await;
        let test_server = TestServer::open_with(pair.plan(strategy, weights, |_| {})).await;
        for _ in 0..8 {
            assert_eq!(ask(&test_server).await.0, 200);
        }
        assert_eq!(pair.asked(), expected, "{strategy:?} {weights:?}");
        let named = |upstream: &Upstream, name: &str| {
            upstream.requests().iter().all(|request| request.body["model"] == name)
        };
        assert!(
            named(&pair.first, "first") && named(&pair.second, "second"),
            "each by its own name for it"
        );
        test_server.close().await;
    }
    let pair = Pair::start().await;
    let test_server = TestServer::open_with(pair.plan(Strategy::Random, [1, 1], |_| {})).await;
    for _ in 0..40 {
        assert_eq!(ask(&test_server).await.0, 200);
    }
    // Fails in one of 2^39 runs.
    assert!(pair.asked().iter().all(|count| *count > 0), "{:?}", pair.asked());
    test_server.close().await;
}

#[tokio::test]
async fn the_least_busy_upstream_is_tried_first() {
    let pair = Pair::start().await;
    let gate = Arc::new(Notify::new());
    pair.first.default_script(
        Script::new().role().content("Once").wait_for(&gate).finish("stop").done().end(),
    );
    let test_server = TestServer::open_with(pair.plan(Strategy::LeastBusy, [1, 1], |_| {})).await;
    let mut running = test_server
        .stream(&question((TestApi::Responses, TestFrame::Sse), MODEL, &json!({})))
        .await;
    client::soon(pair.first.wait_requests(1)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&test_server).await.0, 200);
    }
    assert_eq!(pair.asked(), [1, 3]);
    gate.notify_one();
    client::soon(running.collect()).await.unwrap().unwrap();
    test_server.close().await;
}

/// Failures of the first upstream before any output.
fn troubles() -> Vec<(&'static str, Option<Script>)> {
    vec![
        ("unreachable", None),
        ("500", Some(Script::refused(500, VendorError::Internal))),
        ("overloaded", Some(Script::refused(503, VendorError::Overloaded))),
        ("429", Some(Script::refused_for(429, VendorError::RateLimit, Duration::from_secs(7)))),
        ("401", Some(Script::refused_as(VendorError::InvalidKey))),
        ("no money", Some(Script::refused(402, VendorError::Quota))),
        ("no such model", Some(Script::refused(404, VendorError::NotFound))),
        ("silence after the head", Some(Script::headers_only())),
        ("an error in band", Some(Script::new().role().failure(VendorError::Overloaded).end())),
        ("a cut before any word", Some(Script::new().role().rst())),
        ("an end before any word", Some(Script::new().role().done().end())),
        ("HTML", Some(Script::new().raw("<html>").end())),
    ]
}

#[tokio::test]
async fn failures_before_output_go_to_the_next_upstream() {
    for (name, script) in troubles() {
        for way in every_way() {
            let pair = Pair::start().await;
            let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let plan = pair.in_order(|config| {
                if script.is_none() {
                    config.base_url = format!("http://{nobody}/v1");
                }
            });
            let test_server = TestServer::open_with(plan).await;
            pair.first.default_script(script.clone().unwrap_or_default());
            pair.second.default_script(Script::text(&["from ", "the second"]));
            let (status, body) = heard(&test_server, way).await;
            assert_eq!(status, 200, "{name} {way:?}: {body}");
            assert!(
                body.contains("the second") && !body.contains("\"error\":{"),
                "{name} {way:?}: {body}"
            );
            assert_eq!(pair.asked(), [usize::from(script.is_some()), 1], "{name} {way:?}");
            let seen = scrape(&test_server).await;
            let labels = [("upstream", "lab-first"), ("reason", "other_upstream")];
            assert_eq!(
                seen.value("weir_upstream_retries_total", &labels),
                Some(1.0),
                "{name} {way:?}"
            );
            let errors = seen.sum("weir_upstream_errors_total", &[("upstream", "lab-first")]);
            assert!((errors - 1.0).abs() < 1e-9, "{name} {way:?}: {errors}");
            test_server.close().await;
        }
    }
}

#[tokio::test]
async fn after_output_no_other_upstream_is_tried() {
    let begun = || Script::new().role().content("Once");
    for script in [
        begun().rst(),
        begun().fin(),
        begun().done().end(),
        begun().failure(VendorError::Overloaded).end(),
    ] {
        for way in every_way() {
            let pair = Pair::start().await;
            let retries = Retries { count: 2, ..Retries::default() };
            let test_server =
                TestServer::open_with(TestServerPlan { retries, ..pair.in_order(|_| {}) }).await;
            pair.first.script(script.clone());
            let (_, body) = heard(&test_server, way).await;
            assert!(body.contains("upstream_"), "{way:?}: {body}");
            assert_eq!(pair.asked(), [1, 0], "{way:?}");
            assert!(
                scrape(&test_server).await.sum("weir_upstream_retries_total", &[]).abs() < 1e-9,
                "{way:?}"
            );
            test_server.close().await;
        }
    }
}

#[tokio::test]
async fn an_invalid_request_is_sent_to_one_upstream_only() {
    let pair = Pair::start().await;
    let retries = Retries { count: 2, ..Retries::default() };
    let test_server =
        TestServer::open_with(TestServerPlan { retries, ..pair.in_order(|_| {}) }).await;
    pair.first.script(Script::refused(400, VendorError::Invalid));
    assert_eq!(ask(&test_server).await.0, 400);
    assert_eq!(pair.asked(), [1, 0]);
    test_server.close().await;
}

#[tokio::test]
async fn a_failing_upstream_opens_its_breaker_and_is_probed() {
    let pair = Pair::start().await;
    let test_server = TestServer::open_with(pair.in_order(|config| config.breaker = 2)).await;
    let up =
        async || scrape(&test_server).await.value("weir_upstream_up", &[("upstream", "lab-first")]);
    let alone = question((TestApi::Chat, TestFrame::Json), "first", &json!({}));
    // A 500 may concern one request; a 503 concerns all.
    pair.first.default_script(Script::refused(500, VendorError::Internal));
    for _ in 0..3 {
        assert_eq!(
            (test_server.json(&alone).await.0, circuit(&test_server)),
            (502, Circuit::Closed)
        );
    }
    let before = pair.first.requests().len();
    pair.first.default_script(Script::refused(503, VendorError::Overloaded));
    for count in 1..=2 {
        assert_eq!((circuit(&test_server), up().await), (Circuit::Closed, Some(1.0)));
        assert_eq!(test_server.json(&alone).await.0, 503);
        assert_eq!(pair.first.requests().len(), before + count);
    }
    assert!(
        matches!(circuit(&test_server), Circuit::Open(left) if left <= Duration::from_secs(5)),
        "{:?}",
        circuit(&test_server)
    );
    assert_eq!(up().await, Some(0.0));

    // It fails fast with a retry delay; the route uses the other upstream.
    let mut refused = test_server.send(&alone).await;
    let body: Value = serde_json::from_slice(&refused.collect().await.unwrap().0).unwrap();
    assert_eq!(
        (refused.status, &body["error"]["code"]),
        (503, &json!("upstream_unavailable")),
        "{body}"
    );
    let wait: u64 = refused.headers.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(ask(&test_server).await.0, 200);
    assert_eq!(pair.asked(), [before + 2, 1]);

    // One probe is let through; until it is answered, no other.
    until(
        &test_server,
        |seen| seen.value("weir_upstream_up", &[("upstream", "lab-first")]) == Some(0.5),
        "it may be asked to see",
    )
    .await;
    let gate = Arc::new(Notify::new());
    pair.first
        .script(Script::new().wait_for(&gate).role().content("back").finish("stop").done().end());
    let (address, request) = (test_server.address, alone.clone());
    let probe = tokio::spawn(async move { client::send(address, &request).await.unwrap().status });
    client::soon(pair.first.wait_requests(before + 3)).await.unwrap();
    assert_eq!((test_server.json(&alone).await.0, up().await), (503, Some(0.5)));
    assert_eq!(pair.first.requests().len(), before + 3);
    gate.notify_one();
    assert_eq!(client::soon(probe).await.unwrap().unwrap(), 200);
    assert_eq!((circuit(&test_server), up().await), (Circuit::Closed, Some(1.0)));
    pair.first.default_script(Script::text(&["hi"]));
    assert_eq!(test_server.json(&alone).await.0, 200);
    test_server.close().await;
}

/// Requests waiting for a key were still sent to an upstream whose breaker was open.
#[tokio::test]
async fn requests_waiting_for_a_key_fail_when_the_breaker_opens() {
    let pair = Pair::start().await;
    let plan = pair.in_order(|config| {
        config.breaker = 1;
        config.keys[0].concurrency = 1;
    });
    let test_server = TestServer::open_with(plan).await;
    let gate = Arc::new(Notify::new());
    pair.first.default_script(Script::new().wait_for(&gate).step(Step::Refuse(
        None,
        VendorError::Overloaded,
        None,
    )));
    let ask = || {
        let (address, request) =
            (test_server.address, question((TestApi::Chat, TestFrame::Json), "first", &json!({})));
        tokio::spawn(async move {
            let body = client::send(address, &request).await.unwrap().collect().await.unwrap().0;
            serde_json::from_slice::<Value>(&body).unwrap()["error"]["code"].clone()
        })
    };
    let first = ask();
    client::soon(pair.first.wait_requests(1)).await.unwrap();
    let waiting = [ask(), ask(), ask()];
    until(
        &test_server,
        |seen| seen.value("weir_upstream_waiting", &[("upstream", "lab-first")]) == Some(3.0),
        "all wait",
    )
    .await;
    // If another were sent, it would fail as well.
    (0..4).for_each(|_| gate.notify_one());
    assert_eq!(client::soon(first).await.unwrap().unwrap(), "upstream_overloaded");
    for one in waiting {
        assert_eq!(client::soon(one).await.unwrap().unwrap(), "upstream_unavailable");
    }
    assert_eq!(pair.asked(), [1, 0]);
    test_server.close().await;
}

#[tokio::test]
async fn a_temporary_failure_is_retried_after_a_pause_and_every_call_is_a_span() {
    let pair = Pair::start().await;
    let collector = Collector::start(&[]).await;
    let retries = Retries { count: 2, ..Retries::default() };
    let traced = collector.plan().traces;
    let test_server =
        TestServer::open_with(TestServerPlan { retries, traces: traced, ..pair.in_order(|_| {}) })
            .await;
    for upstream in [&pair.first, &pair.second] {
        upstream.script(Script::refused(500, VendorError::Internal));
        upstream.script(Script::refused(500, VendorError::Internal));
    }
    assert_eq!(ask(&test_server).await.0, 200);
    assert_eq!(pair.asked(), [3, 2]);
    let first: Vec<_> = pair.first.requests().iter().map(|request| request.arrived).collect();
    let pauses = [first[1] - first[0], first[2] - first[1]].map(|pause| pause.as_millis());
    // 500 ms and 1 s, give or take a quarter.
    assert!(pauses[0] >= 375 && pauses[1] >= 750, "{pauses:?}");
    let seen = scrape(&test_server).await;
    for (upstream, reason, count) in
        [("lab-first", "other_upstream", 2.0), ("lab-second", "retry", 2.0)]
    {
        let labels = [("upstream", upstream), ("reason", reason)];
        assert_eq!(
            seen.value("weir_upstream_retries_total", &labels),
            Some(count),
            "{upstream} {reason}"
        );
    }
    test_server.close().await;
    let spans = collector.spans();
    let calls: Vec<_> = spans.iter().filter(|span| span.0["kind"] == 3).collect();
    assert_eq!(calls.len(), 5, "{spans:#?}");
    let ports =
        [pair.first.address().port(), pair.second.address().port()].map(|port| port.to_string());
    for port in ports {
        let failed = calls.iter().filter(|span| {
            span.attribute("server.port") == port.as_str()
                && span.attribute("error.type") != Value::Null
        });
        assert_eq!(failed.count(), 2, "{calls:#?}");
    }
}

#[tokio::test]
async fn nothing_is_retried_after_the_deadline() {
    let pair = Pair::start().await;
    let retries = Retries { count: 9, deadline: Duration::from_millis(100) };
    let test_server =
        TestServer::open_with(TestServerPlan { retries, ..pair.in_order(|_| {}) }).await;
    for upstream in [&pair.first, &pair.second] {
        upstream.default_script(Script::refused(500, VendorError::Internal));
    }
    assert_eq!(ask(&test_server).await.0, 502);
    assert_eq!(pair.asked(), [1, 1]);
    test_server.close().await;
}
