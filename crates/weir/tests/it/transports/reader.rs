//! A reader of a response over any transport: its events' data, and the cut.

use crate::test_server::TestFrame;
use client::http2::{self, chunk};
use client::soon;
use client::{BodyEnd, Request, Stream, websocket};
use codec::{ndjson, sse};
use h2::RecvStream;
use serde_json::{Value, json};

use super::doors::Doors;
use crate::resume::{accept, resume};

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportKind {
    Http10(TestFrame),
    Http11(TestFrame),
    Http2(TestFrame),
    Https11(TestFrame),
    Https2(TestFrame),
    Socket,
    SecureSocket,
    Http2Socket,
    Https2Socket,
}

use TestFrame::{Ndjson, Sse};

pub(crate) const WAYS: [TransportKind; 14] = [
    TransportKind::Http10(Sse),
    TransportKind::Socket,
    TransportKind::Http2(Ndjson),
    TransportKind::Https11(Sse),
    TransportKind::Http2Socket,
    TransportKind::Http10(Ndjson),
    TransportKind::Https2(Sse),
    TransportKind::SecureSocket,
    TransportKind::Http11(Sse),
    TransportKind::Https11(Ndjson),
    TransportKind::Http2(Sse),
    TransportKind::Https2Socket,
    TransportKind::Http11(Ndjson),
    TransportKind::Https2(Ndjson),
];

/// A reader in progress.
#[expect(clippy::large_enum_variant, reason = "there are a few at a time")]
pub(crate) enum TransportReader {
    Stream(TestFrame, Box<Stream>),
    Multiplexed(Http2Body),
    Socket(Box<websocket::Socket>),
    MultiplexedSocket(Box<http2::Socket>),
}

impl TransportReader {
    /// Starts a new response.
    pub(crate) async fn start(doors: &Doors, way: TransportKind, question: &Value) -> Self {
        let mut message = question.clone();
        message["type"] = "response.create".into();
        message.as_object_mut().unwrap().remove("stream");
        Self::open(
            doors,
            way,
            |frame| {
                accept(Request::post("/v1/responses", question), frame).header("prefer", "wait=0")
            },
            &message,
        )
        .await
    }

    /// Resumes a response after a position.
    pub(crate) async fn resume(
        doors: &Doors,
        way: TransportKind,
        id: &str,
        after: Option<u64>,
    ) -> Self {
        let message =
            json!({ "type": "response.resume", "response_id": id, "starting_after": after });
        Self::open(doors, way, |frame| resume(id, after, frame), &message).await
    }

    async fn open(
        doors: &Doors,
        way: TransportKind,
        request: impl Fn(TestFrame) -> Request,
        message: &Value,
    ) -> Self {
        let message = message.to_string();
        match way {
            TransportKind::Http10(frame) => {
                let response = doors.test_server.send(&request(frame).http_1_0()).await;
                assert_eq!(
                    (response.status, response.headers.get("transfer-encoding")),
                    (200, None)
                );
                Self::Stream(frame, Box::new(response.events().unwrap()))
            }
            TransportKind::Http11(frame) => {
                Self::Stream(frame, Box::new(doors.test_server.stream(&request(frame)).await))
            }
            TransportKind::Https11(frame) => {
                let response =
                    soon(doors.tls().await.send(&request(frame))).await.unwrap().unwrap();
                assert_eq!(response.status, 200);
                Self::Stream(frame, Box::new(response.events().unwrap()))
            }
            TransportKind::Http2(frame) | TransportKind::Https2(frame) => {
                let client = if matches!(way, TransportKind::Http2(_)) {
                    &doors.clear
                } else {
                    &doors.encrypted
                };
                let response = client.send(&request(frame)).await.unwrap();
                assert_eq!(
                    (
                        response.status().as_u16(),
                        response.headers()["content-type"].to_str().unwrap()
                    ),
                    (200, frame.content_type())
                );
                Self::Multiplexed(Http2Body::new(response.into_body(), frame))
            }
            TransportKind::Socket | TransportKind::SecureSocket => {
                let mut socket = doors.socket(way == TransportKind::SecureSocket).await;
                socket.send_text(&message).await.unwrap();
                Self::Socket(Box::new(socket))
            }
            TransportKind::Http2Socket | TransportKind::Https2Socket => {
                let client =
                    if way == TransportKind::Http2Socket { &doors.clear } else { &doors.encrypted };
                let mut socket = client.socket("/v1/responses", &[]).await.unwrap();
                socket.send_text(&message).await.unwrap();
                Self::MultiplexedSocket(Box::new(socket))
            }
        }
    }

