//! A client's way to the server in one cell: it opens connections, keeps those that may be kept, and remembers what it opened.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::RecvStream;
use tokio::time::timeout;

use super::plan::Version;
use crate::client::http2::{self, chunk};
use crate::client::websocket::{self, Handshake};
use crate::client::{Connection, Dial, Opened, Request, Response};
use crate::runtime::soon;

/// A client. Connections that it holds are closed when it is dropped.
pub struct Session {
    dial: Dial,
    version: Version,
    key: Option<String>,
    idle: Vec<Connection>,
    multiplexed: Option<http2::Client>,
    /// Every connection that was opened, in order.
    pub opened: Vec<Opened>,
    /// How many requests were sent.
    pub requests: u64,
}

/// An answer whose head is there.
pub enum Answer {
    /// Of HTTP/1, on a connection that is its own for as long as it lasts.
    One(Box<Response>),
    /// A stream of HTTP/2.
    Two(Box<http::Response<RecvStream>>),
}

/// An open WebSocket.
pub enum Socket {
    /// A connection of its own.
    One(Box<websocket::Socket>),
    /// A stream of HTTP/2.
    Two(Box<http2::Socket>),
}

impl Session {
    /// A client that has not opened anything, and shows this key.
    pub fn new(dial: Dial, version: Version, key: Option<&str>) -> Self {
        let key = key.map(str::to_owned);
        Self { dial, version, key, idle: Vec::new(), multiplexed: None, opened: Vec::new(), requests: 0 }
    }

    /// A request below the server's prefix, with the key.
    pub fn dressed(&self, mut request: Request) -> Request {
        request.path.insert_str(0, &self.dial.prefix);
        match &self.key {
            Some(key) => request.bearer(key),
            None => request,
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(&mut self, request: Request) -> Result<Answer> {
        self.requests += 1;
        let request = self.dressed(request);
        if self.version == Version::Http2 {
            let response = self.multiplexed().await?.send(&request).await?;
            return Ok(Answer::Two(Box::new(response)));
        }
        let (connection, request) = self.connection(request).await?;
        Ok(Answer::One(Box::new(connection.send(&request).await?)))
    }

    /// Sends a request and reads its answer, which must be of this status.
    pub async fn fetch(&mut self, request: Request, status: u16) -> Result<Bytes> {
        let path = request.path.clone();
        let mut answer = self.send(request).await?;
        let body = answer.body().await?;
        ensure!(answer.status() == status, "{path}: status {}: {}", answer.status(), String::from_utf8_lossy(&body));
        self.end(answer).await?;
        Ok(body)
    }

    /// Sends a request, and cuts it by RST, or its stream by RST_STREAM: at once, or after some time, in which it must not be
    /// answered.
    pub async fn abandon(&mut self, request: Request, after: Option<Duration>) -> Result<()> {
        self.requests += 1;
        let request = self.dressed(request);
        if self.version == Version::Http2 {
            let mut response = self.multiplexed().await?.begin(&request).await?;
            if let Some(after) = after {
                ensure!(timeout(after, &mut response).await.is_err(), "it was answered before it could be cut");
            }
            // h2 resets a stream whose answer nobody waits for.
            return Ok(());
        }
        let (mut connection, request) = self.connection(request).await?;
        connection.write(&request).await?;
        if let Some(after) = after {
            ensure!(timeout(after, connection.read_raw()).await.is_err(), "it was answered before it could be cut");
        }
        Ok(connection.reset()?)
    }

    /// Sends requests without waiting for answers in between, and then waits for the heads of all.
    pub async fn send_together(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>> {
        self.requests += requests.len() as u64;
        let mut answers = Vec::new();
        if self.version == Version::Http2 {
            let requests: Vec<Request> = requests.into_iter().map(|request| self.dressed(request)).collect();
            let (client, mut begun) = (self.multiplexed().await?, Vec::new());
            for request in &requests {
                begun.push(client.begin(request).await?);
            }
            for response in begun {
                answers.push(Answer::Two(Box::new(response.await?)));
            }
            return Ok(answers);
        }
        let mut written = Vec::new();
        for request in requests {
            let request = self.dressed(request);
            written.push(self.connection(request).await?);
        }
        for (connection, request) in &mut written {
            connection.write(request).await?;
        }
        for (connection, request) in written {
            answers.push(Answer::One(Box::new(connection.read_response(&request).await?)));
        }
        Ok(answers)
    }

    /// Opens what the next request will use, and says how long a round trip takes, about.
    pub async fn warm(&mut self) -> Result<Duration> {
        if self.version == Version::Http2 {
            self.multiplexed().await?;
        } else {
            let connection = self.open().await?;
            self.idle.push(connection);
        }
        Ok(self.opened.last().context("no connection")?.connected)
    }

    /// A connection of HTTP/1 for a request, and the request as this version has it.
    async fn connection(&mut self, request: Request) -> Result<(Connection, Request)> {
        Ok(match self.version {
            Version::Http10 => (self.idle_or_new().await?, request.http_1_0()),
            Version::Http11Close => (self.idle_or_new().await?, request.header("connection", "close")),
            Version::Http11 | Version::Http2 => (self.idle_or_new().await?, request),
        })
    }

    async fn idle_or_new(&mut self) -> Result<Connection> {
        match self.idle.pop() {
            Some(connection) => Ok(connection),
            None => self.open().await,
        }
    }

    /// Takes back the connection of an answer that was read to its end: it is kept where the protocol keeps it, and else
    /// closed after the server.
    pub async fn end(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::One(response) if self.version == Version::Http11 => self.idle.push(response.into_connection().await?),
            Answer::One(response) => soon(read_out(response.abandon())).await?,
            Answer::Two(_) => {}
        }
        Ok(())
    }

    /// Opens a WebSocket.
    pub async fn socket(&mut self, path: &str) -> Result<Socket> {
        self.requests += 1;
        let path = format!("{}{path}", self.dial.prefix);
        let bearer = self.key.as_ref().map(|key| format!("Bearer {key}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        if self.version == Version::Http2 {
            let socket = self.multiplexed().await?.socket(&path, &headers).await?;
            return Ok(Socket::Two(Box::new(socket)));
        }
        let connection = self.open().await?;
        match websocket::shake_hands(connection, &path, &headers).await? {
            Handshake::Open(connected) => Ok(Socket::One(Box::new(connected.socket))),
            Handshake::Refused(response) => anyhow::bail!("status {} instead of a socket at {path}", response.status),
        }
    }

    /// The connection of HTTP/2, which is opened when it is first asked for.
    pub async fn multiplexed(&mut self) -> Result<&http2::Client> {
        if self.multiplexed.is_none() {
            let scheme = if self.dial.encryption.is_some() { "https" } else { "http" };
            let dialled = self.dial.open().await?;
            self.opened.push(dialled.facts);
            self.multiplexed =
                Some(http2::Client::over(dialled.line).await?.named(scheme, &self.dial.authority).patient(self.dial.patience));
        }
        self.multiplexed.as_ref().context("it was opened above")
    }

    /// A connection of HTTP/1.
    pub async fn open(&mut self) -> Result<Connection> {
        let dialled = self.dial.open().await?;
        self.opened.push(dialled.facts.clone());
        Ok(dialled.into_connection(&self.dial.authority))
    }

    /// Where it leads.
    pub fn dial(&self) -> &Dial {
        &self.dial
    }

    /// Closes what is open, the client first.
    pub async fn close(self) -> Result<(Vec<Opened>, u64)> {
        for mut connection in self.idle {
            // The server may have been first.
            drop(connection.half_close().await);
            soon(read_out(connection)).await?;
        }
        if let Some(client) = self.multiplexed {
            client.close().await?;
        }
        Ok((self.opened, self.requests))
    }
}

/// Reads to the server's end, so that nothing of it meets a socket that is closed, which would answer by RST.
async fn read_out(mut connection: Connection) {
    while connection.read_raw().await.is_ok_and(|bytes| !bytes.is_empty()) {}
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        match self {
            Self::One(response) => response.status,
            Self::Two(response) => response.status().as_u16(),
        }
    }

    /// A field of the head.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::One(response) => response.headers.get(name),
            Self::Two(response) => response.headers().get(name).and_then(|value| value.to_str().ok()),
        }
    }

