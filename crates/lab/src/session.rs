//! The connections of a client in one cell: opens them, keeps those that may be kept, and records
//! what was opened.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::RecvStream;
use tokio::time;

use super::plan::Version;
use client::http2::{self, chunk};
use client::soon;
use client::websocket::{self, Handshake};
use client::{Connection, ConnectionInfo, Endpoint, Request, Response};

/// The client's ports of the connections that some sessions opened.
#[derive(Clone, Debug, Default)]
pub struct OpenedPorts(Arc<Mutex<BTreeSet<u16>>>);

impl OpenedPorts {
    /// The ports so far.
    pub fn all(&self) -> BTreeSet<u16> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, port: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
    }
}

/// The connections of a client. Dropping it closes them.
pub struct Session {
    endpoint: Endpoint,
    version: Version,
    key: Option<String>,
    idle: Vec<Connection>,
    multiplexed: Option<http2::Client>,
    /// Every connection that was opened, in order.
    pub opened: Vec<ConnectionInfo>,
    /// The number of requests.
    pub requests: u64,
    ports: OpenedPorts,
}

/// A response whose head was read.
pub enum SessionResponse {
    /// HTTP/1, on a connection that it occupies until it ends.
    One(Box<Response>),
    /// A stream of HTTP/2.
    Two(Box<http::Response<RecvStream>>),
}

/// An open WebSocket.
pub enum SessionSocket {
    /// A connection of its own.
    One(Box<websocket::Socket>),
    /// A stream of HTTP/2.
    Two(Box<http2::Socket>),
}

impl Session {
    /// A client without connections, with this API key.
    pub fn new(endpoint: Endpoint, version: Version, key: Option<&str>) -> Self {
        let key = key.map(str::to_owned);
        Self {
            endpoint,
            version,
            key,
            idle: Vec::new(),
            multiplexed: None,
            opened: Vec::new(),
            requests: 0,
            ports: OpenedPorts::default(),
        }
    }

    /// Also records its connections in `ports`, so that their packets can be collected after the
    /// session is gone.
    #[must_use]
    pub fn recording(self, ports: &OpenedPorts) -> Self {
        Self { ports: ports.clone(), ..self }
    }

    /// A request with the server's prefix and the API key.
    pub fn prepared(&self, mut request: Request) -> Request {
        request.path.insert_str(0, &self.endpoint.prefix);
        match &self.key {
            Some(key) => request.bearer(key),
            None => request,
        }
    }

    /// Sends a request and waits for the head of its response.
    pub async fn send(&mut self, request: Request) -> Result<SessionResponse> {
        self.requests += 1;
        let request = self.prepared(request);
        if self.version == Version::Http2 {
            let response = self.http2().await?.send(&request).await?;
            return Ok(SessionResponse::Two(Box::new(response)));
        }
        let (connection, request) = self.connection(request).await?;
        Ok(SessionResponse::One(Box::new(connection.send(&request).await?)))
    }

    /// Sends a request and reads its response, which must have this status.
    pub async fn fetch(&mut self, request: Request, status: u16) -> Result<Bytes> {
        let path = request.path.clone();
        let mut answer = self.send(request).await?;
        let body = answer.body().await?;
        ensure!(
            answer.status() == status,
            "{path}: status {}: {}",
            answer.status(),
            String::from_utf8_lossy(&body)
        );
        self.end(answer).await?;
        Ok(body)
    }

    /// Sends a request and closes its connection by RST, or its stream by RST_STREAM: at once, or
    /// after some time without a response.
    pub async fn abandon(&mut self, request: Request, after: Option<Duration>) -> Result<()> {
        self.requests += 1;
        let request = self.prepared(request);
        if self.version == Version::Http2 {
            let mut response = self.http2().await?.start(&request).await?;
            if let Some(after) = after {
                ensure!(
                    time::timeout(after, &mut response).await.is_err(),
                    "it was answered before it could be cut"
                );
            }
            // h2 resets a stream whose response future is dropped.
            return Ok(());
        }
        let (mut connection, request) = self.connection(request).await?;
        connection.write(&request).await?;
        if let Some(after) = after {
            ensure!(
                time::timeout(after, connection.read_raw()).await.is_err(),
                "it was answered before it could be cut"
            );
        }
        Ok(connection.reset()?)
    }

    /// Sends requests without waiting in between, then waits for the heads of all responses.
    pub async fn send_together(&mut self, requests: Vec<Request>) -> Result<Vec<SessionResponse>> {
        self.requests += requests.len() as u64;
        let mut answers = Vec::new();
        if self.version == Version::Http2 {
            let requests: Vec<Request> =
                requests.into_iter().map(|request| self.prepared(request)).collect();
            let (client, mut begun) = (self.http2().await?, Vec::new());
            for request in &requests {
                begun.push(client.start(request).await?);
            }
            for response in begun {
                answers.push(SessionResponse::Two(Box::new(response.await?)));
            }
            return Ok(answers);
        }
        let mut written = Vec::new();
        for request in requests {
            let request = self.prepared(request);
            written.push(self.connection(request).await?);
        }
        for (connection, request) in &mut written {
            connection.write(request).await?;
        }
        for (connection, request) in written {
            answers.push(SessionResponse::One(Box::new(connection.read_response(&request).await?)));
        }
        Ok(answers)
    }

    /// Opens the connection of the next request. Returns the time that it took, about one round
    /// trip.
    pub async fn connect(&mut self) -> Result<Duration> {
        if self.version == Version::Http2 {
            self.http2().await?;
        } else {
            let connection = self.open().await?;
            self.idle.push(connection);
        }
        Ok(self.opened.last().context("no connection")?.connected)
    }

