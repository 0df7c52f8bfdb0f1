//! One conversation in one cell: asks on the cell's transport, and records when each piece of the
//! answer arrives.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::plan::{Cell, Dialect, Transport, Version};
use super::session::{Session, SessionResponse, SessionSocket};
use client::now;
use client::{Decoder, Request, StreamItem};

/// How long a poll waits for the next event, in seconds.
const WAIT_SECONDS: u32 = 20;

/// One question and its answer.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Just before the question was sent.
    pub asked: Instant,
    /// When the head of the response was read; `None` on a socket.
    pub head: Option<Instant>,
    /// When each piece of text arrived.
    pub arrivals: Vec<Instant>,
    /// When the answer ended.
    pub ended: Instant,
    /// The text.
    pub text: String,
    /// Events of the stream, including those without text; none for a document.
    pub events: u64,
    /// The answer's id, if the dialect has one.
    pub id: Option<String>,
    /// The position of the last event, if the dialect has one.
    pub position: Option<u64>,
    /// Whether the end of the body was there as soon as the event that ended the answer was read.
    /// Only known in the classic API.
    pub ends_with_body: bool,
}

/// Whether an answer continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More events follow.
    More,
    /// The answer has ended.
    End,
}

impl Turn {
    pub(super) fn start() -> Self {
        let asked = now();
        Self {
            asked,
            head: None,
            arrivals: Vec::new(),
            ended: asked,
            text: String::new(),
            events: 0,
            id: None,
            position: None,
            ends_with_body: false,
        }
    }

    /// Applies one event of a stream.
    pub(super) fn apply(&mut self, dialect: Dialect, data: &[u8]) -> Result<Progress> {
        let at = now();
        self.ended = at;
        if data == b"[DONE]" {
            return Ok(Progress::End);
        }
        self.events += 1;
        let Ok(value) = serde_json::from_slice::<Value>(data) else { return Ok(Progress::More) };
        ensure!(value["error"].is_null() && value["type"] != "error", "the answer failed: {value}");
        if let Some(text) = text(dialect, &value) {
            self.text.push_str(text);
            self.arrivals.push(at);
        }
        self.id = value["response"]["id"].as_str().map(str::to_owned).or(self.id.take());
        self.position = value["sequence_number"].as_u64().or(self.position);
        match value["type"].as_str() {
            Some("response.completed" | "response.incomplete") => Ok(Progress::End),
            Some("response.failed") => bail!("the answer failed: {value}"),
            _ => Ok(Progress::More),
        }
    }

    /// The request for the events after the last one.
    pub(super) fn next_poll(&self) -> Result<Request> {
        let id = self.id.as_deref().context("an answer without an id")?;
        let after =
            self.position.map(|position| format!("&starting_after={position}")).unwrap_or_default();
        Ok(Request::get(&format!("/v1/responses/{id}/events?wait={WAIT_SECONDS}{after}")))
    }

    fn finish_with(&mut self, text: &str) {
        self.ended = now();
        self.arrivals.push(self.ended);
        self.text.push_str(text);
    }
}

/// The piece of text in an event, if any.
pub fn text(dialect: Dialect, value: &Value) -> Option<&str> {
    let text = match dialect {
        Dialect::Responses => {
            value["delta"].as_str().filter(|_| value["type"] == "response.output_text.delta")
        }
        Dialect::ChatCompletions => {
            value.pointer("/choices/0/delta/content").and_then(Value::as_str)
        }
        Dialect::Classic => value["content"].as_str(),
    };
    text.filter(|text| !text.is_empty())
}

/// A client that holds a conversation.
pub struct ConversationClient {
    cell: Cell,
    model: String,
    /// Its connections.
    pub session: Session,
    socket: Option<SessionSocket>,
    previous: Option<String>,
    messages: Vec<Value>,
    uid: String,
}

impl ConversationClient {
    /// A new conversation; `uid` identifies it in the classic API.
    pub fn new(cell: Cell, model: &str, session: Session, uid: String) -> Self {
        Self {
            cell,
            model: model.to_owned(),
            session,
            socket: None,
            previous: None,
            messages: Vec::new(),
            uid,
        }
    }