    /// The next bytes of the body; `None` at an end that is clean, and an error at any other.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::One(response) => match response.chunk().await? {
                Some(chunk) => Ok(Some(chunk)),
                None => match response.end().await? {
                    crate::client::BodyEnd::Clean => Ok(None),
                    crate::client::BodyEnd::Truncated => anyhow::bail!("the body was cut"),
                },
            },
            Self::Two(response) => Ok(chunk(response.body_mut()).await.transpose()?),
        }
    }

    /// All of the body that is left.
    pub async fn body(&mut self) -> Result<Bytes> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Cuts it: the connection by RST, or the stream by RST_STREAM.
    pub fn cut(self) -> Result<()> {
        match self {
            Self::One(response) => Ok(response.abandon().reset()?),
            // h2 resets a stream that is dropped before its end.
            Self::Two(_) => Ok(()),
        }
    }
}

impl Socket {
    /// Sends a text message.
    pub async fn send_text(&mut self, text: &str) -> Result<()> {
        match self {
            Self::One(socket) => socket.send_text(text).await,
            Self::Two(socket) => socket.send_text(text).await,
        }
    }

    /// The next text message.
    pub async fn next_text(&mut self) -> Result<String> {
        match self {
            Self::One(socket) => socket.next_text().await?.with_context(|| format!("the socket is over: {:?}", socket.end())),
            Self::Two(socket) => Ok(socket.next_text().await?),
        }
    }

    /// Closes in order: a close frame, the server's, and the end.
    pub async fn close(self) -> Result<()> {
        match self {
            Self::One(mut socket) => {
                socket.close(1000, "").await?;
                while socket.next().await?.is_some() {}
                // The server is to hang up first (RFC 6455, section 7.1.1).
                while soon(socket.connection().read_raw()).await?.is_ok_and(|bytes| !bytes.is_empty()) {}
                Ok(())
            }
            Self::Two(mut socket) => {
                socket.close(1000, "").await?;
                while socket.next_text().await.is_ok() {}
                Ok(())
            }
        }
    }

    /// Cuts it.
    pub fn cut(self) -> Result<()> {
        match self {
            Self::One(socket) => Ok(socket.reset()?),
            Self::Two(socket) => {
                socket.reset();
                Ok(())
            }
        }
    }
}
