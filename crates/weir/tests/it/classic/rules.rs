//! Order and pairing, framing, errors: the contents and timing of a stream.

use std::sync::Arc;
use std::time::Duration;

use client::{BodyEnd, Connection, Request};
use fakes::Script;
use serde_json::json;
use tokio::sync::Notify;

use super::{UID, ask, chat, converse, create_sse, open, plan, told};
use crate::test_server::{TestServer, TestServerPlan};

#[test]
fn c1_the_port_is_the_one_in_the_pages() {
    assert_eq!(server::Config::default().listen.port(), 8000);
}

#[tokio::test]
async fn c2_c6_a_stream_is_the_sample_byte_by_byte() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["你", "好"]));
    // The first block arrives before any question.
    let mut stream = open(&test_server, UID).await;
    let (status, answer) = test_server.json(&chat(UID, "hello")).await;
    assert_eq!((status, answer), (200, json!({ "question_tokens": 9 })));
    let (body, end) = client::soon(stream.collect()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean, "the response ends after [DONE]");
    let body = String::from_utf8(body).unwrap();
    let id = body.strip_prefix("id:").unwrap().split('\n').next().unwrap();
    assert!(id.starts_with("chatcmpl-"), "{id}");
    let expected = "id:chatcmpl-abc\n\
        data:{\"role\":\"assistant\"}\n\
        retry:3000\n\
        \n\
        id:chatcmpl-abc\n\
        data:{\"content\":\"你\"}\n\
        retry:3000\n\
        \n\
        id:chatcmpl-abc\n\
        data:{\"content\":\"好\"}\n\
        retry:3000\n\
        \n\
        id:chatcmpl-abc\n\
        data:{}\n\
        retry:3000\n\
        \n\
        id:[TOKENS]\n\
        data:<br/><br/>tokens：2\n\
        retry:3000\n\
        \n\
        id:[DONE]\n\
        data:[DONE]\n\
        retry:3000\n\
        \n";
    assert_eq!(body.replace(id, "chatcmpl-abc"), expected);
    // The connection remains usable.
    stream.into_connection().await.unwrap().send(&Request::get("/healthz")).await.unwrap();
    test_server.close().await;
}

#[tokio::test]
async fn c3_b6_a_question_may_come_before_its_stream() {
    let test_server = TestServer::open().await;
    // The first question loads the vocabulary; the next one waits for its stream only.
    converse(&test_server, "another", "hello").await;
    test_server.upstream.script(Script::text(&["Hi"]));
    let mut asking = Connection::open(test_server.address).await.unwrap();
    asking.write(&chat(UID, "hello")).await.unwrap();
    for _ in 0..20 {
        assert_eq!(test_server.get("/healthz").await.0, 200);
    }
    let stream = open(&test_server, UID).await.events().unwrap();
    let response = client::soon(asking.read_response(&chat(UID, "hello"))).await.unwrap().unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(told(stream).await, "Hi");
    drop(response);
    test_server.close().await;
}

#[tokio::test]
async fn c3_a_question_without_a_stream_is_rejected_by_name() {
    let test_server =
        TestServer::open_with(plan(|classic| classic.patience = Duration::from_millis(20))).await;
    let (status, answer) = test_server.json(&chat(UID, "hello")).await;
    assert_eq!(
        (status, &answer["error"]["code"], &answer["error"]["param"]),
        (409, &json!("no_stream"), &json!("uid"))
    );
    assert_eq!(test_server.upstream.requests().len(), 0, "and nothing was spent");
    test_server.close().await;
}

#[tokio::test]
async fn c4_the_response_waits_until_its_post_was_answered() {
    let grace = Duration::from_secs(1);
    let test_server = TestServer::open_with(plan(|classic| classic.grace = grace)).await;
    let mut stream = open(&test_server, UID).await.events().unwrap();
    let (status, _) = test_server.json(&chat(UID, "hello")).await;
    let told = client::now();
    assert_eq!(status, 200);
    // The upstream is done: the stream waits only for the page.
    test_server.quiet().await;
    let first = client::soon(stream.next()).await.unwrap().unwrap().unwrap();
    assert!(
        first.arrived.duration_since(told) > grace / 2,
        "{:?}",
        first.arrived.duration_since(told)
    );
    drop(stream);
    test_server.close().await;
}

#[tokio::test]
async fn c7_b7_an_upstreams_error_is_a_text_on_the_page_at_once() {
    let test_server = TestServer::open().await;
    test_server
        .upstream
        .script(Script::error(401, &json!({ "error": { "message": "<b>bad</b> key", "type": "auth", "code": "invalid_api_key" } })));
    let (_tokens, mut stream) = ask(&test_server, UID, "hello").await;
    let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let names: Vec<_> = events.iter().map(|event| event.name.as_deref()).collect();
    assert_eq!(
        names,
        [None, Some("fault"), None, None, None],
        "c9: a name of the browser's own would fire its handler"
    );
    let fault = events[1].json().unwrap();
    assert!(fault["code"].is_string() && fault["message"].is_string(), "{fault}");
    let text = events[2].json().unwrap()["content"].as_str().unwrap().to_owned();
    assert!(!text.is_empty() && !text.contains('<'), "b17: {text}");
    assert_eq!(&*events[3].data, "<br/><br/>tokens：0".as_bytes());
    assert_eq!(&*events[4].data, b"[DONE]");
    test_server.close().await;
}

