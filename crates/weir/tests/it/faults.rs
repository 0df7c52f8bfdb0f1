//! Every upstream fault in every dialect and frame: the correct status, exactly one end, and never a partial response
//! that looks complete.

use std::fmt::Write;
use std::time::Duration;

use client::BodyEnd;
use engine::provider::route::Timeouts;
use fakes::{Script, Step};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::test_server::{
    MODEL, TestApi, TestFrame, TestServer, TestServerPlan, WAYS, question, upstream_of,
};

/// The timeout where a stall is the fault.
const SHORT: Duration = Duration::from_millis(200);

/// Where the upstream is, and its timeouts.
#[derive(Clone, Copy)]
enum At {
    Patience,
    ShortHeaders,
    ShortFirstToken,
    ShortIdle,
    /// Nothing listens there.
    DeadAddress,
}

impl At {
    fn timeouts(self) -> Timeouts {
        let usual = Timeouts::default();
        match self {
            Self::Patience | Self::DeadAddress => usual,
            Self::ShortHeaders => Timeouts { headers: SHORT, ..usual },
            Self::ShortFirstToken => Timeouts { first_token: SHORT, ..usual },
            Self::ShortIdle => Timeouts { idle: SHORT, ..usual },
        }
    }

    fn model(self) -> &'static str {
        if matches!(self, Self::DeadAddress) { "dead" } else { MODEL }
    }
}

/// When the fault occurs, which decides whether a stream can still report it by its status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}
use When::{After, Before};

/// A fault and its expected outcome.
struct Fault {
    name: &'static str,
    at: At,
    script: Script,
    when: When,
    status: u16,
    code: &'static str,
    retry_after: Option<&'static str>,
}

fn fault(name: &'static str, script: Script, when: When, status: u16, code: &'static str) -> Fault {
    Fault { name, at: At::Patience, script, when, status, code, retry_after: None }
}

fn begun() -> Script {
    Script::new().role().content("Once upon")
}

fn kept_alive(script: Script) -> Script {
    (0..40).fold(script, |script, _| script.comment().sleep(SHORT / 8)).stall()
}

fn refusal(status: u16, error: &Value) -> Script {
    Script::error(status, &json!({ "error": error }))
}

fn in_band(script: Script, error: &Value) -> Script {
    script.event(json!({ "error": error })).done().end()
}

