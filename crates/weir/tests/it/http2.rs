//! HTTP/2 in clear text: what arrives, what is reset, what is rejected, and how connections end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::testing::failing::FailingLog;
use fakes::Script;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::test_server::{MODEL, TestServer, TestServerPlan, ask, demo};

/// A client on a new connection, which ends with it.
pub(crate) struct Http2Client {
    send: SendRequest<Bytes>,
    ended: tokio::sync::oneshot::Receiver<Result<(), h2::Error>>,
    _task: client::Task,
}

impl Http2Client {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), &Builder::new()).await
    }

    pub(crate) async fn over(
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        builder: &Builder,
    ) -> Self {
        let (send, connection) = builder.handshake(stream).await.unwrap();
        let (tell, ended) = tokio::sync::oneshot::channel();
        let task = client::spawn(async move { drop(tell.send(connection.await)) });
        Self { send, ended, _task: task }
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<RecvStream>, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1{path}"))
            .header("content-type", "application/json");
        let (response, mut sending) =
            send.send_request(request.body(()).unwrap(), body.is_none())?;
        if let Some(body) = body {
            sending.send_data(body.to_string().into(), true)?;
        }
        client::soon(response).await.unwrap()
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Response<RecvStream> {
        self.send(Method::POST, path, Some(body)).await.unwrap()
    }

    /// Resolves when the connection has ended.
    pub(crate) async fn ended(self) -> Result<(), h2::Error> {
        client::soon(self.ended).await.unwrap().unwrap()
    }
}

/// The body and how it ended.
pub(crate) async fn collect(response: Response<RecvStream>) -> (String, Option<Reason>) {
    let mut body = response.into_body();
    let mut text = Vec::new();
    loop {
        match client::soon(body.data()).await.unwrap() {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                text.extend_from_slice(&data);
            }
            Some(Err(error)) => return (String::from_utf8(text).unwrap(), error.reason()),
            None => return (String::from_utf8(text).unwrap(), None),
        }
    }
}