    /// A connection of HTTP/1 for a request, and the request for this version.
    async fn connection(&mut self, request: Request) -> Result<(Connection, Request)> {
        Ok(match self.version {
            Version::Http10 => (self.idle_or_new().await?, request.http_1_0()),
            Version::Http11Close => {
                (self.idle_or_new().await?, request.header("connection", "close"))
            }
            Version::Http11 | Version::Http2 => (self.idle_or_new().await?, request),
        })
    }

    async fn idle_or_new(&mut self) -> Result<Connection> {
        match self.idle.pop() {
            Some(connection) => Ok(connection),
            None => self.open().await,
        }
    }

    /// Takes back the connection of a response that was read completely: keeps it if the protocol
    /// does, otherwise closes it after the server.
    pub async fn end(&mut self, answer: SessionResponse) -> Result<()> {
        match answer {
            SessionResponse::One(response) if self.version == Version::Http11 => {
                self.idle.push(response.into_connection().await?);
            }
            SessionResponse::One(response) => soon(read_out(response.abandon())).await?,
            SessionResponse::Two(_) => {}
        }
        Ok(())
    }

    /// Opens a WebSocket.
    pub async fn socket(&mut self, path: &str) -> Result<SessionSocket> {
        self.requests += 1;
        let path = format!("{}{path}", self.endpoint.prefix);
        let bearer = self.key.as_ref().map(|key| format!("Bearer {key}"));
        let headers: Vec<(&str, &str)> =
            bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        if self.version == Version::Http2 {
            let socket = self.http2().await?.socket(&path, &headers).await?;
            return Ok(SessionSocket::Two(Box::new(socket)));
        }
        let connection = self.open().await?;
        match websocket::shake_hands(connection, &path, &headers).await? {
            Handshake::Open(connected) => Ok(SessionSocket::One(Box::new(connected.socket))),
            Handshake::Refused(response) => {
                anyhow::bail!("status {} instead of a socket at {path}", response.status)
            }
        }
    }

    /// The connection of HTTP/2, which is opened on first use.
    pub async fn http2(&mut self) -> Result<&http2::Client> {
        if self.multiplexed.is_none() {
            let scheme = if self.endpoint.encryption.is_some() { "https" } else { "http" };
            let opened = self.endpoint.connect().await?;
            self.ports.add(opened.info.local.port());
            self.opened.push(opened.info);
            self.multiplexed = Some(
                http2::Client::over(opened.stream)
                    .await?
                    .named(scheme, &self.endpoint.authority)
                    .timeout(self.endpoint.timeout),
            );
        }
        self.multiplexed.as_ref().context("it was opened above")
    }

    /// A connection of HTTP/1.
    pub async fn open(&mut self) -> Result<Connection> {
        let opened = self.endpoint.connect().await?;
        self.ports.add(opened.info.local.port());
        self.opened.push(opened.info.clone());
        Ok(opened.into_connection(&self.endpoint.authority))
    }

    /// The server's endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Closes the connections, the client first.
    pub async fn close(self) -> Result<(Vec<ConnectionInfo>, u64)> {
        for mut connection in self.idle {
            // It fails if the server has closed first.
            drop(connection.half_close().await);
            soon(read_out(connection)).await?;
        }
        if let Some(client) = self.multiplexed {
            client.close().await?;
        }
        Ok((self.opened, self.requests))
    }
}

/// Reads until the server's FIN, since a closed socket would reply to its data with RST.
async fn read_out(mut connection: Connection) {
    while connection.read_raw().await.is_ok_and(|bytes| !bytes.is_empty()) {}
}

impl SessionResponse {
    /// The status.
    pub fn status(&self) -> u16 {
        match self {
            Self::One(response) => response.status,
            Self::Two(response) => response.status().as_u16(),
        }
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::One(response) => response.headers.get(name),
            Self::Two(response) => {
                response.headers().get(name).and_then(|value| value.to_str().ok())
            }
        }
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// The body was cut.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::One(response) => match response.chunk().await? {
                Some(chunk) => Ok(Some(chunk)),
                None => match response.end().await? {
                    client::BodyEnd::Clean => Ok(None),
                    client::BodyEnd::Truncated => anyhow::bail!("the body was cut"),
                },
            },
            Self::Two(response) => Ok(chunk(response.body_mut()).await.transpose()?),
        }
    }

    /// The rest of the body.
    pub async fn body(&mut self) -> Result<Bytes> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Closes the connection by RST, or the stream by RST_STREAM.
    pub fn cut(self) -> Result<()> {
        match self {
            Self::One(response) => Ok(response.abandon().reset()?),
            // h2 resets a stream that is dropped before its end.
            Self::Two(_) => Ok(()),
        }
    }
}

impl SessionSocket {
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
            Self::One(socket) => socket
                .next_text()
                .await?
                .with_context(|| format!("the socket is over: {:?}", socket.end())),
            Self::Two(socket) => Ok(socket.next_text().await?),
        }
    }

    /// Closes in order: a close frame, the server's, and the end of the connection.
    pub async fn close(self) -> Result<()> {
        match self {
            Self::One(mut socket) => {
                socket.close(1000, "").await?;
                while socket.next().await?.is_some() {}
                // The server closes the connection first (RFC 6455, section 7.1.1).
                while soon(socket.connection().read_raw())
                    .await?
                    .is_ok_and(|bytes| !bytes.is_empty())
                {}
                Ok(())
            }
            Self::Two(mut socket) => {
                socket.close(1000, "").await?;
                while socket.next_text().await.is_ok() {}
                Ok(())
            }
        }
    }

    /// Closes the connection by RST, or the stream by RST_STREAM.
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