    /// Asks, and receives the complete answer.
    pub async fn ask(&mut self, question: &str) -> Result<Turn> {
        let turn = match self.cell.transport {
            Transport::Json => self.document(question).await?,
            Transport::LongPoll => self.polls(question).await?,
            Transport::Ndjson | Transport::Sse => {
                let mut streaming = self.stream(question).await?;
                while streaming.next().await? == Progress::More {}
                self.end(streaming).await?
            }
            Transport::Websocket => self.message(question).await?,
        };
        self.previous.clone_from(&turn.id);
        let messages = [
            json!({ "role": "user", "content": question }),
            json!({ "role": "assistant", "content": turn.text }),
        ];
        self.messages.extend(messages);
        Ok(turn)
    }

    /// Closes the open socket.
    pub async fn close(mut self) -> Result<Session> {
        if let Some(socket) = self.socket.take() {
            socket.close().await?;
        }
        Ok(self.session)
    }

    async fn document(&mut self, question: &str) -> Result<Turn> {
        let request = self.request(question, false);
        let mut turn = Turn::start();
        let mut answer = self.session.send(request).await?;
        turn.head = Some(now());
        let body = answer.body().await?;
        ensure!(
            answer.status() == 200,
            "status {}: {}",
            answer.status(),
            String::from_utf8_lossy(&body)
        );
        let value: Value = serde_json::from_slice(&body)?;
        let text = match self.cell.dialect {
            Dialect::Responses => output_text(&value),
            Dialect::ChatCompletions | Dialect::Classic => value
                .pointer("/choices/0/message/content")
                .and_then(Value::as_str)
                .map(str::to_owned),
        };
        turn.id = value["id"].as_str().map(str::to_owned);
        turn.finish_with(&text.context("an answer without text")?);
        self.session.end(answer).await?;
        Ok(turn)
    }

    async fn polls(&mut self, question: &str) -> Result<Turn> {
        let mut turn = self.start_background(question).await?;
        while self.poll(&mut turn).await? == Progress::More {}
        Ok(turn)
    }

    /// Starts an answer in the background, for polling.
    pub async fn start_background(&mut self, question: &str) -> Result<Turn> {
        let mut body = self.create(question);
        body["background"] = true.into();
        let mut turn = Turn::start();
        let begun: Value = serde_json::from_slice(
            &self.session.fetch(Request::post("/v1/responses", &body), 200).await?,
        )?;
        turn.head = Some(now());
        turn.id = Some(begun["id"].as_str().context("an answer without an id")?.to_owned());
        Ok(turn)
    }

    /// Waits for the next events of an answer, and applies them.
    pub async fn poll(&mut self, turn: &mut Turn) -> Result<Progress> {
        let list: Value =
            serde_json::from_slice(&self.session.fetch(turn.next_poll()?, 200).await?)?;
        for event in list["data"].as_array().into_iter().flatten() {
            turn.apply(self.cell.dialect, event.to_string().as_bytes())?;
        }
        Ok(if list["ended"] == true { Progress::End } else { Progress::More })
    }

    /// Starts a stream, and reads its head.
    pub async fn stream(&mut self, question: &str) -> Result<Streaming> {
        let mut turn = Turn::start();
        let answer = match self.cell.dialect {
            Dialect::Responses | Dialect::ChatCompletions => {
                self.session.send(self.request(question, true)).await?
            }
            Dialect::Classic => {
                let answer =
                    self.session.send(Request::get("/createSse").header("uid", &self.uid)).await?;
                let request =
                    Request::post("/chat", &json!({ "msg": question })).header("uid", &self.uid);
                self.session.fetch(request, 200).await?;
                answer
            }
        };
        turn.head = Some(now());
        Streaming::new(answer, turn, self.cell.dialect)
    }

    /// Ends a stream whose answer has ended, and returns its turn.
    pub async fn end(&mut self, streaming: Streaming) -> Result<Turn> {
        let Streaming { mut answer, mut turn, dialect, .. } = streaming;
        if dialect == Dialect::Classic {
            let rest = tokio::time::timeout(Duration::ZERO, answer.chunk()).await;
            turn.ends_with_body = matches!(rest, Ok(Ok(None)));
        }
        while answer.chunk().await?.is_some() {}
        self.session.end(answer).await?;
        Ok(turn)
    }

    async fn message(&mut self, question: &str) -> Result<Turn> {
        let mut turn = Turn::start();
        self.send_message(question).await?;
        let socket = self.socket.as_mut().context("it was opened above")?;
        while turn.apply(self.cell.dialect, socket.next_text().await?.as_bytes())? == Progress::More
        {
        }
        if self.cell.version == Version::Http11Close
            && let Some(socket) = self.socket.take()
        {
            socket.close().await?;
        }
        Ok(turn)
    }

