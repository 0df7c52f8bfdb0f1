//! A chat completions stream without a finish reason: its text is delivered, then its body is broken off.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use client::{BodyEnd, Connection, Request};
use fakes::Script;
use h2::Reason;
use h2::client::Builder;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::http2::collect;
use crate::leaving::{cancel, id_of};
use crate::test_server::{MODEL, TestApi, TestFrame, TestServer, question};

/// Fills every buffer between the server and a client that does not read.
const LARGE: usize = 4 << 20;

/// A long text whose upstream then fails.
fn large_and_cut() -> Script {
    (0..LARGE >> 20)
        .fold(Script::new().role(), |script, _| script.content(&"words! ".repeat((1 << 20) / 7)))
        .fin()
}

fn chat(frame: TestFrame) -> Request {
    question((TestApi::Chat, frame), MODEL, &json!({}))
}

/// The last event of a text in a streaming frame.
fn last_event(text: &str) -> Value {
    let line = text.trim_end().rsplit('\n').find(|line| line.contains('{')).unwrap_or_default();
    serde_json::from_str(line.strip_prefix("data: ").unwrap_or(line))
        .unwrap_or_else(|error| panic!("{error}: {line:.200}"))
}

fn check_last(text: &str, code: &str) {
    let last = last_event(text);
    assert_eq!((last["error"]["code"].as_str(), last.get("choices")), (Some(code), None), "{last}");
    assert!(!text.contains("[DONE]"));
}

#[tokio::test]
async fn only_the_chat_completions_stream_is_broken_off() {
    let test_server = TestServer::open().await;
    test_server.upstream.default_script(Script::new().role().content("Once").fin());
    for frame in [TestFrame::Sse, TestFrame::Ndjson] {
        let (events, end) = test_server.stream(&chat(frame)).await.collect().await.unwrap();
        let last = events.last().unwrap().json().unwrap();
        assert_eq!(
            (end, last["error"]["code"].as_str(), last.get("choices")),
            (BodyEnd::Truncated, Some("upstream_cut"), None),
            "{frame:?}"
        );
        // Its terminal event reports the failure.
        let (events, end) = test_server
            .stream(&question((TestApi::Responses, frame), MODEL, &json!({})))
            .await
            .collect()
            .await
            .unwrap();
        let text: String =
            events.iter().map(|event| String::from_utf8_lossy(&event.data)).collect();
        assert!(
            end == BodyEnd::Clean && text.contains("response.failed"),
            "{frame:?} {end:?}: {text}"
        );
        assert_eq!(text.ends_with("[DONE]"), frame == TestFrame::Sse, "{text}");
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_slow_reader_gets_the_error_before_the_break() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(large_and_cut());
    let request = question((TestApi::Chat, TestFrame::Sse), MODEL, &json!({ "store": true }));
    let mut response = Connection::open_narrow(test_server.address, 64 << 10)
        .await
        .unwrap()
        .send(&request)
        .await
        .unwrap();
    // The response has ended before anything is read of it.
    test_server.quiet().await;
    let (text, end) = client::soon(response.collect()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Truncated);
    check_last(std::str::from_utf8(&text).unwrap(), "upstream_cut");
    test_server.close().await;
}

#[tokio::test]
async fn a_stream_of_http_1_0_is_reset_after_its_error() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::new().role().content("Once").fin());
    let mut response = test_server.send(&chat(TestFrame::Sse).http_1_0()).await;
    let (text, end) = response.collect().await.unwrap();
    assert_eq!((end, response.cut_by()), (BodyEnd::Truncated, Some(ErrorKind::ConnectionReset)));
    check_last(std::str::from_utf8(&text).unwrap(), "upstream_cut");
    test_server.quiet().await;
    test_server.close().await;
}

/// A socket that is not read until its gate opens.
struct GatedSocket {
    stream: TcpStream,
    gate: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_open: bool,
}

impl AsyncRead for GatedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_open {
            ready!(self.gate.as_mut().poll(context));
            self.is_open = true;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for GatedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The client's windows are large and its socket buffer is small: data queued in the streams must not be dropped.
#[tokio::test]
async fn a_stream_of_http_2_is_reset_after_its_error() {
    const STREAMS: usize = 60;
    let test_server = TestServer::open().await;
    test_server.upstream.default_script(Script::new().role().content(&"x".repeat(50_000)).fin());
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = GatedSocket {
        stream: socket.connect(test_server.address).await.unwrap(),
        gate: Box::pin(async move { opened.notified().await }),
        is_open: false,
    };
    let (send, connection) = Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(100 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .unwrap();
    let task = client::spawn(async move { drop(connection.await) });
    let body = json!({ "model": MODEL, "stream": true, "store": true, "messages": [{ "role": "user", "content": "hi" }] }).to_string();
    let mut responses = Vec::new();
    for _ in 0..STREAMS {
        let request = http::Request::post("http://127.0.0.1/v1/chat/completions").body(()).unwrap();
        let (response, mut sending) =
            send.clone().ready().await.unwrap().send_request(request, false).unwrap();
        sending.send_data(body.clone().into(), true).unwrap();
        responses.push(response);
    }
    client::soon(test_server.upstream.wait_requests(STREAMS)).await.unwrap();
    test_server.quiet().await;
    gate.notify_one();
    for response in responses {
        let (text, end) = collect(client::soon(response).await.unwrap().unwrap()).await;
        assert_eq!(end, Some(Reason::INTERNAL_ERROR));
        check_last(&text, "upstream_cut");
    }
    drop((send, task));
    test_server.close().await;
}

#[tokio::test]
async fn a_stopped_stream_reports_usage_before_its_error() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::new().role().content("Once").stall());
    let options = json!({ "stream_options": { "include_usage": true } });
    let mut stream =
        test_server.stream(&question((TestApi::Chat, TestFrame::Sse), MODEL, &options)).await;
    while !client::soon(stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .data
        .windows(4)
        .any(|window| window == b"Once")
    {}
    let (status, _) = test_server.json(&cancel(&id_of(&stream))).await;
    assert_eq!(status, 200);
    let (events, end) = stream.collect().await.unwrap();
    let [usage, error] = &events[..] else { panic!("{events:?}") };
    let (usage, error) = (usage.json().unwrap(), error.json().unwrap());
    assert_eq!(
        (&usage["choices"], &usage["usage"]["source"]),
        (&json!([]), &json!("counted")),
        "{usage}"
    );
    assert_eq!((end, &error["error"]["code"]), (BodyEnd::Truncated, &json!("response_cancelled")));
    test_server.quiet().await;
    test_server.close().await;
}
