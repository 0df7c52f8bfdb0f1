//! Connections against a scripted server: reuse, retries of what was not sent, and closing.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::try_join;

use super::*;
use crate::config::Preset;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

async fn open() -> Outcome<(TcpListener, Http)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base = format!("http://{}/v1", listener.local_addr()?);
    Ok((listener, Http::new(&UpstreamConfig::new("north", Preset::Compatible, base))?))
}

/// Runs the server and its client.
async fn both<A, B>(
    server: impl Future<Output = Outcome<A>>,
    client: impl Future<Output = Outcome<B>>,
) -> Outcome<(A, B)> {
    try_join!(server, client)
}

async fn send(http: &Http) -> Outcome<Response> {
    let outgoing = Outgoing::new(&["chat", "completions"], json!({ "model": "m" }));
    Ok(http
        .send(&outgoing, None, &UpstreamCall::default())
        .await
        .map_err(|error| format!("{error:?}"))?
        .0)
}

async fn body(response: &mut Response) -> Outcome<Vec<u8>> {
    let mut body = Vec::new();
    read_body(response, &mut body, 1000).await?;
    Ok(body)
}

/// Reads one request, whose body is `{"model":"m"}`.
async fn request(stream: &mut TcpStream) -> Outcome<String> {
    let mut read = Vec::new();
    while !read.ends_with(br#"{"model":"m"}"#) {
        if stream.read_buf(&mut read).await? == 0 {
            return Err("closed before the request".into());
        }
    }
    Ok(String::from_utf8(read)?)
}

async fn closed(stream: &mut TcpStream) -> Outcome {
    assert_eq!(stream.read(&mut [0]).await?, 0, "more than was expected");
    Ok(())
}

#[tokio::test]
async fn requests_share_a_connection_after_its_response() -> Outcome {
    let (listener, http) = open().await?;
    let server = async {
        let (mut stream, _) = listener.accept().await?;
        let first = request(&mut stream).await?;
        stream.write_all(WHOLE).await?;
        let second = request(&mut stream).await?;
        stream.write_all(HEAD).await?;
        stream.write_all(b"3\r\nabc\r\n").await?;
        stream.write_all(b"2\r\nde\r\n0\r\n\r\n").await?;
        assert_eq!(first, second);
        Ok(first)
    };
    let client = async {
        assert_eq!(body(&mut send(&http).await?).await?, b"hi");
        assert_eq!(body(&mut send(&http).await?).await?, b"abcde");
        Ok(())
    };
    let (request, ()) = both(server, client).await?;
    let host = listener.local_addr()?.to_string();
    for part in [
        "POST /v1/chat/completions HTTP/1.1\r\n",
        concat!("user-agent: weir/", env!("CARGO_PKG_VERSION"), "\r\n"),
        "accept-encoding: identity\r\n",
        "accept: text/event-stream\r\n",
        "content-type: application/json\r\n",
        "content-length: 13\r\n",
        &format!("host: {host}\r\n"),
    ] {
        assert!(request.contains(part), "{part:?} is missing in {request}");
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_closed_while_idle_is_replaced() -> Outcome {
    let (listener, http) = open().await?;
    let (is_idle, is_closed) = (Notify::new(), Notify::new());
    let server = async {
        let (mut stream, _) = listener.accept().await?;
        request(&mut stream).await?;
        stream.write_all(WHOLE).await?;
        is_idle.notified().await;
        drop(stream);
        is_closed.notify_one();
        let (mut stream, _) = listener.accept().await?;
        request(&mut stream).await?;
        stream.write_all(WHOLE).await?;
        Ok(())
    };
    let client = async {
        body(&mut send(&http).await?).await?;
        is_idle.notify_one();
        is_closed.notified().await;
        assert_eq!(body(&mut send(&http).await?).await?, b"hi");
        Ok(())
    };
    both(server, client).await?;
    Ok(())
}

#[tokio::test]
async fn a_request_that_was_sent_is_not_repeated() -> Outcome {
    let (listener, http) = open().await?;
    let server = async {
        let (mut stream, _) = listener.accept().await?;
        request(&mut stream).await?;
        stream.write_all(WHOLE).await?;
        request(&mut stream).await?;
        Ok(())
    };
    let client = async {
        body(&mut send(&http).await?).await?;
        let outgoing = Outgoing::new(&["chat"], json!({ "model": "m" }));
        let failed = http.send(&outgoing, None, &UpstreamCall::default()).await.map(drop);
        assert_eq!(failed, Err(ConnectError::Closed));
        Ok(())
    };
    both(server, client).await?;
    Ok(())
}

#[tokio::test]
async fn dropping_a_response_closes_its_connection() -> Outcome {
    let (listener, http) = open().await?;
    let server = async {
        let (mut stream, _) = listener.accept().await?;
        request(&mut stream).await?;
        stream.write_all(HEAD).await?;
        stream.write_all(b"3\r\nabc\r\n").await?;
        closed(&mut stream).await
    };
    let client = async {
        let mut response = send(&http).await?;
        assert_eq!(response.chunk().await?.as_deref(), Some(&b"abc"[..]));
        drop(response);
        Ok(())
    };
    both(server, client).await?;
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error() -> Outcome {
    let (listener, http) = open().await?;
    let server = async {
        let (mut stream, _) = listener.accept().await?;
        request(&mut stream).await?;
        stream.write_all(HEAD).await?;
        stream.write_all(b"3\r\nabc\r\n").await?;
        Ok(())
    };
    let client = async {
        let mut response = send(&http).await?;
        assert_eq!(response.chunk().await?.as_deref(), Some(&b"abc"[..]));
        assert!(response.chunk().await.is_err());
        assert_eq!(response.chunk().await?, None);
        Ok(())
    };
    both(server, client).await?;
    Ok(())
}

#[tokio::test]
async fn a_chunk_wakes_its_reader_once() -> Outcome {
    let (listener, http) = open().await?;
    let server = async {
        let (mut stream, _) = listener.accept().await?;
        request(&mut stream).await?;
        stream.write_all(HEAD).await?;
        Ok(stream)
    };
    let (mut stream, mut response) = both(server, send(&http)).await?;
    let counted = Arc::new(CountedWaker::default());
    let waker = Waker::from(Arc::clone(&counted));
    for _ in 0..10 {
        let is_silent = response.poll_chunk(&mut Context::from_waker(&waker)).is_pending();
        assert!(is_silent);
        counted.wait_after(&mut stream, b"1\r\nx\r\n").await?;
        let Poll::Ready(chunk) = response.poll_chunk(&mut Context::from_waker(&waker)) else {
            panic!("woken without a chunk");
        };
        assert_eq!(chunk?.as_deref(), Some(&b"x"[..]));
    }
    assert_eq!(counted.wakes.load(Ordering::Relaxed), 10);
    Ok(())
}

/// Counts wake-ups, and passes them on to a task.
#[derive(Default)]
struct CountedWaker {
    wakes: AtomicUsize,
    task: futures_util::task::AtomicWaker,
}

impl CountedWaker {
    /// Writes bytes and waits for a wake-up.
    async fn wait_after(&self, stream: &mut TcpStream, bytes: &[u8]) -> Outcome {
        let before = self.wakes.load(Ordering::Relaxed);
        stream.write_all(bytes).await?;
        poll_fn(|context| {
            self.task.register(context.waker());
            if self.wakes.load(Ordering::Relaxed) > before {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        Ok(())
    }
}

impl Wake for CountedWaker {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.task.wake();
    }
}
