//! HTTP/1.0 and 1.1 by hand: how responses end, which requests are malformed, and the order of responses.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use client::{BodyEnd, Connection, Request};
use engine::testing::failing::FailingLog;
use fakes::Script;
use serde_json::{Value, json};

use crate::test_server::{MODEL, TestServer, TestServerPlan, ask};

/// Sends `bytes` on a new connection and reads until it ends.
async fn say(test_server: &TestServer, bytes: &[u8]) -> (String, Option<ErrorKind>) {
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write_raw(bytes).await.unwrap();
    rest(&mut connection).await
}

/// What arrives until the connection ends, and its error, if any.
async fn rest(connection: &mut Connection) -> (String, Option<ErrorKind>) {
    let mut all = Vec::new();
    loop {
        match client::soon(connection.read_raw()).await.unwrap() {
            Ok(bytes) if bytes.is_empty() => return (String::from_utf8(all).unwrap(), None),
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(error) => return (String::from_utf8(all).unwrap(), Some(error.kind())),
        }
    }
}

/// An HTTP/1.0 request.
fn old(request: &Request) -> Vec<u8> {
    String::from_utf8(request.encode("localhost"))
        .unwrap()
        .replacen("HTTP/1.1", "HTTP/1.0", 1)
        .into_bytes()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    head.lines().find_map(|line| {
        line.split_once(": ")
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

#[tokio::test]
async fn http_1_0_ends_by_closing() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["Hel", "lo"]));
    let (text, cut) = say(&test_server, &old(&Request::post("/v1/responses", &ask("hi")))).await;
    assert!(text.ends_with("data: [DONE]\n\n") && cut.is_none(), "{cut:?} {text}");
    assert_eq!((header(&text, "transfer-encoding"), header(&text, "content-length")), (None, None));
    // Without `Host`, like old clients.
    let (text, cut) = say(&test_server, b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(text.ends_with(r#"{"status":"ok"}"#) && cut.is_none(), "{cut:?} {text}");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_malformed_head_in_the_same_write_as_a_good_request_gets_a_response_with_a_body() {
    let test_server = TestServer::open().await;
    let (text, cut) =
        say(&test_server, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGARBAGE\r\n\r\n").await;
    let (first, second) = text.split_once(r#"{"status":"ok"}"#).unwrap();
    assert!(
        first.starts_with("HTTP/1.1 200 OK\r\n")
            && second.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{text}"
    );
    let (_, body) = second.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((body["error"]["code"].as_str(), cut), (Some("malformed_request"), None), "{text}");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn http_1_0_keeps_a_connection_alive_on_request() {
    let test_server = TestServer::open().await;
    let keep = old(&Request::get("/healthz").header("connection", "keep-alive"));
    let last = old(&Request::get("/healthz"));
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write_raw(&keep).await.unwrap();
    let mut first = String::new();
    while !first.ends_with(r#"{"status":"ok"}"#) {
        first.push_str(
            std::str::from_utf8(&client::soon(connection.read_raw()).await.unwrap().unwrap())
                .unwrap(),
        );
    }
    assert_eq!(
        (header(&first, "connection"), header(&first, "content-length")),
        (Some("keep-alive"), Some("15")),
        "{first}"
    );
    connection.write_raw(&last).await.unwrap();
    let (second, cut) = rest(&mut connection).await;
    assert!(second.ends_with(r#"{"status":"ok"}"#) && cut.is_none(), "{cut:?} {second}");

    // A response without a length closes the connection in any case.
    test_server.upstream.script(Script::text(&["Hel", "lo"]));
    let stream = Request::post("/v1/responses", &ask("hi")).header("connection", "keep-alive");
    let (text, cut) = say(&test_server, &old(&stream)).await;
    assert!(
        text.ends_with("data: [DONE]\n\n")
            && cut.is_none()
            && header(&text, "connection") != Some("keep-alive"),
        "{cut:?} {text}"
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_broken_response_over_http_1_0_resets_the_connection() {
    let log = Arc::new(FailingLog::new());
    let test_server = TestServer::open_with(TestServerPlan {
        log: Some(log.clone()),
        ..TestServerPlan::default()
    })
    .await;
    test_server
        .upstream
        .script(Script::text(&["Hel", "lo", " again"]).paced(Duration::from_millis(20)));
    log.break_after(2);
    let (text, cut) = say(&test_server, &old(&Request::post("/v1/responses", &ask("hi")))).await;
    assert!(text.contains("response.created") && !text.contains("[DONE]"), "{text}");
    assert_eq!(
        cut,
        Some(ErrorKind::ConnectionReset),
        "nothing but a reset tells a part from the whole"
    );
    log.repair();
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_broken_response_over_http_1_1_has_no_last_chunk() {
    let log = Arc::new(FailingLog::new());
    let test_server = TestServer::open_with(TestServerPlan {
        log: Some(log.clone()),
        ..TestServerPlan::default()
    })
    .await;
    test_server
        .upstream
        .script(Script::text(&["Hel", "lo", " again"]).paced(Duration::from_millis(20)));
    log.break_after(2);
    let (_, end) = test_server
        .stream(&Request::post("/v1/responses", &ask("hi")))
        .await
        .collect()
        .await
        .unwrap();
    assert_eq!(end, BodyEnd::Truncated);
    log.repair();
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn host_is_required_once() {
    let test_server = TestServer::open().await;
    for (heads, expected) in [
        ("", 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400),
        ("Host: localhost\r\nHost: evil.example\r\n", 400),
        ("Host: evil.example\r\n", 421),
        ("Host: localhost\r\n", 200),
    ] {
        let (text, _) = say(
            &test_server,
            format!("GET /healthz HTTP/1.1\r\n{heads}connection: close\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(text.starts_with(&format!("HTTP/1.1 {expected} ")), "{heads:?}: {text}");
        assert_eq!(text.contains("\"error\""), expected != 200, "{text}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn a_body_may_wait_for_100_continue() {
    let test_server = TestServer::open().await;
    let body = json!({ "model": "demo", "input": "hi" }).to_string();
    let head = |length: usize| {
        format!(
            "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
        )
    };
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write_raw(head(body.len()).as_bytes()).await.unwrap();
    let leave = client::soon(connection.read_raw()).await.unwrap().unwrap();
    assert_eq!(&*leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_raw(body.as_bytes()).await.unwrap();
    let (answer, cut) = rest(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && cut.is_none(), "{cut:?} {answer}");
    // A client whose request is rejected need not send the body.
    let (refused, _) = say(&test_server, head(1 << 30).as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(tokio::sync::Notify::new());
    test_server
        .upstream
        .script(Script::new().role().content("slow").wait_for(&gate).finish("stop").done());
    let mut all = Vec::new();
    all.extend(Request::post("/v1/responses", &ask("hi")).encode("localhost"));
    all.extend(
        Request::post(
            "/v1/responses",
            &json!({ "model": "demo", "input": "echo fast", "stream": false }),
        )
        .encode("localhost"),
    );
    all.extend(Request::get("/v1/models").encode("localhost"));
    all.extend(Request::get("/healthz").header("connection", "close").encode("localhost"));
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write_raw(&all).await.unwrap();
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    gate.notify_one();
    let (text, cut) = rest(&mut connection).await;
    let places: Vec<_> = ["slow", "[DONE]", "fast", MODEL, r#"{"status":"ok"}"#]
        .iter()
        .filter_map(|word| text.rfind(word))
        .collect();
    assert!(places.len() == 5 && places.is_sorted() && cut.is_none(), "{places:?} {cut:?} {text}");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn head_responds_like_get_without_a_body() {
    let test_server = TestServer::open().await;
    let (_, made) =
        test_server.post("/v1/responses", &json!({ "model": "demo", "input": "hi" })).await;
    let id = made["id"].as_str().unwrap();
    for path in
        ["/healthz", "/v1/models", "/", "/openapi.json", &format!("/v1/responses/{id}"), "/nowhere"]
    {
        let mut got = test_server.send(&Request::get(path)).await;
        let (body, _) = got.collect().await.unwrap();
        let head = old(&Request::new("HEAD", path));
        let (text, cut) = say(&test_server, &head).await;
        assert!(text.ends_with("\r\n\r\n") && cut.is_none(), "{path}: {text}");
        assert_eq!(
            header(&text, "content-length"),
            Some(body.len().to_string().as_str()),
            "{path}"
        );
        assert_eq!(header(&text, "content-type"), got.headers.get("content-type"), "{path}");
        assert_eq!(text.split(' ').nth(1), Some(got.status.to_string().as_str()), "{path}");
    }
    // A stream has no length, and HEAD starts no response.
    let (text, _) =
        say(&test_server, &old(&Request::new("HEAD", &format!("/v1/responses/{id}?stream=true"))))
            .await;
    assert!(
        text.ends_with("\r\n\r\n")
            && header(&text, "content-type") == Some("text/event-stream; charset=utf-8"),
        "{text}"
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn options_lists_the_allowed_methods() {
    let test_server = TestServer::open().await;
    for (path, expected) in [
        ("/v1/responses", vec!["CONNECT", "GET", "HEAD", "POST"]),
        ("/v1/responses/resp_1", vec!["DELETE", "GET", "HEAD"]),
        ("/v1/models", vec!["GET", "HEAD"]),
        ("/", vec!["GET", "HEAD"]),
    ] {
        let response = test_server.send(&Request::new("OPTIONS", path)).await;
        let mut allowed: Vec<_> =
            response.headers.get("allow").unwrap_or_default().split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!((response.status, allowed), (204, expected), "{path}");
    }
    assert_eq!(test_server.send(&Request::new("OPTIONS", "*")).await.status, 204);
    assert_eq!(test_server.send(&Request::new("OPTIONS", "/nowhere")).await.status, 404);
    let wrong = test_server.send(&Request::new("PUT", "/v1/responses")).await;
    assert_eq!((wrong.status, wrong.headers.get("allow")), (405, Some("POST,GET,HEAD,CONNECT")));
    test_server.close().await;
}

#[tokio::test]
async fn assets_are_compressed_and_revalidated() {
    let test_server = TestServer::open().await;
    let plain = test_server.send(&Request::get("/")).await;
    assert_eq!(
        (plain.headers.get("content-encoding"), plain.headers.get("vary")),
        (None, Some("accept-encoding"))
    );
    let tag = plain.headers.get("etag").unwrap().to_owned();
    let packed =
        test_server.send(&Request::get("/").header("accept-encoding", "br;q=1, gzip;q=0.5")).await;
    assert_eq!(
        (packed.headers.get("content-encoding"), packed.headers.get("vary")),
        (Some("gzip"), Some("accept-encoding"))
    );
    let packed_tag = packed.headers.get("etag").unwrap().to_owned();
    assert_ne!(packed_tag, tag, "two representations have two strong tags");
    let length = |response: &client::Response| {
        response.headers.get("content-length").unwrap().parse::<usize>().unwrap()
    };
    assert!(length(&packed) < length(&plain));
    for refused in ["gzip;q=0", "identity", "br", "*;q=0"] {
        assert_eq!(
            test_server
                .send(&Request::get("/").header("accept-encoding", refused))
                .await
                .headers
                .get("content-encoding"),
            None,
            "{refused}"
        );
    }
    for (given, encoding, expected) in [
        (tag.clone(), "identity", 304),
        (format!("W/{tag}"), "identity", 304),
        (format!("\"other\", W/{tag} ,\"more\""), "identity", 304),
        ("*".to_owned(), "identity", 304),
        (packed_tag, "gzip", 304),
        ("\"other\"".to_owned(), "identity", 200),
        (tag.trim_matches('"').to_owned(), "identity", 200),
    ] {
        let response = test_server
            .send(
                &Request::get("/")
                    .header("if-none-match", &given)
                    .header("accept-encoding", encoding),
            )
            .await;
        assert_eq!(response.status, expected, "{given}");
        assert!(
            response.headers.get("etag").is_some()
                && response.headers.get("cache-control").is_some()
        );
    }
    // A stream is never compressed: each event must arrive at once.
    test_server.upstream.script(Script::text(&["Hel", "lo"]));
    let stream = test_server
        .send(&Request::post("/v1/responses", &ask("hi")).header("accept-encoding", "gzip"))
        .await;
    assert_eq!(stream.headers.get("content-encoding"), None);
    drop(stream);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn malformed_requests_get_a_json_error() {
    let test_server = TestServer::open().await;
    let (text, _) = say(&test_server, b"what is this\r\n\r\n").await;
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 400 ") && body["error"]["code"] == "malformed_request",
        "{text}"
    );
    // TLS on a port without it.
    let (text, _) =
        say(&test_server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    test_server.close().await;
}
