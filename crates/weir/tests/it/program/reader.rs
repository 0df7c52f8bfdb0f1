//! A reader of a response in any frame, for a server that may die at any time.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::test_server::TestFrame;
use anyhow::{Context, Result, ensure};
use client::soon;
use client::{BodyEnd, Request, Stream, websocket};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{ask, with};
use crate::resume::{accept, resume};

/// How events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMethod {
    Sse,
    Ndjson,
    Socket,
    /// Like a browser's `EventSource`.
    Browser,
    /// `GET …/events?wait=`, repeatedly.
    LongPoll,
    /// SSE over HTTP/1.0: the body ends with the connection.
    Http10,
}

pub(crate) const WAYS: [ReadMethod; 6] = [
    ReadMethod::Sse,
    ReadMethod::Socket,
    ReadMethod::Ndjson,
    ReadMethod::Browser,
    ReadMethod::LongPoll,
    ReadMethod::Http10,
];

impl ReadMethod {
    /// Another method: the `number`th of the others, cyclically.
    pub(crate) fn other(self, number: usize) -> Self {
        let others: Vec<Self> = WAYS.into_iter().filter(|way| *way != self).collect();
        others[number % others.len()]
    }
}

/// A reader in progress. Distinguishes a clean end from a break: a truncated body, or a socket closed without waiting
/// for our close.
pub(crate) struct ProgramReader {
    /// The response's id, if the head contained it.
    pub(crate) id: Option<String>,
    line: Line,
}

enum Line {
    Stream(ReadMethod, Box<Stream>),
    Socket(Box<websocket::Socket>),
    Poll(Poll),
}

impl ProgramReader {
    /// Starts a new response.
    ///
    /// # Errors
    /// The server is gone before the response has started.
    pub(crate) async fn start(
        address: SocketAddr,
        way: ReadMethod,
        question: &Value,
    ) -> Result<Self> {
        let streamed = with(question.clone(), &json!({ "stream": true }));
        let at_once = || ask(&streamed).header("prefer", "wait=0");
        match way {
            ReadMethod::Sse => Self::stream(address, way, &accept(at_once(), TestFrame::Sse)).await,
            ReadMethod::Ndjson => {
                Self::stream(address, way, &accept(at_once(), TestFrame::Ndjson)).await
            }
            ReadMethod::Http10 => Self::stream(address, way, &at_once().http_1_0()).await,
            ReadMethod::Socket => {
                Self::socket(
                    address,
                    &with(question.clone(), &json!({ "type": "response.create" })),
                )
                .await
            }
            ReadMethod::Browser | ReadMethod::LongPoll => {
                let background = with(question.clone(), &json!({ "background": true }));
                let mut response = soon(client::send(address, &ask(&background))).await??;
                ensure!(response.status == 200, "status {}", response.status);
                let created = soon(client::json::value(&mut response)).await??;
                let id = created["id"].as_str().context("an answer without an id")?;
                Self::resume(address, way, id, None).await
            }
        }
    }

    /// Resumes a response after a position.
    ///
    /// # Errors
    /// The server is gone, or rejects the request.
    pub(crate) async fn resume(
        address: SocketAddr,
        way: ReadMethod,
        id: &str,
        after: Option<u64>,
    ) -> Result<Self> {
        match way {
            ReadMethod::Sse => Self::stream(address, way, &resume(id, after, TestFrame::Sse)).await,
            ReadMethod::Ndjson => {
                Self::stream(address, way, &resume(id, after, TestFrame::Ndjson)).await
            }
            ReadMethod::Http10 => {
                Self::stream(address, way, &resume(id, after, TestFrame::Sse).http_1_0()).await
            }
            ReadMethod::Browser => {
                let request = Request::get(&format!("/v1/responses/{id}/events"));
                let last = after.map(|after| after.to_string());
                let request = last
                    .iter()
                    .fold(request, |request, last| request.header("last-event-id", last));
                Self::stream(address, way, &request).await
            }
            ReadMethod::Socket => {
                let message = json!({ "type": "response.resume", "response_id": id, "starting_after": after });
                Ok(Self { id: Some(id.to_owned()), ..Self::socket(address, &message).await? })
            }
            ReadMethod::LongPoll => {
                let poll = Poll {
                    address,
                    id: id.to_owned(),
                    after,
                    ready: VecDeque::new(),
                    ended: false,
                };
                Ok(Self { id: Some(id.to_owned()), line: Line::Poll(poll) })
            }
        }
    }

    async fn stream(address: SocketAddr, way: ReadMethod, request: &Request) -> Result<Self> {
        let mut response = soon(client::send(address, request)).await??;
        if response.status != 200 {
            let (body, _) = soon(response.collect()).await??;
            anyhow::bail!(
                "{} {}: {} {}",
                request.method,
                request.path,
                response.status,
                String::from_utf8_lossy(&body)
            );
        }
        let id = response.headers.get("weir-response-id").map(str::to_owned);
        Ok(Self { id, line: Line::Stream(way, Box::new(response.events()?)) })
    }