#[tokio::test]
async fn many_responses_share_a_connection() {
    let test_server = TestServer::open().await;
    let mut client = Http2Client::open(test_server.address).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        test_server.upstream.script(Script::text(&["Hel", "lo"]));
        answers.push(client.post("/v1/responses", &ask("hi")).await);
    }
    for answer in answers {
        assert_eq!(answer.status(), 200);
        for forbidden in ["connection", "transfer-encoding", "keep-alive", "content-length"] {
            assert!(!answer.headers().contains_key(forbidden), "{:?}", answer.headers());
        }
        let (text, end) = collect(answer).await;
        assert!(text.ends_with("data: [DONE]\n\n") && end.is_none(), "{end:?}: {text}");
    }
    let whole = client.post("/v1/responses", &json!({ "model": "demo", "input": "hi" })).await;
    let length: usize = whole.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(collect(whole).await.0.len(), length);
    assert_eq!(test_server.connections.open(), 1);
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_response_larger_than_every_window_arrives_completely() {
    let test_server = TestServer::open().await;
    let mut client = Http2Client::open(test_server.address).await;
    let text = "字 and more of it. ".repeat(1_500);
    let answer = client.post("/v1/responses", &demo(&format!("echo {text}"))).await;
    let (stream, end) = collect(answer).await;
    assert!(
        stream.len() > 200_000 && stream.ends_with("data: [DONE]\n\n") && end.is_none(),
        "{} {end:?}",
        stream.len()
    );
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_broken_response_resets_its_stream_only() {
    let log = Arc::new(FailingLog::new());
    let test_server = TestServer::open_with(TestServerPlan {
        log: Some(log.clone()),
        ..TestServerPlan::default()
    })
    .await;
    let mut client = Http2Client::open(test_server.address).await;
    test_server
        .upstream
        .script(Script::text(&["Hel", "lo", " again"]).paced(Duration::from_millis(20)));
    log.break_after(2);
    let (text, end) = collect(client.post("/v1/responses", &ask("hi")).await).await;
    assert!(text.contains("response.created") && !text.contains("[DONE]"), "{text}");
    assert_eq!(end, Some(Reason::INTERNAL_ERROR), "a part must not end like a whole");
    log.repair();
    assert_eq!(client.send(Method::GET, "/healthz", None).await.unwrap().status(), 200);
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_stream_with_a_closed_window_is_reset_and_its_connection_survives() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.write_timeout = Duration::from_millis(300);
    }))
    .await;
    let stream = TcpStream::connect(test_server.address).await.unwrap();
    let mut client = Http2Client::over(stream, Builder::new().initial_window_size(0)).await;
    let mut body = client.post("/v1/responses", &demo("hi")).await.into_body();
    let cut = client::soon(body.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(cut.reason(), Some(Reason::CANCEL));
    assert_eq!(client.send(Method::HEAD, "/healthz", None).await.unwrap().status(), 200);
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_slow_reader_is_not_cut_off() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.write_timeout = Duration::from_millis(500);
    }))
    .await;
    let stream = TcpStream::connect(test_server.address).await.unwrap();
    let mut client = Http2Client::over(stream, Builder::new().initial_window_size(1024)).await;
    let mut body = client
        .post("/v1/responses", &demo(&format!("echo {}", "word ".repeat(300))))
        .await
        .into_body();
    let begun = client::now();
    let mut length = 0;
    while let Some(data) = client::soon(body.data()).await.unwrap() {
        length += data.unwrap().len();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let taken = body.flow_control().used_capacity();
        body.flow_control().release_capacity(taken).unwrap();
    }
    assert!(begun.elapsed() > Duration::from_millis(500), "{length} bytes were too few to tell");
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_reader_waiting_for_the_model_is_not_cut_off() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.write_timeout = Duration::from_millis(200);
    }))
    .await;
    let mut client = Http2Client::open(test_server.address).await;
    test_server.upstream.script(Script::text(&["Hel", "lo"]).paced(Duration::from_millis(300)));
    let (text, end) = collect(client.post("/v1/responses", &ask("hi")).await).await;
    assert!(text.ends_with("data: [DONE]\n\n") && end.is_none(), "{end:?}: {text}");
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_reset_stream_counts_as_a_reader_leaving() {
    let test_server = TestServer::open().await;
    let mut client = Http2Client::open(test_server.address).await;
    for stream in [true, false] {
        test_server.upstream.script(Script::text(&["Hel", "lo"]).first(2).stall());
        let body = json!({ "model": MODEL, "input": "hi", "stream": stream, "store": false });
        let request = test_server.upstream.requests().len();
        if stream {
            drop(client.post("/v1/responses", &body).await);
        } else {
            let waiting = tokio::time::timeout(
                Duration::from_millis(200),
                client.post("/v1/responses", &body),
            )
            .await;
            assert!(waiting.is_err(), "an answer that stalls was answered");
        }
        client::soon(test_server.upstream.wait_closed(request)).await.unwrap();
        test_server.quiet().await;
    }
    assert_eq!(test_server.connections.open(), 1);
    drop(client);
    test_server.close().await;
}

#[tokio::test]
async fn a_closed_connection_counts_as_a_reader_leaving() {
    let test_server = TestServer::open().await;
    let mut client = Http2Client::open(test_server.address).await;
    test_server.upstream.script(Script::text(&["Hel", "lo"]).first(2).stall());
    let answer = client
        .post(
            "/v1/responses",
            &json!({ "model": MODEL, "input": "hi", "stream": true, "store": false }),
        )
        .await;
    drop(client);
    client::soon(test_server.upstream.wait_closed(0)).await.unwrap();
    drop(answer);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn idle_connections_get_a_goaway() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.idle_timeout = Duration::from_millis(200);
    }))
    .await;
    let mut client = Http2Client::open(test_server.address).await;
    assert_eq!(client.send(Method::GET, "/healthz", None).await.unwrap().status(), 200);
    client.ended().await.unwrap();
    test_server.close().await;
}

