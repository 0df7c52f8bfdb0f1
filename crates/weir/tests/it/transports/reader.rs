//! A reader of a response over any transport: its events' data, and the cut.

use crate::house::Frame;
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
pub(crate) enum Way {
    Http10(Frame),
    Http11(Frame),
    Http2(Frame),
    Https11(Frame),
    Https2(Frame),
    Socket,
    SecureSocket,
    Http2Socket,
    Https2Socket,
}

use Frame::{Ndjson, Sse};

pub(crate) const WAYS: [Way; 14] = [
    Way::Http10(Sse),
    Way::Socket,
    Way::Http2(Ndjson),
    Way::Https11(Sse),
    Way::Http2Socket,
    Way::Http10(Ndjson),
    Way::Https2(Sse),
    Way::SecureSocket,
    Way::Http11(Sse),
    Way::Https11(Ndjson),
    Way::Http2(Sse),
    Way::Https2Socket,
    Way::Http11(Ndjson),
    Way::Https2(Ndjson),
];

/// A reader in progress.
#[expect(clippy::large_enum_variant, reason = "there are a few at a time")]
pub(crate) enum Reader {
    Stream(Frame, Box<Stream>),
    Multiplexed(Body),
    Socket(Box<websocket::Socket>),
    MultiplexedSocket(Box<http2::Socket>),
}

impl Reader {
    /// Starts a new response.
    pub(crate) async fn begin(doors: &Doors, way: Way, question: &Value) -> Self {
        let mut message = question.clone();
        message["type"] = "response.create".into();
        message.as_object_mut().unwrap().remove("stream");
        Self::open(doors, way, |frame| accept(Request::post("/v1/responses", question), frame).header("prefer", "wait=0"), &message).await
    }

    /// Resumes a response after a position.
    pub(crate) async fn resume(doors: &Doors, way: Way, id: &str, after: Option<u64>) -> Self {
        let message = json!({ "type": "response.resume", "response_id": id, "starting_after": after });
        Self::open(doors, way, |frame| resume(id, after, frame), &message).await
    }

    async fn open(doors: &Doors, way: Way, request: impl Fn(Frame) -> Request, message: &Value) -> Self {
        let message = message.to_string();
        match way {
            Way::Http10(frame) => {
                let response = doors.house.send(&request(frame).http_1_0()).await;
                assert_eq!((response.status, response.headers.get("transfer-encoding")), (200, None));
                Self::Stream(frame, Box::new(response.events().unwrap()))
            }
            Way::Http11(frame) => Self::Stream(frame, Box::new(doors.house.stream(&request(frame)).await)),
            Way::Https11(frame) => {
                let response = soon(doors.tls().await.send(&request(frame))).await.unwrap().unwrap();
                assert_eq!(response.status, 200);
                Self::Stream(frame, Box::new(response.events().unwrap()))
            }
            Way::Http2(frame) | Way::Https2(frame) => {
                let client = if matches!(way, Way::Http2(_)) { &doors.clear } else { &doors.encrypted };
                let response = client.send(&request(frame)).await.unwrap();
                assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, frame.content_type()));
                Self::Multiplexed(Body::new(response.into_body(), frame))
            }
            Way::Socket | Way::SecureSocket => {
                let mut socket = doors.socket(way == Way::SecureSocket).await;
                socket.send_text(&message).await.unwrap();
                Self::Socket(Box::new(socket))
            }
            Way::Http2Socket | Way::Https2Socket => {
                let client = if way == Way::Http2Socket { &doors.clear } else { &doors.encrypted };
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
        self.rest_behind(Vec::new()).await
    }

    /// The same after data that was already read.
    pub(crate) async fn rest_behind(mut self, mut data: Vec<String>) -> Vec<String> {
        let is_over = |data: &[String]| data.last().is_some_and(|last| is_terminal(last));
        while !is_over(&data) {
            data.push(self.next().await.unwrap());
        }
        match self {
            Self::Stream(frame, mut stream) => {
                let (after, end) = soon(stream.collect_data()).await.unwrap().unwrap();
                let expected: &[&[u8]] = if frame == Sse { &[b"[DONE]"] } else { &[] };
                assert_eq!((after, end), (expected.iter().map(|data| data.to_vec().into()).collect(), BodyEnd::Clean));
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
                assert!(after.is_empty() && matches!(end, websocket::End::Closed { code: Some(1000), .. }), "{after:?} {end:?}");
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
pub(crate) struct Body {
    body: RecvStream,
    decoder: Decoder,
}

enum Decoder {
    Sse(sse::Decoder),
    Ndjson(ndjson::Decoder),
}

impl Body {
    fn new(body: RecvStream, frame: Frame) -> Self {
        let largest = 64 << 20;
        let decoder = if frame == Sse { Decoder::Sse(sse::Decoder::new(largest)) } else { Decoder::Ndjson(ndjson::Decoder::new(largest)) };
        Self { body, decoder }
    }

    fn is_sse(&self) -> bool {
        matches!(self.decoder, Decoder::Sse(_))
    }

    /// The data of the next event; `None` at a clean end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let found = match &mut self.decoder {
                Decoder::Sse(decoder) => decoder.next_event().transpose().unwrap().map(|found| match found {
                    sse::Decoded::Event(event) => Some(event.data),
                    sse::Decoded::Comment => None,
                }),
                Decoder::Ndjson(decoder) => decoder.next_event().transpose().unwrap().map(|found| match found {
                    ndjson::Decoded::Line(data) => Some(data),
                    ndjson::Decoded::Heartbeat => None,
                }),
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
    ["response.completed", "response.incomplete", "response.failed"].iter().any(|kind| data.starts_with(&format!("{{\"type\":\"{kind}\"")))
}