fn faults() -> Vec<Fault> {
    let boom = json!({ "message": "boom", "type": "server_error", "code": null, "param": null });
    let slow_down = json!({ "message": "slow down", "type": "requests", "code": "rate_limit_exceeded", "param": null });
    let wrong_key = json!({ "message": "Incorrect API key provided: sk-of-q8Zv41Tn0bX", "code": "invalid_api_key" });
    let huge = format!("data: {}", "x".repeat((8 << 20) + 1));
    let limited = Script::status(
        429,
        &[("content-type", "application/json"), ("retry-after", "7")],
        json!({ "error": slow_down }).to_string(),
    );
    let busy = Script::status(503, &[("retry-after", "3")], "busy");
    vec![
        fault("RST before the head", Script::new().rst(), Before, 502, "upstream_unreachable"),
        fault(
            "FIN before the head",
            Script::new().step(Step::Fin),
            Before,
            502,
            "upstream_unreachable",
        ),
        fault("RST after the head", Script::new().head().rst(), Before, 502, "upstream_cut"),
        fault("FIN after the head", Script::new().head().fin(), Before, 502, "upstream_cut"),
        fault("RST in mid-stream", begun().rst(), After, 502, "upstream_cut"),
        fault("FIN in mid-stream", begun().fin(), After, 502, "upstream_cut"),
        fault(
            "an end without anything",
            Script::new().head().end(),
            Before,
            502,
            "upstream_truncated",
        ),
        fault("an end without a finish reason", begun().end(), After, 502, "upstream_truncated"),
        fault(
            "[DONE] without a finish reason",
            begun().done().end(),
            After,
            502,
            "upstream_truncated",
        ),
        fault("[DONE] alone", Script::new().done().end(), Before, 502, "upstream_truncated"),
        Fault {
            at: At::ShortHeaders,
            ..fault(
                "a stall before the head",
                Script::no_head(),
                Before,
                504,
                "upstream_headers_timeout",
            )
        },
        Fault {
            at: At::ShortHeaders,
            ..fault(
                "headers that never end",
                Script::endless_headers(),
                Before,
                504,
                "upstream_headers_timeout",
            )
        },
        Fault {
            at: At::ShortFirstToken,
            ..fault(
                "a stall before the first token",
                kept_alive(Script::new().role()),
                Before,
                504,
                "upstream_first_token_timeout",
            )
        },
        Fault {
            at: At::ShortIdle,
            ..fault(
                "a stall after keep-alives",
                kept_alive(begun()),
                After,
                504,
                "upstream_idle_timeout",
            )
        },
        fault(
            "garbage",
            Script::new().raw("data: {\"choices\":[oops\n\n").stall(),
            Before,
            502,
            "upstream_invalid_data",
        ),
        fault(
            "garbage in mid-stream",
            begun().raw("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" a\n\n").stall(),
            After,
            502,
            "upstream_invalid_data",
        ),
        fault(
            "a page of HTML",
            Script::new().raw("<html>login</html>").end(),
            Before,
            502,
            "upstream_invalid_data",
        ),
        fault(
            "bytes that are no stream",
            Script::new().raw(&b"\x00\xff\xfe\x13 nonsense\n\n"[..]).end(),
            Before,
            502,
            "upstream_truncated",
        ),
        fault(
            "an event above 8 MiB",
            Script::new().raw(huge.clone()).stall(),
            Before,
            502,
            "upstream_event_too_large",
        ),
        fault(
            "such an event in mid-stream",
            begun().raw(huge).stall(),
            After,
            502,
            "upstream_event_too_large",
        ),
        fault(
            "400",
            refusal(400, &json!({ "message": "no", "code": "context_length_exceeded" })),
            Before,
            400,
            "context_length_exceeded",
        ),
        fault("401", refusal(401, &wrong_key), Before, 502, "upstream_authentication_failed"),
        fault("403", refusal(403, &wrong_key), Before, 502, "upstream_authentication_failed"),
        fault("404", refusal(404, &json!("model not found")), Before, 404, "model_not_found"),
        Fault {
            retry_after: Some("7"),
            ..fault("429", limited, Before, 429, "rate_limit_exceeded")
        },
        fault("500", refusal(500, &boom), Before, 502, "upstream_error"),
        Fault { retry_after: Some("3"), ..fault("503", busy, Before, 503, "upstream_overloaded") },
        fault("an error in band", in_band(Script::new(), &boom), Before, 502, "upstream_error"),
        fault(
            "an error in band after output",
            in_band(begun(), &boom),
            After,
            502,
            "upstream_error",
        ),
        fault(
            "a rate limit in band after output",
            in_band(begun(), &slow_down),
            After,
            429,
            "rate_limit_exceeded",
        ),
        Fault {
            at: At::DeadAddress,
            ..fault("nobody listens", Script::new(), Before, 502, "upstream_unreachable")
        },
    ]
}

#[tokio::test]
async fn every_fault_reaches_the_client_with_its_own_code() {
    let mut rows = JoinSet::new();
    for (number, fault) in faults().into_iter().enumerate() {
        rows.spawn(async move { (number, row(fault).await) });
    }
    let mut table = rows.join_all().await;
    table.sort();
    let head = WAYS.map(|(words, frame)| format!("{:<28}", format!("{words:?} {frame:?}")));
    eprintln!("{:<34}{}", "fault (* = in band, after a 200)", head.concat());
    for (_, row) in &table {
        eprintln!("{row}");
    }
}

/// One fault for every kind of request; returns the table's row.
async fn row(fault: Fault) -> String {
    let test_server = test_server(fault.at).await;
    test_server.upstream.default_script(fault.script.clone());
    let mut line = format!("{:<34}", fault.name);
    for way in WAYS {
        let cell = client::soon(cell(&test_server, &fault, way))
            .await
            .unwrap_or_else(|_late| panic!("{}, {way:?}: no answer", fault.name));
        write!(line, "{cell:<28}").unwrap();
    }
    // Promise 8, and the bill: no request is repeated here.
    let asked = test_server.upstream.requests().len();
    match fault.at {
        At::Patience | At::ShortFirstToken | At::ShortIdle => {
            assert_eq!(asked, WAYS.len(), "{}", fault.name);
        }
        // On a busy machine the timeout may expire before the upstream has read the request.
        At::ShortHeaders => assert!(asked <= WAYS.len(), "{}: {asked}", fault.name),
        At::DeadAddress => assert_eq!(asked, 0, "{}", fault.name),
    }
    test_server.quiet().await;
    test_server.close().await;
    line
}

async fn test_server(at: At) -> TestServer {
    let mut plan = TestServerPlan { timeouts: at.timeouts(), ..TestServerPlan::default() };
    if matches!(at, At::DeadAddress) {
        // A port that was just free, so that nothing listens there.
        let dead = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        plan.more_upstreams.push(upstream_of(
            at.model(),
            format!("http://{dead}/v1"),
            Timeouts::default(),
        ));
    }
    TestServer::open_with(plan).await
}

async fn cell(test_server: &TestServer, fault: &Fault, way: (TestApi, TestFrame)) -> String {
    let what = format!("{}, {way:?}", fault.name);
    let mut response = test_server.send(&question(way, fault.at.model(), &json!({}))).await;
    let is_status = match way {
        (_, TestFrame::Json) => true,
        (_, TestFrame::Ndjson | TestFrame::Sse) => fault.when == Before,
    };
    if is_status {
        assert_eq!(response.status, fault.status, "{what}");
        assert_eq!(response.headers.get("retry-after"), fault.retry_after, "{what}");
        assert_eq!(response.media_type(), "application/json", "{what}");
        let (body, end) = response.collect().await.unwrap();
        assert_eq!(end, BodyEnd::Clean, "{what}");
        check_error(&serde_json::from_slice::<Value>(&body).unwrap()["error"], fault, &what);
        return format!("{} {}", fault.status, short(fault.code));
    }
    assert_eq!(response.status, 200, "{what}");
    let (events, end) = response.events().unwrap().collect().await.unwrap();
    assert_eq!(
        end,
        if way.0 == TestApi::Chat { BodyEnd::Truncated } else { BodyEnd::Clean },
        "{what}"
    );
    let mut data: Vec<String> =
        events.iter().map(|event| String::from_utf8(event.data.to_vec()).unwrap()).collect();
    if (way.1, end) == (TestFrame::Sse, BodyEnd::Clean) {
        assert_eq!(data.pop().as_deref(), Some("[DONE]"), "{what}");
    }
    let said: Vec<Value> = data.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    match way.0 {
        TestApi::Responses => check_events(&said, fault, &what),
        TestApi::Chat => check_chunks(&said, fault, &what),
    }
    format!("  * {}", short(fault.code))
}

fn short(code: &str) -> &str {
    code.strip_prefix("upstream_").unwrap_or(code)
}

fn check_error(error: &Value, fault: &Fault, what: &str) {
    assert_eq!(error["code"], fault.code, "{what}: {error}");
    assert!(
        error["message"].as_str().is_some_and(|message| !message.is_empty()),
        "{what}: {error}"
    );
    assert!(error["type"].is_string(), "{what}: {error}");
    assert!(!error.to_string().contains("sk-of-q8Zv41Tn0bX"), "{what}: {error}");
}

fn check_events(said: &[Value], fault: &Fault, what: &str) {
    let numbers: Vec<_> =
        said.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..said.len() as u64), "{what}: {numbers:?}");
    let [.., error, terminal] = said else { panic!("{what}: {said:?}") };
    assert_eq!(
        (error["type"].as_str(), terminal["type"].as_str()),
        (Some("error"), Some("response.failed")),
        "{what}"
    );
    check_error(&error["error"], fault, what);
    assert_eq!(error["error"]["headers"]["retry-after"].as_str(), fault.retry_after, "{what}");
    let response = &terminal["response"];
    assert_eq!(
        (&response["status"], &response["error"]["code"]),
        (&json!("failed"), &json!(fault.code)),
        "{what}"
    );
    assert_eq!(response["completed_at"], Value::Null, "{what}");
    let ends = said.iter().filter(|event| {
        ["response.completed", "response.failed", "response.incomplete"]
            .contains(&event["type"].as_str().unwrap_or_default())
    });
    assert_eq!(ends.count(), 1, "{what}");
    match fault.when {
        Before => assert_eq!(response["output"], json!([]), "{what}"),
        After => {
            let item = &response["output"][0];
            assert_eq!(
                (&item["status"], &item["content"][0]["text"]),
                (&json!("incomplete"), &json!("Once upon")),
                "{what}"
            );
        }
    }
}

fn check_chunks(said: &[Value], fault: &Fault, what: &str) {
    let [chunks @ .., last] = said else { panic!("{what}: nothing was said") };
    check_error(&last["error"], fault, what);
    assert!(last.get("choices").is_none(), "{what}: {last}");
    assert_eq!(last["error"]["headers"]["retry-after"].as_str(), fault.retry_after, "{what}");
    assert!(
        chunks.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()),
        "{what}: {chunks:?}"
    );
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "Once upon", "{what}");
}
