//! The way of a response through the server, from the socket to the model to the client's.

use std::fs;
use std::sync::Arc;

use client::{Request, Stream, soon};
use engine::provider::route::{Retries, Timeouts};
use engine::secret::Secret;
use fakes::{Script, Upstream};
use provider::config::{KeyConfig, Preset, RouteConfig, Strategy, TargetConfig, UpstreamConfig};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{PIECES, connections, count};
use crate::test_server::{
    ADMIN, ALICE, BOB, MODEL, TestServer, TestServerPlan, ask, demo, upstream_of,
};
use crate::tls::CertificatePair;

fn id_of(stream: &Stream) -> String {
    stream.response().headers.get("weir-response-id").unwrap().to_owned()
}

fn path(id: &str) -> String {
    format!("/v1/lens/responses/{id}")
}

/// The way of a response.
async fn way(test_server: &TestServer, id: &str) -> Value {
    let (status, way) = test_server.get(&path(id)).await;
    assert_eq!(status, 200, "{way}");
    way
}

/// Reads a response to its end. Returns its way.
async fn answered(test_server: &TestServer, body: &Value) -> Value {
    let mut stream = test_server.stream(&Request::post("/v1/responses", body)).await;
    let id = id_of(&stream);
    stream.collect().await.unwrap();
    test_server.quiet().await;
    way(test_server, &id).await
}

fn calls(way: &Value) -> &[Value] {
    way["upstream"]["calls"].as_array().unwrap_or_else(|| panic!("no calls: {way}"))
}

/// The only call.
fn call(way: &Value) -> &Value {
    let [call] = calls(way) else { panic!("not one call: {way}") };
    call
}

fn names(stages: &Value) -> Vec<&str> {
    stages.as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect()
}

/// Starts a response whose model waits after its first words; `release` lets it go on.
async fn waiting(
    test_server: &TestServer,
    upstream: &Upstream,
    model: &str,
    release: &Arc<Notify>,
) -> Stream {
    let script = Script::new().role().content("one").wait_for(release).content("two");
    upstream.script(script.finish("stop").done());
    let body = json!({ "model": model, "input": "hi", "stream": true });
    let mut stream = test_server.stream(&Request::post("/v1/responses", &body)).await;
    while let Some(event) = soon(stream.next()).await.unwrap().unwrap() {
        if event.json().unwrap()["type"] == "response.output_text.delta" {
            return stream;
        }
    }
    panic!("ended without a text");
}

async fn cancel(test_server: &TestServer, id: &str) {
    let request = Request::new("POST", &format!("/v1/responses/{id}/cancel"));
    let (status, cancelled) = test_server.json(&request).await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
}

/// A model that is the demo of this upstream.
fn demo_of(upstream: &str) -> RouteConfig {
    let target = TargetConfig { upstream: upstream.into(), model: Some("demo".into()), weight: 1 };
    RouteConfig {
        model: "demo-over-tls".into(),
        upstreams: vec![target],
        strategy: Strategy::Order,
        on_leave: None,
    }
}

#[tokio::test]
async fn a_response_shows_its_whole_way_and_a_second_one_reuses_the_connection() {
    let test_server = TestServer::open().await;
    let mut numbers = Vec::new();
    for is_second in [false, true] {
        test_server.upstream.script(Script::text(&PIECES));
        let way = answered(&test_server, &ask("hi")).await;
        assert_eq!(names(&way["first"]), ["request", "head", "event", "logged", "delivered"]);
        assert_eq!(names(&way["end"]), ["event", "upstream", "logged", "delivered"]);
        for stages in [&way["first"], &way["end"]] {
            let times: Vec<f64> = stages
                .as_array()
                .unwrap()
                .iter()
                .map(|stage| stage["at_ms"].as_f64().unwrap())
                .collect();
            assert!(times.is_sorted(), "{stages}");
            assert_eq!(stages[0]["delay_ms"], Value::Null);
            let delay = stages[1]["delay_ms"].as_f64().unwrap();
            assert!((delay - (times[1] - times[0])).abs() < 0.01, "{stages}");
        }

        let call = call(&way);
        assert_eq!(
            (&call["status"], &call["complete"], &call["close"], &call["upstream"]),
            (&json!(200), &json!(true), &Value::Null, &json!(format!("lab-{MODEL}")))
        );
        assert_eq!(call["address"], test_server.upstream.address().to_string());
        let sent = test_server.upstream.requests().last().unwrap().body.to_string().len();
        assert_eq!(count(&call["sent"]["body"]), sent);
        let received = &call["received"];
        let text: usize = PIECES.iter().map(|piece| piece.len()).sum();
        assert_eq!(count(&received["text"]), text);
        assert!(count(&received["body"]) > text && count(&received["framing"]) > 0, "{call}");
        assert!(count(&call["sent"]["head"]) > 100 && count(&received["head"]) > 40, "{call}");

        let connection = &call["connection"];
        assert_eq!(
            (&connection["protocol"], &connection["reused"], &connection["kept"]),
            (&json!("http1"), &json!(is_second), &json!(true))
        );
        assert_eq!(connection["opened_ms"].is_null(), is_second, "{connection}");
        assert_eq!((&connection["tls"], &connection["dns_ms"]), (&Value::Null, &Value::Null));
        assert_eq!(connection["earlier_requests"], u64::from(is_second));
        numbers.push(connection["number"].clone());

        let [reader] = way["client"].as_array().unwrap().as_slice() else { panic!("{way}") };
        assert_eq!(reader["complete"], true);
        let accepted = connections(&test_server, None).await;
        assert!(accepted.iter().any(|one| one["id"] == reader["connection"]), "{way}");
    }
    assert_eq!(numbers[0], numbers[1]);
    assert_eq!(test_server.upstream.accepted_connections(), 1);
    test_server.close().await;
}