    /// The data of the next `count` events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::new();
        while data.len() < count {
            data.push(self.next().await.unwrap());
        }
        data
    }

    /// The data of all remaining events, to the end of the response.
    pub(crate) async fn rest(self) -> Vec<String> {
        self.rest_after(Vec::new()).await
    }

    /// The same after data that was already read.
    pub(crate) async fn rest_after(mut self, mut data: Vec<String>) -> Vec<String> {
        let is_over = |data: &[String]| data.last().is_some_and(|last| is_terminal(last));
        while !is_over(&data) {
            data.push(self.next().await.unwrap());
        }
        match self {
            Self::Stream(frame, mut stream) => {
                let (after, end) = soon(stream.collect_data()).await.unwrap().unwrap();
                let expected: &[&[u8]] = if frame == Sse { &[b"[DONE]"] } else { &[] };
                assert_eq!(
                    (after, end),
                    (expected.iter().map(|data| data.to_vec().into()).collect(), BodyEnd::Clean)
                );
            }
            Self::Multiplexed(mut body) => {
                if body.is_sse() {
                    assert_eq!(body.next().await.as_deref(), Some("[DONE]"));
                }
                assert_eq!(body.next().await, None);
            }
            Self::Socket(mut socket) => {
                socket.close(1000, "").await.unwrap();
                let (after, end) = soon(socket.collect()).await.unwrap().unwrap();
                assert!(
                    after.is_empty()
                        && matches!(end, websocket::End::Closed { code: Some(1000), .. }),
                    "{after:?} {end:?}"
                );
            }
            Self::MultiplexedSocket(mut socket) => {
                socket.close(1000, "").await.unwrap();
                assert_eq!(socket.next_text().await, Err(http2::End::Closed(Some(1000))));
                assert_eq!(socket.ended().await.unwrap(), Ok(()));
            }
        }
        data
    }

    /// Cuts the connection with RST; an HTTP/2 stream, whose connection others use, with RST_STREAM.
    pub(crate) fn cut(self) {
        match self {
            Self::Stream(_, stream) => stream.abandon().reset().unwrap(),
            // h2 resets a stream that is dropped before its end.
            Self::Multiplexed(body) => drop(body),
            Self::Socket(socket) => socket.reset().unwrap(),
            Self::MultiplexedSocket(socket) => socket.reset(),
        }
    }

    async fn next(&mut self) -> Option<String> {
        match self {
            Self::Stream(_, stream) => {
                let event = soon(stream.next()).await.unwrap().unwrap()?;
                Some(String::from_utf8(event.data.to_vec()).unwrap())
            }
            Self::Multiplexed(body) => body.next().await,
            Self::Socket(socket) => soon(socket.next_text()).await.unwrap().unwrap(),
            Self::MultiplexedSocket(socket) => socket.next_text().await.ok(),
        }
    }
}

/// An HTTP/2 body as events.
pub(crate) struct Http2Body {
    body: RecvStream,
    decoder: Decoder,
}

enum Decoder {
    Sse(sse::SseDecoder),
    Ndjson(ndjson::NdjsonDecoder),
}

impl Http2Body {
    fn new(body: RecvStream, frame: TestFrame) -> Self {
        let largest = 64 << 20;
        let decoder = if frame == Sse {
            Decoder::Sse(sse::SseDecoder::new(largest))
        } else {
            Decoder::Ndjson(ndjson::NdjsonDecoder::new(largest))
        };
        Self { body, decoder }
    }

    fn is_sse(&self) -> bool {
        matches!(self.decoder, Decoder::Sse(_))
    }

    /// The data of the next event; `None` at a clean end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let found = match &mut self.decoder {
                Decoder::Sse(decoder) => {
                    decoder.next_event().transpose().unwrap().map(|found| match found {
                        sse::SseFrame::Event(event) => Some(event.data),
                        sse::SseFrame::Comment => None,
                    })
                }
                Decoder::Ndjson(decoder) => {
                    decoder.next_event().transpose().unwrap().map(|found| match found {
                        ndjson::NdjsonFrame::Line(data) => Some(data),
                        ndjson::NdjsonFrame::Heartbeat => None,
                    })
                }
            };
            match found {
                Some(Some(data)) => return Some(String::from_utf8(data.to_vec()).unwrap()),
                Some(None) => {}
                None => {
                    let bytes = soon(chunk(&mut self.body)).await.unwrap()?.unwrap();
                    match &mut self.decoder {
                        Decoder::Sse(decoder) => decoder.push(&bytes),
                        Decoder::Ndjson(decoder) => decoder.push(&bytes),
                    }
                }
            }
        }
    }
}

fn is_terminal(data: &str) -> bool {
    ["response.completed", "response.incomplete", "response.failed"]
        .iter()
        .any(|kind| data.starts_with(&format!("{{\"type\":\"{kind}\"")))
}