    /// Asks on the socket, which is opened if there is none.
    pub async fn send_message(&mut self, question: &str) -> Result<&mut SessionSocket> {
        let message = match self.cell.dialect {
            Dialect::Classic => question.to_owned(),
            Dialect::Responses | Dialect::ChatCompletions => {
                let mut message = self.create(question);
                message["type"] = "response.create".into();
                message.to_string()
            }
        };
        let path = match self.cell.dialect {
            Dialect::Classic => format!("/websocket/{}", self.uid),
            Dialect::Responses | Dialect::ChatCompletions => "/v1/responses".to_owned(),
        };
        if self.socket.is_none() {
            self.socket = Some(self.session.socket(&path).await?);
        }
        let socket = self.socket.as_mut().context("it was opened above")?;
        socket.send_text(&message).await?;
        Ok(socket)
    }

    /// Takes the socket, to cut it.
    pub fn take_socket(&mut self) -> Option<SessionSocket> {
        self.socket.take()
    }

    fn create(&self, question: &str) -> Value {
        let mut body = json!({ "model": self.model, "input": question });
        if let Some(previous) = &self.previous {
            body["previous_response_id"] = previous.as_str().into();
        }
        body
    }

    /// The request for a question, except in the classic API.
    pub fn request(&self, question: &str, is_stream: bool) -> Request {
        let accept = match self.cell.transport {
            Transport::Ndjson => "application/x-ndjson",
            Transport::Sse => "text/event-stream",
            Transport::Json | Transport::LongPoll | Transport::Websocket => "application/json",
        };
        let (path, mut body) = match self.cell.dialect {
            Dialect::Responses | Dialect::Classic => ("/v1/responses", self.create(question)),
            Dialect::ChatCompletions => {
                let mut messages = self.messages.clone();
                messages.push(json!({ "role": "user", "content": question }));
                ("/v1/chat/completions", json!({ "model": self.model, "messages": messages }))
            }
        };
        if is_stream {
            body["stream"] = true.into();
        }
        let request = Request::post(path, &body).header("accept", accept);
        // The transport is measured, so its head must not wait for the model.
        if is_stream { request.header("prefer", "wait=0") } else { request }
    }
}

/// The text of a complete response.
fn output_text(response: &Value) -> Option<String> {
    let items = response["output"].as_array()?;
    let parts = items.iter().filter_map(|item| item["content"].as_array()).flatten();
    Some(parts.filter_map(|part| part["text"].as_str()).collect())
}

/// A running stream.
pub struct Streaming {
    answer: SessionResponse,
    decoder: Decoder,
    dialect: Dialect,
    /// The answer so far.
    pub turn: Turn,
}

impl Streaming {
    pub(super) fn new(answer: SessionResponse, turn: Turn, dialect: Dialect) -> Result<Self> {
        let media_type = answer.header("content-type").unwrap_or_default();
        ensure!(answer.status() == 200, "status {}", answer.status());
        let decoder = Decoder::of(media_type)
            .with_context(|| format!("{media_type} is no stream of events"))?;
        Ok(Self { answer, decoder, dialect, turn })
    }

    /// Applies the next event. The end of the body ends the answer if no event did.
    pub async fn next(&mut self) -> Result<Progress> {
        loop {
            match self.decoder.next_event()? {
                Some(StreamItem::Event { data, .. }) => {
                    return self.turn.apply(self.dialect, &data);
                }
                Some(StreamItem::Heartbeat) => {}
                None => match self.answer.chunk().await? {
                    Some(bytes) => self.decoder.push(&bytes),
                    None => return Ok(Progress::End),
                },
            }
        }
    }

    /// Sends FIN: the client will send no more on this connection of HTTP/1.
    pub(crate) async fn half_close(&mut self) -> Result<()> {
        match &mut self.answer {
            SessionResponse::One(response) => Ok(response.connection().half_close().await?),
            SessionResponse::Two(_) => bail!("a stream of HTTP/2 has no connection of its own"),
        }
    }

    /// Reads the rest of the body.
    pub(crate) async fn read_out(mut self) -> Result<()> {
        while self.answer.chunk().await?.is_some() {}
        Ok(())
    }

    /// Cuts the stream in the middle.
    pub fn cut(self) -> Result<Turn> {
        self.answer.cut()?;
        Ok(self.turn)
    }
}
