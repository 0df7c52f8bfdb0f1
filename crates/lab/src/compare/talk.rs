//! One conversation in one cell: it asks, hears the answer in the cell's way, and notes when each piece came.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::plan::{Cell, Dialect, Transport, Version};
use super::session::{Answer, Session, Socket};
use crate::client::{Decoder, Found, Request};
use crate::runtime::now;

/// How long a poll waits for the next event, in seconds.
const WAIT: u32 = 20;

/// One question and its answer.
#[derive(Clone, Debug)]
pub struct Turn {
    /// When the question was about to be sent.
    pub asked: Instant,
    /// When the head of the answer was there; `None` on a socket.
    pub head: Option<Instant>,
    /// When each piece of text came.
    pub arrivals: Vec<Instant>,
    /// When the answer was over.
    pub ended: Instant,
    /// The text.
    pub text: String,
    /// Events of the stream, those without text included; none in a document.
    pub events: u64,
    /// The answer's id, where the dialect says it.
    pub id: Option<String>,
    /// The number of the last event, where the dialect has one.
    pub position: Option<u64>,
}

/// Whether an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It does.
    More,
    /// That was its end.
    End,
}

impl Turn {
    pub(super) fn begin() -> Self {
        let asked = now();
        Self { asked, head: None, arrivals: Vec::new(), ended: asked, text: String::new(), events: 0, id: None, position: None }
    }

    /// Takes one event of a stream.
    pub(super) fn hear(&mut self, dialect: Dialect, data: &[u8]) -> Result<Heard> {
        let at = now();
        self.ended = at;
        if data == b"[DONE]" {
            return Ok(Heard::End);
        }
        self.events += 1;
        let Ok(value) = serde_json::from_slice::<Value>(data) else { return Ok(Heard::More) };
        ensure!(value["error"].is_null() && value["type"] != "error", "the answer failed: {value}");
        if let Some(text) = text(dialect, &value) {
            self.text.push_str(text);
            self.arrivals.push(at);
        }
        self.id = value["response"]["id"].as_str().map(str::to_owned).or(self.id.take());
        self.position = value["sequence_number"].as_u64().or(self.position);
        match value["type"].as_str() {
            Some("response.completed" | "response.incomplete") => Ok(Heard::End),
            Some("response.failed") => bail!("the answer failed: {value}"),
            _ => Ok(Heard::More),
        }
    }

    /// The request for what comes behind the last event.
    pub(super) fn next_poll(&self) -> Result<Request> {
        let id = self.id.as_deref().context("an answer without an id")?;
        let after = self.position.map(|position| format!("&starting_after={position}")).unwrap_or_default();
        Ok(Request::get(&format!("/v1/responses/{id}/events?wait={WAIT}{after}")))
    }

    fn whole(&mut self, text: &str) {
        self.ended = now();
        self.arrivals.push(self.ended);
        self.text.push_str(text);
    }
}

/// The piece of text in an event.
pub fn text(dialect: Dialect, value: &Value) -> Option<&str> {
    let text = match dialect {
        Dialect::Responses => value["delta"].as_str().filter(|_| value["type"] == "response.output_text.delta"),
        Dialect::ChatCompletions => value.pointer("/choices/0/delta/content").and_then(Value::as_str),
        Dialect::Classic => value["content"].as_str(),
    };
    text.filter(|text| !text.is_empty())
}

/// A client in a conversation.
pub struct Talk {
    cell: Cell,
    model: String,
    /// Its connections.
    pub session: Session,
    socket: Option<Socket>,
    previous: Option<String>,
    messages: Vec<Value>,
    uid: String,
}

impl Talk {
    /// A new conversation; `uid` is what the classic API knows it by.
    pub fn new(cell: Cell, model: &str, session: Session, uid: String) -> Self {
        Self { cell, model: model.to_owned(), session, socket: None, previous: None, messages: Vec::new(), uid }
    }

    /// Asks and hears the whole answer.
    pub async fn ask(&mut self, question: &str) -> Result<Turn> {
        let turn = match self.cell.transport {
            Transport::Json => self.document(question).await?,
            Transport::LongPoll => self.polls(question).await?,
            Transport::Ndjson | Transport::Sse => {
                let mut streaming = self.stream(question).await?;
                while streaming.next().await? == Heard::More {}
                self.end(streaming).await?
            }
            Transport::Websocket => self.message(question).await?,
        };
        self.previous.clone_from(&turn.id);
        let said = [json!({ "role": "user", "content": question }), json!({ "role": "assistant", "content": turn.text })];
        self.messages.extend(said);
        Ok(turn)
    }

    /// Closes what is open.
    pub async fn close(mut self) -> Result<Session> {
        if let Some(socket) = self.socket.take() {
            socket.close().await?;
        }
        Ok(self.session)
    }

    async fn document(&mut self, question: &str) -> Result<Turn> {
        let request = self.request(question, false);
        let mut turn = Turn::begin();
        let mut answer = self.session.send(request).await?;
        turn.head = Some(now());
        let body = answer.body().await?;
        ensure!(answer.status() == 200, "status {}: {}", answer.status(), String::from_utf8_lossy(&body));
        let value: Value = serde_json::from_slice(&body)?;
        let text = match self.cell.dialect {
            Dialect::Responses => output_text(&value),
            Dialect::ChatCompletions | Dialect::Classic => {
                value.pointer("/choices/0/message/content").and_then(Value::as_str).map(str::to_owned)
            }
        };
        turn.id = value["id"].as_str().map(str::to_owned);
        turn.whole(&text.context("an answer without text")?);
        self.session.end(answer).await?;
        Ok(turn)
    }