#[tokio::test]
async fn a_drain_lets_the_response_end_and_sends_a_goaway() {
    let test_server = TestServer::open_with(TestServerPlan {
        grace: Duration::from_secs(5),
        ..TestServerPlan::default()
    })
    .await;
    let mut client = Http2Client::open(test_server.address).await;
    let gate = Arc::new(tokio::sync::Notify::new());
    test_server.upstream.script(
        Script::new().role().content("Hel").wait_for(&gate).content("lo").finish("stop").done(),
    );
    let answer = client.post("/v1/responses", &ask("hi")).await;
    let idle = Http2Client::open(test_server.address).await;
    let closing = tokio::spawn(test_server.close());
    idle.ended().await.unwrap();
    gate.notify_one();
    let (text, end) = collect(answer).await;
    assert!(text.ends_with("data: [DONE]\n\n") && end.is_none(), "{end:?}: {text}");
    client.ended().await.unwrap();
    closing.await.unwrap();
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The next frame's type and payload.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    client::soon(stream.read_exact(&mut head)).await.unwrap().ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    client::soon(stream.read_exact(&mut payload)).await.unwrap().ok()?;
    Some((head[3], payload))
}

/// A connection by hand, after its preface.
async fn raw(test_server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(test_server.address).await.unwrap();
    // In three parts: it must be recognised however it arrives.
    for part in [&b"PRI * HT"[..], b"TP/2.0\r\n\r\nSM\r\n\r", b"\n"] {
        stream.set_nodelay(true).unwrap();
        stream.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    stream
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// `GET / http://localhost` in HPACK's static table (RFC 7541, appendix A).
const GET: &[u8] = b"\x82\x86\x84\x41\x09localhost";

/// The code of the GOAWAY that ends the connection.
async fn goaway(stream: &mut TcpStream) -> u32 {
    while let Some((kind, payload)) = next_frame(stream).await {
        if kind == GOAWAY {
            return u32::from_be_bytes(payload[4..8].try_into().unwrap());
        }
    }
    panic!("closed without GOAWAY")
}

#[tokio::test]
async fn limits_are_announced_in_settings() {
    let test_server = TestServer::open().await;
    let mut stream = raw(&test_server).await;
    let (kind, payload) = next_frame(&mut stream).await.unwrap();
    assert_eq!(kind, SETTINGS);
    let settings: Vec<(u16, u32)> = payload
        .chunks(6)
        .map(|six| {
            (
                u16::from_be_bytes([six[0], six[1]]),
                u32::from_be_bytes([six[2], six[3], six[4], six[5]]),
            )
        })
        .collect();
    assert!(settings.contains(&(3, 128)), "MAX_CONCURRENT_STREAMS: {settings:?}");
    assert!(settings.contains(&(6, 64 << 10)), "MAX_HEADER_LIST_SIZE: {settings:?}");
    drop(stream);
    test_server.close().await;
}

#[tokio::test]
async fn rapid_reset_ends_the_connection() {
    let test_server = TestServer::open().await;
    let mut stream = raw(&test_server).await;
    let burst: Vec<u8> = (0..200)
        .flat_map(|n| {
            [frame(HEADERS, 5, 2 * n + 1, GET), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])]
                .concat()
        })
        .collect();
    stream.write_all(&burst).await.unwrap();
    assert_eq!(goaway(&mut stream).await, u32::from(Reason::ENHANCE_YOUR_CALM));
    drop(stream);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let test_server = TestServer::open().await;
    let mut stream = raw(&test_server).await;
    let mut flood = frame(HEADERS, 1, 1, GET);
    for _ in 0..1000 {
        flood.extend(frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b"));
    }
    // The server may have closed before it has read everything.
    drop(stream.write_all(&flood).await);
    let code = goaway(&mut stream).await;
    assert!(
        [Reason::ENHANCE_YOUR_CALM, Reason::COMPRESSION_ERROR].map(u32::from).contains(&code),
        "{code}"
    );
    drop(stream);
    test_server.close().await;
}