    async fn socket(address: SocketAddr, message: &Value) -> Result<Self> {
        let mut socket = soon(websocket::connect(address, "/v1/responses", &[])).await??.socket;
        socket.send_text(&message.to_string()).await?;
        Ok(Self { id: None, line: Line::Socket(Box::new(socket)) })
    }

    /// The data of the next event; `None` if the stream ended or was cut off. Invalid framing fails the test.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let data = match &mut self.line {
            Line::Stream(_, stream) => {
                let event = soon(stream.next()).await.unwrap().unwrap()?;
                Some(String::from_utf8(event.data.to_vec()).unwrap())
                    .filter(|data| data != "[DONE]")
            }
            Line::Socket(socket) => soon(socket.next_text()).await.unwrap().unwrap(),
            Line::Poll(poll) => poll.next().await,
        }?;
        if self.id.is_none() {
            self.id = Some(crate::resume::id_of(&data));
        }
        Some(data)
    }

    /// The data of all remaining events up to the terminal one, after which there must be a clean end.
    pub(crate) async fn rest(mut self) -> Vec<String> {
        let mut data = Vec::new();
        while !data.last().is_some_and(|last: &String| is_terminal(last)) {
            data.push(self.next().await.unwrap_or_else(|| panic!("cut after {:?}", data.last())));
        }
        self.expect_end().await;
        data
    }

    async fn expect_end(self) {
        match self.line {
            Line::Stream(way, mut stream) => {
                let (after, end) = soon(stream.collect_data()).await.unwrap().unwrap();
                let expected: &[&[u8]] = if matches!(way, ReadMethod::Sse | ReadMethod::Http10) {
                    &[b"[DONE]"]
                } else {
                    &[]
                };
                assert_eq!(
                    (after, end),
                    (expected.iter().map(|data| data.to_vec().into()).collect(), BodyEnd::Clean),
                    "{way:?}"
                );
            }
            Line::Socket(mut socket) => {
                socket.close(1000, "").await.unwrap();
                let (after, end) = soon(socket.collect()).await.unwrap().unwrap();
                assert!(
                    after.is_empty()
                        && matches!(end, websocket::End::Closed { code: Some(1000), .. }),
                    "{after:?} {end:?}"
                );
            }
            Line::Poll(poll) => assert!(
                poll.ended && poll.ready.is_empty(),
                "something stands after the end of {}",
                poll.id
            ),
        }
    }

    /// After a break: the data of all remaining events, and whether the stream ended cleanly.
    pub(crate) async fn broken(self) -> (Vec<String>, bool) {
        match self.line {
            Line::Stream(_, mut stream) => {
                let (data, end) = soon(stream.collect_data()).await.unwrap().unwrap();
                (
                    data.iter().map(|data| String::from_utf8(data.to_vec()).unwrap()).collect(),
                    end == BodyEnd::Clean,
                )
            }
            Line::Socket(mut socket) => {
                let (data, end) = soon(socket.collect()).await.unwrap().unwrap();
                (data, matches!(end, websocket::End::Closed { code: Some(1000), .. }))
            }
            Line::Poll(mut poll) => {
                let mut data = Vec::new();
                while let Some(event) = poll.next().await {
                    data.push(event);
                }
                (data, poll.ended)
            }
        }
    }
}

/// All events after a position, to the end of the response.
pub(crate) async fn read(
    address: SocketAddr,
    way: ReadMethod,
    id: &str,
    after: Option<u64>,
) -> Vec<String> {
    let reader = ProgramReader::resume(address, way, id, after).await;
    reader.unwrap_or_else(|refused| panic!("{way:?} after {after:?}: {refused:#}")).rest().await
}

/// A reader that polls.
struct Poll {
    address: SocketAddr,
    id: String,
    after: Option<u64>,
    ready: VecDeque<String>,
    ended: bool,
}

#[derive(Deserialize)]
struct Polled {
    data: Vec<Box<RawValue>>,
    ended: bool,
}

impl Poll {
    async fn next(&mut self) -> Option<String> {
        while self.ready.is_empty() {
            if self.ended {
                return None;
            }
            // A rejected or truncated poll returns nothing.
            let Polled { data, ended } = self.ask().await.ok()?;
            self.after =
                (self.after.map_or(0, |after| after + 1) + data.len() as u64).checked_sub(1);
            self.ready.extend(data.iter().map(|event| event.get().to_owned()));
            self.ended = ended;
        }
        self.ready.pop_front()
    }

    async fn ask(&self) -> Result<Polled> {
        let after = self.after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
        let request = Request::get(&format!("/v1/responses/{}/events?wait=5{after}", self.id));
        let mut response = soon(client::send(self.address, &request)).await??;
        let (body, end) = soon(response.collect()).await??;
        ensure!(
            response.status == 200 && end == BodyEnd::Clean,
            "{} {}",
            response.status,
            String::from_utf8_lossy(&body)
        );
        Ok(serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body))))
    }
}

pub(crate) fn is_terminal(data: &str) -> bool {
    ["completed", "incomplete", "failed"]
        .iter()
        .any(|kind| data.starts_with(&format!("{{\"type\":\"response.{kind}\"")))
}