#[tokio::test]
async fn c7_a_truncated_response_says_so_after_its_text() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::new().role().content("half").rst());
    let text = converse(&test_server, UID, "hello").await;
    assert!(text.starts_with("half\n\n") && text.len() > "half\n\n".len(), "{text}");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn c7_the_stream_of_a_failed_question_ends_at_once_without_an_end_event() {
    let test_server =
        TestServer::open_with(plan(|classic| classic.patience = Duration::from_secs(60))).await;
    for is_late in [false, true] {
        let before = if is_late { None } else { Some(open(&test_server, UID).await) };
        let (status, answer) = test_server.json(&chat(UID, " ")).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!("msg")));
        let mut stream = match before {
            Some(stream) => stream,
            None => open(&test_server, UID).await,
        };
        let (rest, end) = client::soon(stream.collect()).await.unwrap().unwrap();
        assert_eq!((rest.as_slice(), end), (b"".as_slice(), BodyEnd::Clean), "late: {is_late}");
    }
    assert_eq!(
        converse(&test_server, UID, "hello").await,
        "Hello, world!",
        "the next question is not its heir"
    );
    test_server.close().await;
}

#[tokio::test]
async fn rejected_questions_name_what_is_wrong() {
    let test_server =
        TestServer::open_with(plan(|classic| classic.patience = Duration::from_millis(1))).await;
    let post = |kind: &str, body: &str| {
        Request::new("POST", "/chat").header("uid", UID).header("content-type", kind).body(body)
    };
    for (request, status, param) in [
        (
            Request::new("POST", "/chat")
                .header("content-type", "application/json")
                .body("{\"msg\":\"hi\"}"),
            400,
            json!("uid"),
        ),
        (chat(" ", "hi"), 400, json!("uid")),
        (chat("a b", "hi"), 400, json!("uid")),
        (post("application/json", "{\"msg\":7}"), 400, json!("msg")),
        (post("application/json", "hello"), 400, json!(null)),
        (post("application/x-www-form-urlencoded", "msg=hello"), 415, json!("Content-Type")),
        (Request::get("/createSse"), 400, json!("uid")),
        (Request::get("/chat"), 400, json!("message")),
        (Request::get("/closeSse"), 400, json!("uid")),
    ] {
        let (found, answer) = test_server.json(&request).await;
        assert_eq!((found, &answer["error"]["param"]), (status, &param), "{request:?}: {answer}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn c8_b13_an_open_stream_sends_heartbeats_and_disables_buffering() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.heartbeat = Duration::from_millis(20);
    }))
    .await;
    let mut stream = open(&test_server, UID).await;
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(stream.headers.get(name), Some(value));
    }
    for _ in 0..3 {
        assert_eq!(
            client::soon(stream.chunk()).await.unwrap().unwrap().as_deref(),
            Some(b": ping\n".as_slice())
        );
    }
    drop(stream);
    test_server.close().await;
}

#[tokio::test]
async fn b13_an_event_is_one_write() {
    let test_server = TestServer::open().await;
    let gates = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    test_server.upstream.script(
        Script::new()
            .role()
            .wait_for(&gates[0])
            .content("a")
            .wait_for(&gates[1])
            .content("b")
            .stall(),
    );
    let mut stream = open(&test_server, UID).await;
    assert_eq!(test_server.json(&chat(UID, "hello")).await.0, 200);
    for (gate, data) in [None, Some(&gates[0]), Some(&gates[1])].into_iter().zip([
        "{\"role\":\"assistant\"}",
        "{\"content\":\"a\"}",
        "{\"content\":\"b\"}",
    ]) {
        gate.inspect(|gate| gate.notify_one());
        let mut raw = Vec::new();
        while !raw.ends_with(b"\n\n\r\n") {
            raw.extend_from_slice(
                &client::soon(stream.connection().read_raw()).await.unwrap().unwrap(),
            );
        }
        let raw = String::from_utf8(raw).unwrap();
        // The end of the previous chunk may precede it.
        let (length, event) = raw.trim_start_matches("\r\n").split_once("\r\n").unwrap();
        let event = event.strip_suffix("\r\n").unwrap();
        assert_eq!(
            usize::from_str_radix(length, 16),
            Ok(event.len()),
            "one chunk, and so one write: {raw}"
        );
        assert!(
            event.starts_with("id:chatcmpl-")
                && event.ends_with(&format!("\ndata:{data}\nretry:3000\n\n")),
            "{event}"
        );
    }
    drop(stream);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn c12_b5_two_tabs_of_one_uid_each_get_their_own_response() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new()
            .role()
            .content("slow")
            .wait_for(&gate)
            .finish("stop")
            .usage(1, 1, 0)
            .done()
            .end(),
    );
    let (_tokens, slow) = ask(&test_server, UID, "first").await;
    test_server.upstream.wait_requests(1).await;
    test_server.upstream.script(Script::text(&["fast"]));
    let (_tokens, fast) = ask(&test_server, UID, "second").await;
    assert_eq!(told(fast).await, "fast", "a running answer is nobody's idle stream");
    test_server.upstream.script(Script::text(&["third"]));
    assert_eq!(
        converse(&test_server, UID, "third").await,
        "third",
        "and the end of one stream takes no other away"
    );
    gate.notify_one();
    assert_eq!(told(slow).await, "slow");
    test_server.close().await;
}