#[tokio::test]
async fn a_cancel_closes_the_connection_and_the_lens_tells_how_soon() {
    let test_server = TestServer::open().await;
    let release = Arc::default();
    let mut stream = waiting(&test_server, &test_server.upstream, MODEL, &release).await;
    let id = id_of(&stream);
    let running = way(&test_server, &id).await;
    assert_eq!(names(&running["first"]).len(), 5, "while it runs: {running}");
    assert_eq!((&call(&running)["complete"], &running["stopped"]), (&Value::Null, &Value::Null));
    cancel(&test_server, &id).await;
    test_server.upstream.wait_closed(0).await;
    let ended = way(&test_server, &id).await;
    let call = call(&ended);
    assert_eq!(call["close"], json!({ "by": "weir", "how": "close" }));
    assert_eq!((&call["complete"], &call["connection"]["kept"]), (&json!(false), &json!(false)));
    assert_eq!(ended["stopped"]["reason"], "cancelled");
    let after = ended["upstream"]["closed_after_stop_ms"].as_f64().unwrap();
    let stopped = ended["stopped"]["at_ms"].as_f64().unwrap();
    assert!((call["ended_ms"].as_f64().unwrap() - stopped - after).abs() < 0.01, "{ended}");
    stream.collect().await.unwrap();
    test_server.close().await;
}

#[tokio::test]
async fn over_http2_a_cancel_resets_the_stream_and_keeps_the_connection() {
    let upstream = Upstream::start().await.unwrap();
    let mut config = upstream_of("multiplexed", upstream.base_url(), Timeouts::default());
    config.connection.http2 = true;
    let plan = TestServerPlan { more_upstreams: vec![config], ..TestServerPlan::default() };
    let test_server = TestServer::open_with(plan).await;
    let release = Arc::default();
    let mut stream = waiting(&test_server, &upstream, "multiplexed", &release).await;
    let id = id_of(&stream);
    cancel(&test_server, &id).await;
    let ended = way(&test_server, &id).await;
    let connection = &call(&ended)["connection"];
    assert_eq!(call(&ended)["close"], json!({ "by": "weir", "how": "stream_reset" }));
    assert_eq!((&connection["protocol"], &connection["kept"]), (&json!("http2"), &json!(true)));
    assert!(ended["upstream"]["closed_after_stop_ms"].is_number(), "{ended}");
    stream.collect().await.unwrap();

    upstream.script(Script::text(&PIECES));
    let body = json!({ "model": "multiplexed", "input": "hi", "stream": true });
    let next = answered(&test_server, &body).await;
    let again = &call(&next)["connection"];
    assert_eq!((&again["number"], &again["reused"]), (&connection["number"], &json!(true)));
    assert_eq!((&call(&next)["complete"], &call(&next)["close"]), (&json!(true), &Value::Null));
    test_server.close().await;
}

