//! `/metrics` of an active server: valid Prometheus text, with the right numbers.
#![expect(clippy::float_cmp, reason = "what is counted is whole")]

pub(crate) mod exposition;

use std::collections::BTreeSet;
use std::sync::Arc;

use client::{Connection, Request, websocket};
use fakes::Script;
use serde_json::{Value, json};
use server::MetricsAccess;
use tokio::sync::Notify;

use self::exposition::Scrape;
use crate::test_server::{
    ADMIN, ALICE, MODEL, TestApi, TestFrame, TestServer, TestServerPlan, WAYS, demo, question,
    stateless, upstream_of,
};

/// The upstream's attributes according to the conventions.
const SCRIPTED: [(&str, &str); 2] =
    [("gen_ai_provider_name", "lab-scripted"), ("gen_ai_request_model", MODEL)];

/// Six streams and the scrape itself, in a test that opens one of each.
const HTTP1: (&str, &[(&str, &str)]) = ("weir_connections_open", &[("protocol", "http1")]);

pub(crate) async fn scrape(test_server: &TestServer) -> Scrape {
    let mut response = test_server.send(&Request::get("/metrics")).await;
    assert_eq!(response.status, 200);
    assert_eq!(
        response.headers.get("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let (body, _) = response.collect().await.unwrap();
    let text = String::from_utf8(body).unwrap();
    Scrape::read(&text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"))
}

/// Scrapes until the condition holds.
pub(crate) async fn until(
    test_server: &TestServer,
    is_so: impl Fn(&Scrape) -> bool,
    what: &str,
) -> Scrape {
    let looking = async {
        loop {
            let seen = scrape(test_server).await;
            if is_so(&seen) {
                return seen;
            }
        }
    };
    client::soon(looking).await.unwrap_or_else(|_late| panic!("not so: {what}"))
}

/// Sends one kind of request and reads to the end.
async fn ask(test_server: &TestServer, way: (TestApi, TestFrame), model: &str) -> Vec<u8> {
    let mut response = test_server.send(&question(way, model, &json!({}))).await;
    response.collect().await.unwrap().0
}

async fn id_of_next(stream: &mut client::Stream) -> String {
    let first = stream.next().await.unwrap().unwrap().json().unwrap();
    first["response"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_kind_of_request_is_counted_and_measured() {
    let test_server = TestServer::open().await;
    for way in WAYS {
        ask(&test_server, way, MODEL).await;
    }
    let mut socket =
        websocket::connect(test_server.address, "/v1/responses", &[]).await.unwrap().socket;
    socket
        .send_text(&json!({ "type": "response.create", "model": MODEL, "input": "hi" }).to_string())
        .await
        .unwrap();
    while !client::soon(socket.next_text())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .contains("response.completed")
    {}
    let seen = scrape(&test_server).await;
    assert_eq!(seen.value("weir_sockets_open", &[]), Some(1.0));
    socket.close(1000, "").await.unwrap();
    socket.collect().await.unwrap();
    test_server
        .send(&Request::post("/v1/responses", &demo("/count 3")))
        .await
        .collect()
        .await
        .unwrap();

    let idle = |seen: &Scrape| {
        seen.sum("weir_streams_open", &[]) == 0.0 && seen.sum("weir_readers", &[]) == 0.0
    };
    let seen = until(
        &test_server,
        |seen| idle(seen) && seen.sum("weir_sockets_open", &[]) == 0.0,
        "all streams have ended",
    )
    .await;
    assert_eq!(seen.value("weir_answers_total", &[("status", "completed")]), Some(8.0));
    assert_eq!(seen.sum("weir_answers_total", &[]), 8.0);
    // The lab's response: 9 tokens in, 4 out, in 4 pieces and a finish reason.
    let tokens = |kind: &str, part: &str| {
        seen.sum(
            &format!("gen_ai_client_token_usage_{part}"),
            &[SCRIPTED[0], SCRIPTED[1], ("gen_ai_token_type", kind)],
        )
    };
    assert_eq!((tokens("input", "count"), tokens("input", "sum")), (7.0, 63.0));
    assert_eq!((tokens("output", "count"), tokens("output", "sum")), (7.0, 28.0));
    for (name, count) in [
        ("gen_ai_client_operation_duration_seconds", 7.0),
        ("gen_ai_client_operation_time_to_first_chunk_seconds", 7.0),
        ("gen_ai_client_operation_time_per_output_chunk_seconds", 28.0),
        ("gen_ai_server_request_duration_seconds", 7.0),
        ("gen_ai_server_time_to_first_token_seconds", 7.0),
        ("gen_ai_server_time_per_output_token_seconds", 7.0),
    ] {
        let name = format!("{name}_count");
        assert_eq!(seen.sum(&name, &SCRIPTED), count, "{name}");
        assert!(
            seen.of(&name, &SCRIPTED)
                .all(|sample| sample.labels["gen_ai_operation_name"] == "chat"),
            "{name}"
        );
        assert_eq!(
            seen.of(
                &name,
                &[("gen_ai_provider_name", "weir.demo"), ("gen_ai_request_model", "demo")]
            )
            .count(),
            1,
            "{name}"
        );
    }
    assert_eq!(seen.value("weir_answer_readers_count", &[]), Some(8.0));
    assert_eq!(seen.value("weir_answer_readers_bucket", &[("le", "1")]), Some(8.0));
    assert_eq!(
        seen.sum("weir_upstream_errors_total", &[]) + seen.sum("weir_cancels_total", &[]),
        0.0
    );
    assert_eq!(seen.value("weir_answers_running", &[]), Some(0.0));
    let census = test_server.engine.census();
    assert_eq!(seen.value("weir_log_bytes", &[]).map(|bytes| bytes > 0.0), Some(true));
    assert_eq!(
        seen.value("weir_item_bytes", &[]),
        Some(f64::from(u32::try_from(census.item_bytes).unwrap()))
    );
    assert_eq!(seen.value("weir_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), Some(1.0));
    #[cfg(target_os = "linux")]
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(seen.value(name, &[]).is_some_and(|value| value > 0.0), "{name}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn open_streams_are_counted_by_frame_and_dialect() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    let mut open = Vec::new();
    for way in WAYS {
        test_server.upstream.script(
            Script::new()
                .role()
                .content("a")
                .wait_for(&gate)
                .content("b")
                .finish("stop")
                .done()
                .end(),
        );
        let mut connection = Connection::open(test_server.address).await.unwrap();
        let request = question(way, MODEL, &json!({}));
        connection.write(&request).await.unwrap();
        open.push((connection, request));
    }
    let each = |seen: &Scrape| {
        ["json", "ndjson", "sse"]
            .iter()
            .flat_map(|frame| {
                ["responses", "chat_completions"]
                    .map(|dialect| [("frame", *frame), ("dialect", dialect)])
            })
            .all(|labels| seen.value("weir_streams_open", &labels) == Some(1.0))
    };
    let seen = until(
        &test_server,
        |seen| {
            each(seen)
                && seen.sum("weir_readers", &[]) == 6.0
                && seen.value(HTTP1.0, HTTP1.1) == Some(7.0)
        },
        "one of each is open",
    )
    .await;
    assert_eq!(seen.value("weir_answers_running", &[]), Some(6.0));
    for _ in WAYS {
        gate.notify_one();
    }
    for (connection, request) in open {
        connection.read_response(&request).await.unwrap().collect().await.unwrap();
    }
    let seen =
        until(&test_server, |seen| seen.sum("weir_streams_open", &[]) == 0.0, "none is open").await;
    assert!(seen.sum("weir_connections_total", &[("protocol", "http1")]) >= 7.0);
    let bytes = |direction| seen.sum("weir_bytes_total", &[("direction", direction)]);
    assert!(bytes("sent") > bytes("received") && bytes("received") > 0.0);
    test_server.close().await;
}

#[tokio::test]
async fn cancels_have_causes_and_peak_readers_are_counted() {
    let test_server = TestServer::open().await;
    let stalled = || Script::new().role().content("a").stall();
    let asked = || {
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi", "stream": true }))
    };

    test_server.upstream.script(stalled());
    let mut stream = test_server.stream(&asked()).await;
    let id = id_of_next(&mut stream).await;
    let mut second =
        test_server.stream(&Request::get(&format!("/v1/responses/{id}?stream=true"))).await;
    id_of_next(&mut second).await;
    test_server.post(&format!("/v1/responses/{id}/cancel"), &json!({})).await;
    stream.collect().await.unwrap();
    second.collect().await.unwrap();

    test_server.upstream.script(stalled());
    let mut stream = test_server.stream(&asked()).await;
    let id = id_of_next(&mut stream).await;
    assert_eq!(
        test_server.json(&Request::new("DELETE", &format!("/v1/responses/{id}"))).await.0,
        200
    );

    test_server.upstream.script(stalled());
    let mut stream =
        test_server.stream(&stateless((TestApi::Responses, TestFrame::Sse), MODEL)).await;
    id_of_next(&mut stream).await;
    drop(stream);

    let cancels = |seen: &Scrape, cause| seen.sum("weir_cancels_total", &[("cause", cause)]);
    let seen =
        until(&test_server, |seen| cancels(seen, "client_left") == 1.0, "the client has left")
            .await;
    assert_eq!((cancels(&seen, "cancelled"), cancels(&seen, "deleted")), (1.0, 1.0));
    assert_eq!(
        seen.value("weir_answers_total", &[("status", "cancelled"), ("reason", "cancelled")]),
        Some(2.0)
    );
    assert_eq!(
        seen.value("weir_answers_total", &[("status", "cancelled"), ("reason", "client_left")]),
        Some(1.0)
    );
    // Two read the first, and a cancelling caller counts as a reader for a moment.
    let of_one = seen.value("weir_answer_readers_bucket", &[("le", "1")]).unwrap();
    assert_eq!(
        seen.value("weir_answer_readers_bucket", &[("le", "3")]).map(|of_three| of_three - of_one),
        Some(1.0)
    );
    assert_eq!(seen.sum("weir_upstream_errors_total", &[]), 0.0, "nobody failed");
    assert_eq!(
        seen.sum("gen_ai_server_time_to_first_token_seconds_count", &[]),
        0.0,
        "nothing succeeded"
    );
    test_server.close().await;
}

#[tokio::test]
async fn upstream_errors_have_a_fixed_set_of_kinds() {
    let dead = upstream_of(
        "dead",
        "http://127.0.0.1:9/v1".to_owned(),
        engine::provider::route::Timeouts::default(),
    );
    let test_server = TestServer::open_with(TestServerPlan {
        more_upstreams: vec![dead],
        ..TestServerPlan::default()
    })
    .await;
    let refusal = |status, code: &str| {
        Script::error(status, &json!({ "error": { "message": "no", "code": code } }))
    };
    for script in [
        Script::new().role().content("a").rst(),
        Script::new().role().content("a").end(),
        refusal(429, "made_up_1"),
        refusal(400, "made_up_2"),
        refusal(400, "made_up_3"),
        refusal(500, "made_up_4"),
    ] {
        test_server.upstream.script(script);
        ask(&test_server, (TestApi::Responses, TestFrame::Sse), MODEL).await;
    }
    ask(&test_server, (TestApi::Chat, TestFrame::Json), "dead").await;
    let seen = scrape(&test_server).await;
    for (upstream, kind, count) in [
        ("lab-scripted", "upstream_cut", 1.0),
        ("lab-scripted", "upstream_truncated", 1.0),
        ("lab-scripted", "rate_limit_exceeded", 1.0),
        ("lab-scripted", "upstream_invalid_request", 2.0),
        ("lab-scripted", "upstream_error", 1.0),
        ("lab-dead", "upstream_unreachable", 1.0),
    ] {
        assert_eq!(
            seen.value("weir_upstream_errors_total", &[("upstream", upstream), ("kind", kind)]),
            Some(count),
            "{kind}"
        );
        assert_eq!(
            seen.sum("weir_answers_total", &[("status", "failed"), ("reason", kind)]),
            count,
            "{kind}"
        );
        let labels = [("gen_ai_provider_name", upstream), ("error_type", kind)];
        assert_eq!(
            seen.sum("gen_ai_client_operation_duration_seconds_count", &labels),
            count,
            "{kind}"
        );
    }
    assert_eq!(seen.sum("weir_upstream_errors_total", &[]), 7.0);
    test_server.close().await;
}

#[tokio::test]
async fn made_up_names_create_no_series() {
    let any = |test_server: &TestServer| {
        let mut any = upstream_of(
            "any",
            test_server.upstream.base_url(),
            engine::provider::route::Timeouts::default(),
        );
        any.models.clear();
        any
    };
    let first = TestServer::open().await;
    let test_server = TestServer::open_with(TestServerPlan {
        more_upstreams: vec![any(&first)],
        ..TestServerPlan::default()
    })
    .await;
    // The upstream lists one model, and its list is fetched once the server runs.
    test_server.get("/v1/models").await;
    ask(&test_server, (TestApi::Responses, TestFrame::Sse), "made-up").await;
    ask(&test_server, (TestApi::Responses, TestFrame::Sse), "lab-model").await;
    // A scrape changes values of series, never the set of series.
    let before = scrape(&test_server).await;
    for number in 0..200 {
        ask(&test_server, (TestApi::Responses, TestFrame::Json), &format!("made-up-{number}\"\n"))
            .await;
    }
    let after = scrape(&test_server).await;
    let series = |seen: &Scrape| -> BTreeSet<_> {
        seen.samples.iter().map(|sample| (sample.name.clone(), sample.labels.clone())).collect()
    };
    assert_eq!(series(&after), series(&before));
    let of = |model| {
        after.sum(
            "gen_ai_client_operation_duration_seconds_count",
            &[("gen_ai_request_model", model)],
        )
    };
    assert_eq!((of("other"), of("lab-model")), (201.0, 1.0));
    test_server.close().await;
    first.close().await;
}

#[tokio::test]
async fn metrics_require_an_admin_key_if_there_are_keys() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let get = Request::get("/metrics");
    assert_eq!(test_server.json(&get).await.0, 401);
    let (status, refusal) = test_server.json(&get.clone().bearer(ALICE)).await;
    assert_eq!((status, &refusal["error"]["code"]), (403, &Value::from("admin_key_required")));
    assert_eq!(test_server.send(&get.clone().bearer(ADMIN)).await.status, 200);
    test_server.close().await;

    let open = TestServer::open_with(TestServerPlan {
        with_keys: true,
        ..TestServerPlan::server(|config| config.metrics = MetricsAccess::Open)
    })
    .await;
    assert_eq!(open.send(&get).await.status, 200);
    assert_eq!(
        open.send(&get.clone().header("host", "evil.example")).await.status,
        421,
        "a page must not point its name here"
    );
    let mut head = open.send(&Request::new("HEAD", "/metrics")).await;
    assert_eq!((head.status, head.collect().await.unwrap().0.len()), (200, 0));
    let options = open.send(&Request::new("OPTIONS", "/metrics")).await;
    assert_eq!((options.status, options.headers.get("allow")), (204, Some("GET,HEAD")));
    assert_eq!(open.send(&Request::new("POST", "/metrics")).await.status, 405);
    open.close().await;
}

#[tokio::test]
async fn exactly_the_existing_metrics_are_documented() {
    let test_server = TestServer::open().await;
    let seen = scrape(&test_server).await;
    let text = include_str!("../../../../docs/reference/metrics.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<&str> = rows
        .filter(|name| ["gen_ai_", "weir_", "process_"].iter().any(|room| name.starts_with(room)))
        .collect();
    let exposed: BTreeSet<&str> = seen.names().collect();
    // Present only while traces are exported.
    let of_traces = BTreeSet::from(["weir_trace_spans_total"]);
    assert_eq!(documented.difference(&of_traces).copied().collect::<BTreeSet<_>>(), exposed);
    let dashboard: Value =
        serde_json::from_str(include_str!("../../../../docs/grafana-dashboard.json")).unwrap();
    let queries: Vec<&str> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    for query in &queries {
        let words = query.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        for name in words.filter(|word| {
            ["gen_ai_client", "gen_ai_server", "weir_", "process_"]
                .iter()
                .any(|room| word.starts_with(room))
        }) {
            let metric = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            assert!(exposed.contains(metric), "{name} in {query}");
        }
    }
    assert!(queries.len() > 5);
    test_server.close().await;
}