#[tokio::test]
async fn b8_more_than_five_responses_run_at_once() {
    let test_server = TestServer::open().await;
    let gates: Vec<_> = (0..8).map(|_| Arc::new(Notify::new())).collect();
    let mut streams = Vec::new();
    for (index, gate) in gates.iter().enumerate() {
        test_server.upstream.script(
            Script::new()
                .role()
                .wait_for(gate)
                .content("x")
                .finish("stop")
                .usage(1, 1, 0)
                .done()
                .end(),
        );
        streams.push(ask(&test_server, &format!("uid-{index}"), "hello").await.1);
        client::soon(test_server.upstream.wait_requests(index + 1)).await.unwrap();
    }
    for gate in &gates {
        gate.notify_one();
    }
    for stream in streams {
        assert_eq!(told(stream).await, "x");
    }
    test_server.close().await;
}

#[tokio::test]
async fn b9_upstream_events_without_text_are_tolerated() {
    let test_server = TestServer::open().await;
    let odd = json!({ "id": "x", "choices": [], "prompt_filter_results": [{}], "system_fingerprint": "fp", "news": { "of": [2026] } });
    test_server.upstream.script(
        Script::new().event(odd).role().content("Hi").finish("stop").usage(1, 1, 0).done().end(),
    );
    assert_eq!(converse(&test_server, UID, "hello").await, "Hi");
    test_server.close().await;
}

#[tokio::test]
async fn b11_token_counts_are_the_models_and_those_of_the_question_its_whole_context() {
    let test_server = TestServer::open().await;
    // The second time the first question and its response, of 6 tokens each, are read too.
    for expected in [9, 21] {
        test_server.upstream.script(Script::text(&["a", "b", "c"]));
        let (tokens, mut stream) = ask(&test_server, UID, "hello").await;
        assert_eq!(tokens, expected);
        let (events, _) = client::soon(stream.collect()).await.unwrap().unwrap();
        let tokens: Vec<_> =
            events.iter().filter(|event| event.id.as_deref() == Some(b"[TOKENS]")).collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!(&*tokens[0].data, "<br/><br/>tokens：3".as_bytes());
    }
    test_server.close().await;
}

#[tokio::test]
async fn b12_close_sse_confirms_that_it_closed() {
    let test_server = TestServer::open().await;
    let close = Request::get("/closeSse").header("uid", UID);
    assert_eq!(test_server.json(&close).await.0, 200, "also where there is nothing to close");
    let mut idle = open(&test_server, UID).await;
    assert_eq!(test_server.json(&close).await.0, 200);
    assert_eq!(client::soon(idle.end()).await.unwrap().unwrap(), BodyEnd::Clean);
    test_server.close().await;
}

#[tokio::test]
async fn b14_a_response_can_be_resumed_with_the_responses_api() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["Hel", "lo"]));
    let stream = open(&test_server, UID).await.events().unwrap();
    let response = test_server.send(&chat(UID, "hello")).await;
    let id = response.headers.get("weir-response-id").unwrap().to_owned();
    assert_eq!(told(stream).await, "Hello");
    let mut resumed = test_server
        .stream(&Request::get(&format!("/v1/responses/{id}/events?lastEventId=4")))
        .await;
    let first = client::soon(resumed.next()).await.unwrap().unwrap().unwrap().json().unwrap();
    assert_eq!((&first["sequence_number"], &first["delta"]), (&json!(5), &json!("lo")));
    drop((resumed, response));
    test_server.close().await;
}

#[tokio::test]
async fn b18_no_limit_or_temperature_is_sent() {
    let test_server = TestServer::open().await;
    assert_eq!(converse(&test_server, UID, "hello").await, "Hello, world!");
    let body = test_server.upstream.requests()[0].body.clone();
    for name in [
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
    ] {
        assert!(body.get(name).is_none_or(serde_json::Value::is_null), "{name}: {body}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn nothing_of_it_is_served_when_disabled() {
    let test_server = TestServer::open_with(plan(|classic| classic.enabled = false)).await;
    for request in [
        create_sse(UID),
        chat(UID, "hello"),
        Request::get("/chat?message=hi"),
        Request::get("/closeSse"),
        Request::get("/websocket/a"),
    ] {
        assert_eq!(test_server.json(&request).await.0, 404, "{request:?}");
    }
    test_server.close().await;
}
