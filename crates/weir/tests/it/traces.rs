//! Traces: a collector in the test receives the spans of every response, and the upstream its trace context.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use client::{Request, websocket};
use engine::secret::Secret;
use fakes::{RecordedRequest, Script};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::test_server::{MODEL, TestServer, TestServerPlan, demo};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";
const PROMPT: &str = "a very private question";
const ANSWER: &str = "a very private answer";

/// A request's head and body.
type ReceivedRequest = (String, Vec<u8>);

/// A collector that accepts OTLP over HTTP, and keeps what it gets.
pub(crate) struct Collector {
    endpoint: String,
    heard: Arc<Mutex<Vec<ReceivedRequest>>>,
    _serving: client::Task,
}

impl Collector {
    /// One that responds with these statuses, and then with 200.
    pub(crate) async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keeping = Arc::clone(&heard);
        let mut statuses: Vec<u16> = statuses.iter().rev().copied().collect();
        let serving = client::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Some(request) = request(&mut stream).await {
                    let status = statuses.pop().unwrap_or(200);
                    if status == 200 {
                        keeping.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    }
                    let answer = format!(
                        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { endpoint, heard, _serving: serving }
    }

    pub(crate) fn plan(&self) -> TestServerPlan {
        let headers = vec![("api-key".to_owned(), Secret::new("of-the-collector"))];
        let config = traces::Config {
            endpoint: self.endpoint.clone(),
            headers,
            service: "weir-in-a-test".to_owned(),
        };
        TestServerPlan { traces: Some(config), ..TestServerPlan::default() }
    }

    fn heard(&self) -> Vec<ReceivedRequest> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All spans, in order of arrival.
    pub(crate) fn spans(&self) -> Vec<ReceivedSpan> {
        let documents = self
            .heard()
            .into_iter()
            .map(|(_, body)| serde_json::from_slice::<Value>(&body).unwrap());
        let all = documents.flat_map(|document| {
            document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
        });
        all.map(ReceivedSpan).collect()
    }
}

/// The next request of a connection.
async fn request(stream: &mut TcpStream) -> Option<ReceivedRequest> {
    let mut buffer = BytesMut::new();
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break String::from_utf8(buffer.split_to(end + 4).to_vec()).unwrap().to_lowercase();
        }
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    };
    let length: usize =
        head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().unwrap();
    while buffer.len() < length {
        stream.read_buf(&mut buffer).await.ok().filter(|count| *count > 0)?;
    }
    Some((head, buffer.to_vec()))
}

/// A received span.
#[derive(Debug)]
pub(crate) struct ReceivedSpan(pub(crate) Value);

impl ReceivedSpan {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    fn attributes(&self) -> BTreeMap<&str, &Value> {
        let attributes = self.0["attributes"].as_array().unwrap().iter();
        attributes
            .map(|one| {
                (
                    one["key"].as_str().unwrap(),
                    one["value"].as_object().unwrap().values().next().unwrap(),
                )
            })
            .collect()
    }

    pub(crate) fn attribute(&self, key: &str) -> Value {
        self.attributes().get(key).copied().cloned().unwrap_or_default()
    }

    fn nanoseconds(&self, field: &str) -> u128 {
        self.text(field).parse().unwrap()
    }
}

/// The two spans of one response: its own, and that of the upstream call.
fn both(spans: &[ReceivedSpan]) -> (&ReceivedSpan, &ReceivedSpan) {
    let of = |kind: u64| {
        let mut found = spans.iter().filter(|span| span.0["kind"] == kind);
        let one = found.next().unwrap();
        assert!(found.next().is_none(), "two of a kind: {spans:?}");
        one
    };
    (of(2), of(3))
}

fn ask(sampled: &str) -> Request {
    Request::post("/v1/responses", &json!({ "model": MODEL, "input": PROMPT, "stream": true }))
        .header("traceparent", &format!("00-{TRACE}-{CLIENT}-{sampled}"))
        .header("tracestate", "rojo=00f067aa0ba902b7")
}

async fn to_the_end(test_server: &TestServer, request: &Request) {
    test_server.send(request).await.collect().await.unwrap();
}

fn told<'a>(request: &'a RecordedRequest, header: &str) -> Option<&'a str> {
    request.headers.get(header)
}

