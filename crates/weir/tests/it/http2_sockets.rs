//! WebSocket over HTTP/2 (RFC 8441): a stream is a socket, next to others on its connection.

use std::time::Duration;

use client::Request;
use client::http2::{Client, End, Socket};
use fakes::Script;
use h2::Reason;
use h2::client::Builder;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::test_server::{MODEL, TestServer, TestServerPlan};

const PATH: &str = "/v1/responses";

async fn open(test_server: &TestServer) -> Client {
    Client::over(TcpStream::connect(test_server.address).await.unwrap()).await.unwrap()
}

fn create(text: &str) -> String {
    json!({ "type": "response.create", "model": MODEL, "input": text }).to_string()
}

/// The messages up to the end of a turn.
async fn turn(socket: &mut Socket) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    while !texts.last().is_some_and(|text| text.starts_with("{\"type\":\"response.completed\"")) {
        texts.push(socket.next_text().await.unwrap());
    }
    texts
}

async fn close(test_server: TestServer, client: Client) {
    // The connection outlives its sockets.
    assert_eq!(client.send(&Request::get("/healthz")).await.unwrap().status(), 200);
    assert_eq!(test_server.connections(), 1);
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_turn_on_a_stream_is_the_log_message_by_message() {
    let test_server = TestServer::open().await;
    let client = open(&test_server).await;
    let mut socket = client.socket(PATH, &[]).await.unwrap();
    for words in [["Hel", "lo"], ["a", "gain"]] {
        test_server.upstream.script(Script::text(&words));
        socket.send_text(&create("hi")).await.unwrap();
        let texts = turn(&mut socket).await;
        let created: Value = serde_json::from_str(&texts[0]).unwrap();
        let id = created["response"]["id"].as_str().unwrap();
        let (log, _) =
            client::send(test_server.address, &Request::get(&format!("{PATH}/{id}?stream=true")))
                .await
                .unwrap()
                .events()
                .unwrap()
                .collect_data()
                .await
                .unwrap();
        assert_eq!(texts.iter().map(String::as_bytes).collect::<Vec<_>>(), log[..log.len() - 1]);
    }
    socket.close(1000, "bye").await.unwrap();
    assert_eq!(socket.next_text().await, Err(End::Closed(Some(1000))));
    assert_eq!(socket.ended().await.unwrap(), Ok(()), "the stream ends in order");
    test_server.wait_connections(1).await;
    close(test_server, client).await;
}

#[tokio::test]
async fn two_sockets_on_one_connection_are_independent() {
    let test_server = TestServer::open().await;
    let client = open(&test_server).await;
    let (mut first, mut second) =
        (client.socket(PATH, &[]).await.unwrap(), client.socket(PATH, &[]).await.unwrap());
    test_server.upstream.script(Script::new().role().content("slow").stall());
    first
        .send_text(
            &json!({ "type": "response.create", "model": MODEL, "input": "hi", "store": false })
                .to_string(),
        )
        .await
        .unwrap();
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    test_server.upstream.script(Script::text(&["fast"]));
    second.send_text(&create("hi")).await.unwrap();
    assert!(turn(&mut second).await.iter().any(|text| text.contains("\"fast\"")));
    // The first leaves with RST_STREAM: its response is cancelled, and the second continues.
    first.reset();
    client::soon(test_server.upstream.wait_closed(0)).await.unwrap();
    test_server.upstream.script(Script::text(&["still"]));
    second.send_text(&create("hi")).await.unwrap();
    assert!(turn(&mut second).await.iter().any(|text| text.contains("\"still\"")));
    // The second leaves by ending its side of the stream.
    second.half_close().unwrap();
    assert!(matches!(second.next_text().await, Err(End::NoClose)));
    close(test_server, client).await;
}

#[tokio::test]
async fn a_violation_is_reported_by_its_close_code() {
    let test_server = TestServer::open().await;
    let client = open(&test_server).await;
    for (bytes, code) in
        [(&b"\x81\x02hi"[..], 1002), (b"\x82\x80\0\0\0\0", 1003), (b"\x81\x81\0\0\0\0\xff", 1007)]
    {
        let mut socket = client.socket(PATH, &[]).await.unwrap();
        socket.send_raw(bytes.into()).await.unwrap();
        assert_eq!(socket.next_text().await, Err(End::Closed(Some(code))));
    }
    close(test_server, client).await;
}

#[tokio::test]
async fn malformed_handshakes_are_rejected() {
    let test_server = TestServer::open().await;
    let client = open(&test_server).await;
    for (path, headers, status) in [
        (PATH, &[("origin", "https://evil.example")][..], 403),
        ("/v1/models", &[], 405),
        ("/nowhere", &[], 404),
    ] {
        let (response, _sending) = client.extended_connect(path, headers).await.unwrap();
        assert_eq!(response.status(), status, "{path} {headers:?}");
    }
    assert_eq!(client.send(&Request::get(PATH)).await.unwrap().status(), 426);
    close(test_server, client).await;
}

#[tokio::test]
async fn a_socket_that_reads_nothing_is_cut_off_and_its_connection_survives() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.write_timeout = Duration::from_millis(300);
    }))
    .await;
    let stream = TcpStream::connect(test_server.address).await.unwrap();
    // The window has room for what is sent before the upstream is asked, and not for its text.
    let client = Client::with(stream, Builder::new().initial_window_size(16_384)).await.unwrap();
    let mut socket = client.socket(PATH, &[]).await.unwrap();
    let script = Script::text(&["a"; 1000]).paced(Duration::from_millis(2));
    test_server.upstream.script(script);
    socket
        .send_text(
            &json!({ "type": "response.create", "model": MODEL, "input": "hi", "store": false })
                .to_string(),
        )
        .await
        .unwrap();
    // An unstored response is cancelled when its reader is gone.
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    client::soon(test_server.upstream.wait_closed(0)).await.unwrap();
    close(test_server, client).await;
}

#[tokio::test]
async fn the_stream_of_a_socket_that_reads_nothing_is_reset() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.write_timeout = Duration::from_millis(300);
    }))
    .await;
    let stream = TcpStream::connect(test_server.address).await.unwrap();
    let client = Client::with(stream, Builder::new().initial_window_size(100)).await.unwrap();
    let mut socket = client.socket(PATH, &[]).await.unwrap();
    let request = json!({ "type": "response.create", "model": "demo", "input": format!("echo {}", "word ".repeat(500)) });
    socket.send_text(&request.to_string()).await.unwrap();
    assert_eq!(socket.wait_reset().await.unwrap(), Some(Reason::CANCEL));
    close(test_server, client).await;
}
