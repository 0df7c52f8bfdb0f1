//! The lens reports exactly what a connection's client has seen, byte by byte, and only to its owner.

mod on_demand;
mod packets;
mod privacy;
mod said;
mod upstream;

use client::{Request, Response};
use fakes::Script;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::test_server::{ADMIN, ALICE, BOB, MODEL, TestServer, TestServerPlan};

const PIECES: [&str; 4] = ["Hello", ", ", "wor\"ld", "\u{4f60}\u{597d}"];

async fn connections(test_server: &TestServer, key: Option<&str>) -> Vec<Value> {
    let request = Request::get("/v1/lens/connections");
    let request = match key {
        Some(key) => request.bearer(key),
        None => request,
    };
    let (status, list) = test_server.json(&request).await;
    assert_eq!(status, 200, "{list}");
    list["data"].as_array().unwrap().clone()
}

/// The connection from this port.
async fn of(test_server: &TestServer, port: u16) -> Value {
    let is_it =
        |connection: &&Value| connection["peer"].as_str().unwrap().ends_with(&format!(":{port}"));
    connections(test_server, None).await.iter().find(is_it).cloned().unwrap()
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn check_sum(bytes: &Value, total: usize) {
    let parts: usize =
        ["tls", "head", "framing", "body"].iter().map(|kind| count(&bytes[kind])).sum();
    assert_eq!((count(&bytes["total"]), parts), (total, total), "{bytes}");
}

/// Sends these bytes on a connection that then closes. Returns the response's bytes and the connection's port.
async fn raw(test_server: &TestServer, request: &str) -> (Vec<u8>, u16) {
    let mut stream = TcpStream::connect(test_server.address).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client::soon(stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    (answer, port)
}

#[tokio::test]
async fn a_streams_bytes_are_those_its_client_received() {
    let test_server = TestServer::open().await;
    for (accept, version) in [
        ("text/event-stream", "1.1"),
        ("application/x-ndjson", "1.1"),
        ("text/event-stream", "1.0"),
    ] {
        test_server.upstream.script(Script::text(&PIECES));
        let body =
            json!({ "model": MODEL, "input": "hi", "stream": true, "store": false }).to_string();
        let head = format!(
            "POST /v1/responses HTTP/{version}\r\nhost: localhost\r\nconnection: close\r\naccept: {accept}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let (answer, port) = raw(&test_server, &format!("{head}{body}")).await;
        test_server.wait_connections(0).await;
        let seen = of(&test_server, port).await;
        check_sum(&seen["received"], head.len() + body.len());
        assert_eq!(
            (count(&seen["received"]["head"]), count(&seen["received"]["body"])),
            (head.len(), body.len())
        );

        check_sum(&seen["sent"], answer.len());
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(count(&seen["sent"]["head"]), end);
        assert_eq!(
            count(&seen["sent"]["framing"]) == 0,
            version == "1.0",
            "only chunks have frames: {seen}"
        );
        let text = String::from_utf8(answer).unwrap();
        let events: Vec<Value> = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("data: ").or(Some(line)).filter(|data| data.starts_with('{'))
            })
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let said = &seen["said"];
        assert_eq!(count(&said["events"]), events.len(), "{accept}: {seen}");
        let spoken: usize =
            PIECES.iter().map(|piece| serde_json::to_string(piece).unwrap().len() - 2).sum();
        assert_eq!(count(&said["text"]), spoken);
        let parts: usize =
            ["framing", "dialect", "text"].iter().map(|kind| count(&said[kind])).sum();
        assert_eq!(parts, count(&seen["sent"]["body"]), "all of the body is told: {seen}");
        let request = &seen["last_requests"][0];
        assert_eq!(
            (&request["path"], &request["version"], &request["status"]),
            (&json!("/v1/responses"), &json!(version), &json!(200))
        );
        assert!(request["ended_ms"].as_f64().unwrap() >= request["answered_ms"].as_f64().unwrap());
        assert_eq!(seen["close"]["by"], "server", "{seen}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn a_kept_connection_counts_its_requests_and_reports_who_closed_it() {
    let test_server = TestServer::open().await;
    let mut stream = TcpStream::connect(test_server.address).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for _ in 0..3 {
        stream.write_all(request).await.unwrap();
        let mut answer = [0; 4096];
        assert!(client::soon(stream.read(&mut answer)).await.unwrap().unwrap() > 0);
    }
    let seen = of(&test_server, port).await;
    assert_eq!(
        (&seen["requests"], &seen["protocol"], &seen["close"]),
        (&json!(3), &json!("http1"), &Value::Null)
    );
    assert_eq!(count(&seen["received"]["head"]), 3 * request.len());
    if cfg!(target_os = "linux") {
        assert!(count(&seen["tcp"]["data_segments_received"]) >= 3, "{seen}");
    }
    drop(stream);
    let closed = async {
        loop {
            let seen = of(&test_server, port).await;
            if seen["close"].is_object() {
                return seen;
            }
        }
    };
    assert_eq!(client::soon(closed).await.unwrap()["close"]["by"], "client");
    test_server.close().await;
}

#[tokio::test]
async fn callers_do_not_see_each_others_connections() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let ask = |key: &str| {
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" })).bearer(key)
    };
    for key in [ALICE, BOB] {
        let response: Response = test_server.send(&ask(key)).await;
        assert_eq!(response.status, 200);
    }
    let posts = |list: &[Value]| {
        let requests = list
            .iter()
            .flat_map(|connection| connection["last_requests"].as_array().unwrap().clone());
        requests.filter(|request| request["method"] == "POST").count()
    };
    assert_eq!(posts(&connections(&test_server, Some(ALICE)).await), 1);
    assert_eq!(posts(&connections(&test_server, Some(BOB)).await), 1);
    assert_eq!(posts(&connections(&test_server, Some(ADMIN)).await), 2);
    let stranger = test_server.send(&Request::get("/v1/lens/connections")).await;
    assert_eq!(stranger.status, 401);
    test_server.close().await;
}

#[tokio::test]
async fn bytes_are_attributed_to_each_request_of_a_kept_connection() {
    let test_server = TestServer::open().await;
    let mut stream = TcpStream::connect(test_server.address).await.unwrap();
    let mut sizes = Vec::new();
    for lane in ["one", "none", "two"] {
        test_server.upstream.script(Script::text(&PIECES));
        let body = json!({ "model": MODEL, "input": "hi", "store": false }).to_string();
        // In between, the list is fetched as by the page.
        let request = match lane {
            "none" => "GET /v1/lens/connections HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
            _ => format!(
                "POST /v1/responses?lane={lane} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        sizes.push(read_answer(&mut stream).await);
    }
    let seen = of(&test_server, stream.local_addr().unwrap().port()).await;
    let [one, two] = [0, 1].map(|index| &seen["last_requests"][index]);
    for (request, size) in [(one, sizes[0]), (two, sizes[2])] {
        check_sum(&request["sent"], size);
        let parts: usize =
            ["framing", "dialect", "text"].iter().map(|kind| count(&request["said"][kind])).sum();
        assert_eq!(parts, count(&request["sent"]["body"]), "{request}");
    }
    assert_eq!(
        (&one["lane"], &two["lane"], &seen["last_requests"][2]),
        (&json!("one"), &json!("two"), &Value::Null)
    );
    assert_eq!(
        (&seen["requests"], count(&seen["sent"]["total"])),
        (&json!(3), sizes.iter().sum()),
        "it counts all the same"
    );
    drop(stream);
    test_server.close().await;
}

/// Reads a response with a length. Returns its size, headers included.
async fn read_answer(stream: &mut TcpStream) -> usize {
    let mut answer = Vec::new();
    loop {
        assert!(client::soon(stream.read_buf(&mut answer)).await.unwrap().unwrap() > 0);
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap()
            .parse()
            .unwrap();
        if answer.len() == end + 4 + length {
            return answer.len();
        }
    }
}
