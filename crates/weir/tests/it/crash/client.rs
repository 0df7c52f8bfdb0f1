//! A client of a server that is killed: what it requests, what it has received at the crash, and how it comes back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use client::soon;
use client::{BodyEnd, Request};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::check::{EndedResponse, check, text_of};
use super::script::ExpectedContent;
use crate::program::reader::{ProgramReader, ReadMethod, WAYS, is_terminal, read};
use crate::program::{ask, question, with};

/// The polling interval.
const POLL: Duration = Duration::from_millis(20);

/// How a client receives its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrashClientKind {
    /// It reads events.
    Reads(ReadMethod),
    /// It starts a background response and polls it.
    Polls,
    /// It waits for a JSON response, and retries with its idempotency key.
    Keyed,
    /// The same with a chat completions stream, which is not stored.
    KeyedChat,
}

pub(super) const KINDS: [CrashClientKind; 9] = [
    CrashClientKind::Reads(ReadMethod::Sse),
    CrashClientKind::Reads(ReadMethod::Ndjson),
    CrashClientKind::Reads(ReadMethod::Socket),
    CrashClientKind::Polls,
    CrashClientKind::Reads(ReadMethod::Browser),
    CrashClientKind::Keyed,
    CrashClientKind::Reads(ReadMethod::LongPoll),
    CrashClientKind::KeyedChat,
    CrashClientKind::Reads(ReadMethod::Http10),
];

/// A client, and what it has received so far.
pub(super) struct CrashClient {
    kind: CrashClientKind,
    label: String,
    id: Option<String>,
    data: Vec<String>,
    /// The response or body it received.
    body: Option<Value>,
}

/// The outcome for a client.
pub(super) enum CrashOutcome {
    /// The client had no id yet.
    Unheard,
    /// The request was repeated: nothing had been stored.
    Repeated,
    /// It is complete, as a log or, without an id, as chunks.
    Ended {
        ended: Option<EndedResponse>,
        is_cut: bool,
        /// How many events followed after the crash.
        recovered: usize,
        /// The id and the complete log.
        kept: Option<(String, Vec<String>)>,
    },
}

impl CrashClient {
    pub(super) fn new(kind: CrashClientKind, label: String) -> Self {
        Self { kind, label, id: None, data: Vec::new(), body: None }
    }

    /// How many events it has read.
    pub(super) fn heard(&self) -> usize {
        self.data.len()
    }

    /// Sends the request, and reads until the response or the server ends.
    pub(super) async fn listen(
        mut self,
        address: SocketAddr,
        count: &watch::Sender<usize>,
    ) -> Self {
        match self.kind {
            CrashClientKind::Reads(way) => {
                let Ok(mut reader) = ProgramReader::start(address, way, &self.question()).await
                else {
                    return self;
                };
                while let Some(data) = reader.next().await {
                    count.send_modify(|count| *count += 1);
                    let is_last = is_terminal(&data);
                    self.data.push(data);
                    if is_last {
                        break;
                    }
                }
                self.id = reader.id;
            }
            CrashClientKind::Polls => {
                let background = with(self.question(), &json!({ "background": true }));
                self.body = value(address, &ask(&background)).await;
                while let Some(id) = self.body.as_ref().and_then(|body| body["id"].as_str()) {
                    let request = Request::get(&format!("/v1/responses/{id}"));
                    self.id = Some(id.to_owned());
                    tokio::time::sleep(POLL).await;
                    let Some(body) = value(address, &request).await else { break };
                    let is_over =
                        !["queued", "in_progress"].iter().any(|running| body["status"] == *running);
                    self.body = Some(body);
                    if is_over {
                        break;
                    }
                }
            }
            CrashClientKind::Keyed => self.body = value(address, &self.keyed()).await,
            CrashClientKind::KeyedChat => {
                let Ok(Ok(response)) = soon(client::send(address, &self.keyed())).await else {
                    return self;
                };
                assert_eq!(response.status, 200);
                let mut stream = response.events().unwrap();
                while let Some(event) = soon(stream.next()).await.unwrap().unwrap() {
                    self.data.push(String::from_utf8(event.data.to_vec()).unwrap());
                }
            }
        }
        self
    }