#[tokio::test]
async fn spans_link_the_client_the_response_and_the_upstream() {
    let collector = Collector::start(&[]).await;
    let test_server = TestServer::open_with(collector.plan()).await;
    test_server.upstream.script(Script::text(&[ANSWER, "!"]));
    to_the_end(&test_server, &ask("01")).await;
    let upstream = test_server.upstream.address();
    let recorded = test_server.upstream.requests();
    test_server.close().await;

    let spans = collector.spans();
    let (answer, call) = both(&spans);
    for span in [answer, call] {
        assert_eq!(
            (span.text("traceId"), span.text("name"), span.text("traceState")),
            (TRACE, "chat scripted", "rojo=00f067aa0ba902b7")
        );
        assert_eq!(span.attribute("gen_ai.operation.name"), "chat");
        assert_eq!(span.attribute("gen_ai.provider.name"), "lab-scripted");
        assert_eq!(span.attribute("gen_ai.request.model"), MODEL);
        assert!(span.nanoseconds("startTimeUnixNano") <= span.nanoseconds("endTimeUnixNano"));
        assert!(span.0.get("status").is_none(), "{span:?}");
    }
    assert_eq!(answer.text("parentSpanId"), CLIENT);
    assert_eq!(call.text("parentSpanId"), answer.text("spanId"));
    assert!(answer.nanoseconds("startTimeUnixNano") <= call.nanoseconds("startTimeUnixNano"));
    assert!(call.nanoseconds("endTimeUnixNano") <= answer.nanoseconds("endTimeUnixNano"));
    assert!(answer.attribute("gen_ai.response.id").as_str().unwrap().starts_with("resp_"));
    assert_eq!(answer.attribute("weir.response.status"), "completed");
    assert_eq!(
        (
            answer.attribute("gen_ai.usage.input_tokens"),
            answer.attribute("gen_ai.usage.output_tokens")
        ),
        (json!("9"), json!("2"))
    );
    assert_eq!(
        (call.attribute("server.address"), call.attribute("server.port")),
        (json!("127.0.0.1"), json!(upstream.port().to_string()))
    );
    assert_eq!(call.attribute("http.response.status_code"), "200");
    assert_eq!(
        call.attribute("gen_ai.response.finish_reasons"),
        json!({ "values": [{ "stringValue": "stop" }] })
    );
    assert!(
        call.attribute("gen_ai.response.time_to_first_chunk")
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );

    let passed_on = format!("00-{TRACE}-{}-01", call.text("spanId"));
    assert_eq!(told(&recorded[0], "traceparent"), Some(passed_on.as_str()));
    assert_eq!(told(&recorded[0], "tracestate"), Some("rojo=00f067aa0ba902b7"));

    for (head, body) in collector.heard() {
        assert!(
            head.starts_with("post /v1/traces ")
                && head.contains("\r\ncontent-type: application/json\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\napi-key: of-the-collector\r\n"), "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(
            body.contains(r#"{"key":"service.name","value":{"stringValue":"weir-in-a-test"}}"#),
            "{body}"
        );
        for private in [PROMPT, ANSWER, "private", "sk-of-q8Zv41Tn0bX"] {
            assert!(!body.contains(private), "{private} in {body}");
        }
    }
}

#[tokio::test]
async fn failures_and_cancels_are_in_the_spans() {
    let collector = Collector::start(&[]).await;
    let test_server = TestServer::open_with(collector.plan()).await;
    test_server.upstream.script(Script::error(
        429,
        &json!({ "error": { "message": PROMPT, "code": "slow_down" } }),
    ));
    to_the_end(
        &test_server,
        &Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" })),
    )
    .await;
    test_server.close().await;
    let spans = collector.spans();
    let (answer, call) = both(&spans);
    assert_eq!(answer.text("parentSpanId"), "", "nobody is above it");
    assert_eq!(answer.text("traceId"), call.text("traceId"));
    assert_eq!(call.attribute("http.response.status_code"), "429");
    for span in [answer, call] {
        assert_eq!(span.attribute("error.type"), "rate_limit_exceeded");
        assert_eq!(span.0["status"], json!({ "code": 2, "message": "rate_limit_exceeded" }));
    }
    assert!(!format!("{spans:?}").contains(PROMPT));

    let collector = Collector::start(&[]).await;
    let test_server = TestServer::open_with(collector.plan()).await;
    test_server.upstream.script(Script::new().role().content("a").stall());
    let mut stream = test_server.stream(&ask("01")).await;
    let id = stream.next().await.unwrap().unwrap().json().unwrap()["response"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    test_server.post(&format!("/v1/responses/{id}/cancel"), &json!({})).await;
    stream.collect().await.unwrap();
    test_server.close().await;
    let spans = collector.spans();
    let (answer, call) = both(&spans);
    assert_eq!(
        (answer.attribute("weir.response.status"), answer.attribute("weir.response.reason")),
        (json!("cancelled"), json!("cancelled"))
    );
    assert!(
        answer.0.get("status").is_none() && call.0.get("status").is_none(),
        "a wish is no error"
    );
}

#[tokio::test]
async fn without_a_collector_the_trace_is_passed_on_unchanged() {
    let test_server = TestServer::open().await;
    to_the_end(&test_server, &ask("01")).await;
    to_the_end(
        &test_server,
        &Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" })),
    )
    .await;
    to_the_end(
        &test_server,
        &Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" }))
            .header("traceparent", "00-wrong"),
    )
    .await;
    let headers = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    let mut socket =
        websocket::connect(test_server.address, "/v1/responses", &headers).await.unwrap().socket;
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
    drop(socket);
    let recorded = test_server.upstream.requests();
    let parents: Vec<_> = recorded.iter().map(|request| told(request, "traceparent")).collect();
    let whole = format!("00-{TRACE}-{CLIENT}-01");
    assert_eq!(parents, [Some(whole.as_str()), None, None, Some(whole.as_str())]);
    assert_eq!(told(&recorded[0], "tracestate"), Some("rojo=00f067aa0ba902b7"));
    test_server.close().await;
}

#[tokio::test]
async fn an_unsampled_trace_is_not_recorded() {
    let collector = Collector::start(&[]).await;
    let test_server = TestServer::open_with(collector.plan()).await;
    to_the_end(&test_server, &ask("00")).await;
    assert_eq!(
        told(&test_server.upstream.requests()[0], "traceparent"),
        Some(format!("00-{TRACE}-{CLIENT}-00").as_str())
    );
    test_server.close().await;
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn the_demo_is_part_of_the_process() {
    let collector = Collector::start(&[]).await;
    let test_server = TestServer::open_with(collector.plan()).await;
    to_the_end(&test_server, &Request::post("/v1/responses", &demo("/count 3"))).await;
    test_server.close().await;
    let spans = collector.spans();
    let kinds: Vec<_> = spans.iter().map(|span| span.0["kind"].as_u64().unwrap()).collect();
    assert_eq!(kinds, [1, 2]);
    assert_eq!(spans[0].attribute("server.address"), Value::Null);
}

#[tokio::test]
async fn a_busy_collector_is_retried_and_rejected_spans_are_counted() {
    let collector = Collector::start(&[503]).await;
    let test_server = TestServer::open_with(collector.plan()).await;
    to_the_end(&test_server, &ask("01")).await;
    let outcome = |text: &str, what: &str| {
        text.contains(&format!("weir_trace_spans_total{{outcome=\"{what}\"}} 2\n"))
    };
    let seen = async |what: &str| {
        while !outcome(&metrics(&test_server).await, what) {}
    };
    client::soon(seen("exported")).await.unwrap();
    assert_eq!(collector.spans().len(), 2);
    test_server.close().await;

    let refusing = Collector::start(&[400]).await;
    let test_server = TestServer::open_with(refusing.plan()).await;
    to_the_end(&test_server, &ask("01")).await;
    let seen = async |what: &str| {
        while !outcome(&metrics(&test_server).await, what) {}
    };
    client::soon(seen("dropped")).await.unwrap();
    test_server.close().await;
    assert!(refusing.spans().is_empty());
}

#[tokio::test]
async fn an_unreachable_collector_delays_nothing() {
    let nowhere = traces::Config {
        endpoint: "http://127.0.0.1:9/v1/traces".into(),
        headers: Vec::new(),
        service: "weir".into(),
    };
    let test_server = TestServer::open_with(TestServerPlan {
        traces: Some(nowhere),
        ..TestServerPlan::default()
    })
    .await;
    for _ in 0..3 {
        to_the_end(&test_server, &ask("01")).await;
    }
    test_server.close().await;
}

async fn metrics(test_server: &TestServer) -> String {
    let mut response = test_server.send(&Request::get("/metrics")).await;
    String::from_utf8(response.collect().await.unwrap().0).unwrap()
}