    async fn polls(&mut self, question: &str) -> Result<Turn> {
        let mut turn = self.begin(question).await?;
        while self.poll(&mut turn).await? == Heard::More {}
        Ok(turn)
    }

    /// Asks in the background: the answer is there to be polled.
    pub async fn begin(&mut self, question: &str) -> Result<Turn> {
        let mut body = self.create(question);
        body["background"] = true.into();
        let mut turn = Turn::begin();
        let begun: Value = serde_json::from_slice(&self.session.fetch(Request::post("/v1/responses", &body), 200).await?)?;
        turn.head = Some(now());
        turn.id = Some(begun["id"].as_str().context("an answer without an id")?.to_owned());
        Ok(turn)
    }

    /// Waits for the next events of an answer, and takes them.
    pub async fn poll(&mut self, turn: &mut Turn) -> Result<Heard> {
        let list: Value = serde_json::from_slice(&self.session.fetch(turn.next_poll()?, 200).await?)?;
        for event in list["data"].as_array().into_iter().flatten() {
            turn.hear(self.cell.dialect, event.to_string().as_bytes())?;
        }
        Ok(if list["ended"] == true { Heard::End } else { Heard::More })
    }

    /// Asks for a stream; gives it with its head read.
    pub async fn stream(&mut self, question: &str) -> Result<Streaming> {
        let mut turn = Turn::begin();
        let answer = match self.cell.dialect {
            Dialect::Responses | Dialect::ChatCompletions => self.session.send(self.request(question, true)).await?,
            Dialect::Classic => {
                let answer = self.session.send(Request::get("/createSse").header("uid", &self.uid)).await?;
                let request = Request::post("/chat", &json!({ "msg": question })).header("uid", &self.uid);
                self.session.fetch(request, 200).await?;
                answer
            }
        };
        turn.head = Some(now());
        Streaming::new(answer, turn, self.cell.dialect)
    }

    /// The turn of a stream that was read to its end.
    pub async fn end(&mut self, streaming: Streaming) -> Result<Turn> {
        let Streaming { mut answer, turn, .. } = streaming;
        while answer.chunk().await?.is_some() {}
        self.session.end(answer).await?;
        Ok(turn)
    }

    async fn message(&mut self, question: &str) -> Result<Turn> {
        let mut turn = Turn::begin();
        self.say(question).await?;
        let socket = self.socket.as_mut().context("it was opened above")?;
        while turn.hear(self.cell.dialect, socket.next_text().await?.as_bytes())? == Heard::More {}
        if self.cell.version == Version::Http11Close
            && let Some(socket) = self.socket.take()
        {
            socket.close().await?;
        }
        Ok(turn)
    }

    /// Asks on a socket, which is opened when there is none.
    pub async fn say(&mut self, question: &str) -> Result<&mut Socket> {
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

    /// The socket, to be cut.
    pub fn take_socket(&mut self) -> Option<Socket> {
        self.socket.take()
    }

    fn create(&self, question: &str) -> Value {
        let mut body = json!({ "model": self.model, "input": question });
        if let Some(previous) = &self.previous {
            body["previous_response_id"] = previous.as_str().into();
        }
        body
    }

    /// The request of a question that is not classic.
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
        // What is measured is the transport: its head is not to wait for the model.
        if is_stream { request.header("prefer", "wait=0") } else { request }
    }
}

/// The text of a whole response.
fn output_text(response: &Value) -> Option<String> {
    let items = response["output"].as_array()?;
    let parts = items.iter().filter_map(|item| item["content"].as_array()).flatten();
    Some(parts.filter_map(|part| part["text"].as_str()).collect())
}

/// A stream that is being heard.
pub struct Streaming {
    answer: Answer,
    decoder: Decoder,
    dialect: Dialect,
    /// What was heard so far.
    pub turn: Turn,
}

impl Streaming {
    pub(super) fn new(answer: Answer, turn: Turn, dialect: Dialect) -> Result<Self> {
        let media_type = answer.header("content-type").unwrap_or_default();
        ensure!(answer.status() == 200, "status {}", answer.status());
        let decoder = Decoder::of(media_type).with_context(|| format!("{media_type} is no stream of events"))?;
        Ok(Self { answer, decoder, dialect, turn })
    }

    /// Hears the next event. The end of the body is the end of an answer that had one before, or of one that says nothing of it.
    pub async fn next(&mut self) -> Result<Heard> {
        loop {
            match self.decoder.next_event()? {
                Some(Found::Event { data, .. }) => return self.turn.hear(self.dialect, &data),
                Some(Found::Heartbeat) => {}
                None => match self.answer.chunk().await? {
                    Some(bytes) => self.decoder.push(&bytes),
                    None => return Ok(Heard::End),
                },
            }
        }
    }

    /// Cuts it in the middle.
    pub fn cut(self) -> Result<Turn> {
        self.answer.cut()?;
        Ok(self.turn)
    }
}