    /// Reconnects after the crash with another frame, and checks everything.
    pub(super) async fn come_back(
        &self,
        address: SocketAddr,
        number: usize,
        said: &HashMap<String, ExpectedContent>,
    ) -> CrashOutcome {
        match self.kind {
            CrashClientKind::Reads(way) => {
                let Some(id) = &self.id else { return CrashOutcome::Unheard };
                let is_over = self.data.last().is_some_and(|last| is_terminal(last));
                let last = (self.data.len() as u64).checked_sub(1);
                let rest = if is_over {
                    Vec::new()
                } else {
                    read(address, way.other(number), id, last).await
                };
                let whole = [self.data.as_slice(), &rest].concat();
                // A fresh reader gets what this one has assembled from two parts.
                let fresh = read(address, way.other(number + 1), id, None).await;
                assert!(
                    whole == fresh,
                    "{way:?}, cut after {last:?}:\n{}\nis not\n{}",
                    whole.join("\n"),
                    fresh.join("\n")
                );
                self.finish(address, id, whole, rest.len(), said).await
            }
            CrashClientKind::Polls => {
                let Some(id) = &self.id else { return CrashOutcome::Unheard };
                let whole = read(address, WAYS[number % WAYS.len()], id, None).await;
                let heard = self.body.as_ref().map(text_of).unwrap_or_default();
                let outcome = self.finish(address, id, whole, 0, said).await;
                let CrashOutcome::Ended { ended: Some(ended), .. } = &outcome else {
                    panic!("it has no end")
                };
                assert!(
                    text_of(&ended.response).starts_with(&heard),
                    "{heard:?} was heard of {}",
                    ended.response
                );
                outcome
            }
            CrashClientKind::Keyed => {
                let body = value(address, &self.keyed())
                    .await
                    .unwrap_or_else(|| panic!("{}: no JSON", self.label));
                if let Some(heard) = &self.body {
                    assert_eq!(&body, heard, "the same key has the same answer");
                }
                let id = body["id"].as_str().unwrap_or_else(|| panic!("{body}"));
                let whole = read(address, WAYS[number % WAYS.len()], id, None).await;
                self.finish(address, id, whole, 0, said).await
            }
            CrashClientKind::KeyedChat => self.repeat_chat(address).await,
        }
    }

    async fn finish(
        &self,
        address: SocketAddr,
        id: &str,
        whole: Vec<String>,
        recovered: usize,
        said: &HashMap<String, ExpectedContent>,
    ) -> CrashOutcome {
        let ended = check(&whole, said);
        let response = value(address, &Request::get(&format!("/v1/responses/{id}"))).await.unwrap();
        assert_eq!(
            response, ended.response,
            "{}: the response is what the terminal event has",
            self.label
        );
        let is_cut = ended.is_cut;
        CrashOutcome::Ended {
            ended: Some(ended),
            is_cut,
            recovered,
            kept: Some((id.to_owned(), whole)),
        }
    }

    async fn repeat_chat(&self, address: SocketAddr) -> CrashOutcome {
        let response = soon(client::send(address, &self.keyed())).await.unwrap().unwrap();
        assert_eq!(response.status, 200, "{}", self.label);
        let (data, end) = soon(response.events().unwrap().collect_data()).await.unwrap().unwrap();
        let data: Vec<String> =
            data.iter().map(|data| String::from_utf8(data.to_vec()).unwrap()).collect();
        let is_done = data.last().is_some_and(|last| last == "[DONE]");
        let chunks: Vec<Value> = data
            .iter()
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let last = chunks.last().unwrap();
        let is_cut =
            match (last["error"]["code"].as_str(), last["choices"][0]["finish_reason"].as_str()) {
                (Some("server_restarted"), None) => true,
                (None, Some("stop" | "tool_calls")) => false,
                _ => panic!("{}: it ends in {last}", self.label),
            };
        let expected = if is_cut { (BodyEnd::Truncated, false) } else { (BodyEnd::Clean, true) };
        assert_eq!(
            (end, is_done),
            expected,
            "{}: only a whole completion has a clean end",
            self.label
        );
        let before: Option<Value> =
            self.data.first().map(|data| serde_json::from_str(data).unwrap());
        if before.is_some_and(|before| before["id"] != chunks[0]["id"]) {
            let said_something = |data: &String| {
                let chunk: Value = serde_json::from_str(data).unwrap_or_default();
                let delta = &chunk["choices"][0]["delta"];
                let has = |name: &str| delta[name].as_str().is_some_and(|text| !text.is_empty());
                has("content") || has("reasoning_content") || delta["tool_calls"].is_array()
            };
            assert!(
                !self.data.iter().any(said_something),
                "{}: an answer that was heard was made again",
                self.label
            );
            return CrashOutcome::Repeated;
        }
        assert!(
            data.starts_with(&self.data),
            "{}: {:?} was heard of {data:?}",
            self.label,
            self.data
        );
        CrashOutcome::Ended {
            ended: None,
            is_cut,
            recovered: data.len() - self.data.len(),
            kept: None,
        }
    }

    fn question(&self) -> Value {
        offering(&format!("How is the weather, {}?", self.label))
    }

    fn keyed(&self) -> Request {
        let request = if self.kind == CrashClientKind::KeyedChat {
            let messages = json!([{ "role": "user", "content": self.label }]);
            let tool = json!({ "type": "function", "function": { "name": "weather", "parameters": { "type": "object", "properties": {} } } });
            Request::post(
                "/v1/chat/completions",
                &json!({ "model": "m", "messages": messages, "stream": true, "tools": [tool] }),
            )
        } else {
            ask(&self.question())
        };
        request.header("idempotency-key", &self.label)
    }
}

/// A request whose response may call a tool.
pub(super) fn offering(input: &str) -> Value {
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object", "properties": {} } });
    with(question(input), &json!({ "tools": [tool] }))
}

/// A JSON response, unless the server is gone.
pub(super) async fn value(address: SocketAddr, request: &Request) -> Option<Value> {
    let mut response = soon(client::send(address, request)).await.ok()?.ok()?;
    let value = soon(client::json::value(&mut response)).await.ok()?.ok()?;
    assert_eq!(response.status, 200, "{} {}: {value}", request.method, request.path);
    Some(value)
}