#[tokio::test]
async fn a_cut_is_the_upstreams() {
    let test_server = TestServer::open().await;
    for (script, how) in [
        (Script::new().role().content("one").fin(), "fin"),
        (Script::new().role().content("one").rst(), "reset"),
    ] {
        test_server.upstream.script(script);
        let way = answered(&test_server, &ask("hi")).await;
        let call = call(&way);
        assert_eq!(call["close"], json!({ "by": "upstream", "how": how }), "{way}");
        assert_eq!(
            (&call["complete"], &call["connection"]["kept"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(way["upstream"]["closed_after_stop_ms"], Value::Null);
        assert_eq!(count(&call["received"]["text"]), 3);
    }
    test_server.close().await;
}

#[tokio::test]
async fn a_retry_is_another_call() {
    let retries = Retries { count: 1, ..Retries::default() };
    let test_server =
        TestServer::open_with(TestServerPlan { retries, ..TestServerPlan::default() }).await;
    test_server.upstream.script(Script::new().rst());
    test_server.upstream.script(Script::text(&PIECES));
    let way = answered(&test_server, &ask("hi")).await;
    assert_eq!(way["upstream"]["call_count"], 2);
    let [failed, second] = calls(&way) else { panic!("not two calls: {way}") };
    assert_eq!((&failed["complete"], &failed["events"]), (&json!(false), &json!(0)));
    assert_eq!(failed["close"]["by"], "upstream", "{failed}");
    assert_eq!((&second["complete"], &second["status"]), (&json!(true), &json!(200)));
    assert!(second["asked_ms"].as_f64() >= failed["ended_ms"].as_f64(), "{way}");
    test_server.close().await;
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_has_no_connection() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", free.local_addr().unwrap());
    drop(free);
    let plan = TestServerPlan {
        more_upstreams: vec![upstream_of("gone", base_url, Timeouts::default())],
        ..TestServerPlan::default()
    };
    let test_server = TestServer::open_with(plan).await;
    let response = test_server
        .send(&Request::post("/v1/responses", &json!({ "model": "gone", "input": "hi" })))
        .await;
    assert_eq!(response.status, 502);
    let id = response.headers.get("weir-response-id").unwrap().to_owned();
    drop(response);
    test_server.quiet().await;
    let way = way(&test_server, &id).await;
    let call = call(&way);
    assert_eq!(
        (&call["connection"], &call["complete"], &call["head_ms"]),
        (&Value::Null, &json!(false), &Value::Null)
    );
    assert!(call["ended_ms"].is_number());
    test_server.close().await;
}

#[tokio::test]
async fn tls_to_the_upstream_is_told_with_its_protocol() {
    let pair = CertificatePair::new();
    // A Weir is a server with TLS, too.
    let upstream = TestServer::open_with(pair.plan()).await;
    for (is_http2, alpn, protocol) in [(false, "http/1.1", "http1"), (true, "h2", "http2")] {
        let base_url = format!("https://localhost:{}/v1", upstream.address.port());
        let mut config = UpstreamConfig {
            keys: vec![KeyConfig::new("1", Secret::new("sk-none"))],
            models: vec!["remote".into()],
            ..UpstreamConfig::new("secure", Preset::Compatible, base_url)
        };
        config.connection.ca = Some(fs::read(pair.certificate()).unwrap());
        config.connection.http2 = is_http2;
        let plan = TestServerPlan {
            more_upstreams: vec![config],
            routes: vec![demo_of("secure")],
            ..TestServerPlan::default()
        };
        let test_server = TestServer::open_with(plan).await;
        let body = json!({ "model": "demo-over-tls", "input": "hi", "stream": true });
        let way = answered(&test_server, &body).await;
        let connection = &call(&way)["connection"];
        let tls = &connection["tls"];
        assert_eq!((&tls["version"], &tls["alpn"]), (&json!("1.3"), &json!(alpn)), "{way}");
        assert!(tls["handshake_ms"].as_f64().unwrap() > 0.0);
        assert!(connection["dns_ms"].is_number(), "the name was resolved: {connection}");
        assert_eq!(connection["protocol"], protocol);
        test_server.close().await;
    }
    upstream.close().await;
}

#[tokio::test]
async fn the_demo_model_has_no_upstream() {
    let test_server = TestServer::open().await;
    let way = answered(&test_server, &demo("hi")).await;
    assert_eq!(way["upstream"], Value::Null);
    assert_eq!(names(&way["first"]), ["logged", "delivered"]);
    assert_eq!(names(&way["end"]), ["logged", "delivered"]);
    test_server.close().await;
}

#[tokio::test]
async fn a_response_is_shown_to_its_caller_and_addresses_to_admins() {
    let plan = TestServerPlan { with_keys: true, ..TestServerPlan::default() };
    let test_server = TestServer::open_with(plan).await;
    test_server.upstream.script(Script::text(&PIECES));
    let request = Request::post("/v1/responses", &ask("a secret prompt")).bearer(ALICE);
    let mut stream = test_server.stream(&request).await;
    let id = id_of(&stream);
    stream.collect().await.unwrap();
    test_server.quiet().await;
    let seen = async |key| test_server.json(&Request::get(&path(&id)).bearer(key)).await;
    let (status, fault) = seen(BOB).await;
    assert_eq!((status, &fault["error"]["code"]), (404, &json!("response_not_found")));
    let (status, hers) = seen(ALICE).await;
    assert_eq!(status, 200);
    let (_, all) = seen(ADMIN).await;
    for (way, is_admin) in [(&hers, false), (&all, true)] {
        let call = call(way);
        let connection = &call["connection"];
        for hidden in [
            &call["address"],
            &connection["peer"],
            &connection["local"],
            &connection["earlier_requests"],
        ] {
            assert_eq!(hidden.is_null(), !is_admin, "{way}");
        }
        let text = way.to_string();
        for secret in ["secret", "sk-of", "authorization", "Hello"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    let unknown = Request::get(&path("resp_none")).bearer(ADMIN);
    assert_eq!(test_server.json(&unknown).await.0, 404);
    test_server.close().await;
}
