//! A WebSocket over HTTP/1.1: the handshake, every message and control frame as it arrives, and
//! every way to close.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Bytes, BytesMut};
use codec::websocket::decode::{IncomingMessage, WebSocketDecoder, WebSocketLimits};
use codec::websocket::deflate::Agreement;
use codec::websocket::encode::{self, WebSocketFrameHead};
use codec::websocket::{CloseCode, Opcode, WebSocketRole, handshake};

use crate::connection::Connection;
use crate::http1::Headers;
use crate::request::Request;
use crate::response::Response;
use crate::runtime::now;
use crate::stream::MAX_EVENT_BYTES;

const LIMITS: WebSocketLimits =
    WebSocketLimits { frame_bytes: MAX_EVENT_BYTES, message_bytes: MAX_EVENT_BYTES };

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// A ping; the pong was already sent if the replies are [`ControlReplies::Automatic`].
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
}

/// How the server's side ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By a close frame.
    Closed {
        /// The code, if any.
        code: Option<u16>,
        /// The reason; may be empty.
        reason: String,
    },
    /// Without a close frame: by FIN (`None`) or by an error, [`io::ErrorKind::ConnectionReset`]
    /// for RST.
    Cut(Option<io::ErrorKind>),
}

/// Whether pings and close frames are replied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlReplies {
    /// Automatically, as in a browser.
    Automatic,
    /// Only by the caller: a client that is silent or broken.
    None,
}

/// An open socket, and the head of the response that opened it.
#[derive(Debug)]
pub struct Connected {
    /// The socket.
    pub socket: Socket,
    /// The status: 101.
    pub status: u16,
    /// The header fields of the response.
    pub headers: Headers,
}

/// The outcome of a handshake.
#[derive(Debug)]
pub enum Handshake {
    /// The socket is open.
    Open(Box<Connected>),
    /// The server sent another response.
    Refused(Box<Response>),
}

/// Opens a socket. `headers` follow those of the handshake and replace those of the same name.
///
/// # Errors
/// The server cannot be reached, or refuses: the error contains its response.
pub async fn connect(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Connected> {
    match shake_hands(Connection::open(address).await?, path, headers).await? {
        Handshake::Open(connected) => Ok(*connected),
        Handshake::Refused(mut response) => {
            let (body, _) = response.collect().await?;
            bail!("status {}: {}", response.status, String::from_utf8_lossy(&body))
        }
    }
}

/// Performs the handshake (RFC 6455, section 4.1) on an open connection.
pub async fn shake_hands(
    connection: Connection,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Handshake> {
    let key = handshake::key(random()?);
    let mut request = Request::get(path);
    let defaults = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", handshake::VERSION),
        ("sec-websocket-key", key.as_str()),
    ];
    let is_replaced =
        |name: &str| headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
    for (name, value) in
        defaults.into_iter().filter(|(name, _)| !is_replaced(name)).chain(headers.iter().copied())
    {
        request = request.header(name, value);
    }
    let response = connection.send(&request).await?;
    if response.status != 101 {
        return Ok(Handshake::Refused(Box::new(response)));
    }
    let (status, headers) = (response.status, response.headers.clone());
    ensure!(
        headers.has_token("connection", "upgrade"),
        "the response has no 'Connection: Upgrade'"
    );
    ensure!(headers.has_token("upgrade", "websocket"), "the response has no 'Upgrade: websocket'");
    let sent =
        request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let accepted = sent.map(|(_, key)| handshake::accept_key(key));
    ensure!(
        headers.get("sec-websocket-accept") == accepted.as_deref(),
        "the response accepts another key"
    );
    let extensions = headers.all("sec-websocket-extensions").collect::<Vec<_>>().join(", ");
    let mut decoder = WebSocketDecoder::new(WebSocketRole::Client, LIMITS);
    if !extensions.is_empty() {
        ensure!(
            request.has("sec-websocket-extensions"),
            "the response uses an extension that was not offered: {extensions}"
        );
        let agreement = Agreement::read(&extensions)
            .with_context(|| format!("an unknown extension: {extensions}"))?;
        decoder = decoder.with_inflate(agreement.client_inflate());
    }
    Ok(Handshake::Open(Box::new(Connected {
        socket: Socket::over(response.abandon(), decoder),
        status,
        headers,
    })))
}

/// A socket after its handshake. Dropping it closes the connection without a close frame. A caller
/// that does not call [`Self::next`] is a reader that stalls.
#[derive(Debug)]
pub struct Socket {
    connection: Connection,
    decoder: WebSocketDecoder,
    replies: ControlReplies,
    is_close_sent: bool,
    end: Option<End>,
    arrived: Instant,
}

impl Socket {
    fn over(mut connection: Connection, mut decoder: WebSocketDecoder) -> Self {
        decoder.push(&connection.buffer.split());
        Self {
            connection,
            decoder,
            replies: ControlReplies::Automatic,
            is_close_sent: false,
            end: None,
            arrived: now(),
        }
    }

    /// Sets whether pings and close frames are replied to; [`ControlReplies::Automatic`] at first.
    pub fn set_replies(&mut self, replies: ControlReplies) {
        self.replies = replies;
    }

    /// Sends a text message.
    pub async fn send_text(&mut self, text: &str) -> Result<()> {
        self.send_frame(WebSocketFrameHead::whole(Opcode::Text), text.as_bytes()).await
    }

    /// Sends a text message with one frame for each piece; a character may be split.
    pub async fn send_fragmented(&mut self, pieces: &[&[u8]]) -> Result<()> {
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
            self.send_frame(
                WebSocketFrameHead { fin: index + 1 == pieces.len(), rsv1: false, opcode },
                piece,
            )
            .await?;
        }
        Ok(())
    }

    /// Sends a ping.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<()> {
        self.send_frame(WebSocketFrameHead::whole(Opcode::Ping), payload).await
    }

    /// Sends a close frame. Later messages and the server's close frame come from [`Self::next`].
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<()> {
        let code = CloseCode::new(code).with_context(|| format!("{code} must not be sent"))?;
        self.send_close(&encode::close_payload(code, reason)).await
    }

    /// Sends one frame, valid or not, with a random mask.
    pub async fn send_frame(&mut self, head: WebSocketFrameHead, payload: &[u8]) -> Result<()> {
        let mut frame = BytesMut::new();
        encode::client_frame(&mut frame, head, random()?, payload);
        self.send_raw(&frame).await
    }

    /// Writes bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.connection.write_raw(bytes).await.context("writing to the socket")
    }

    /// The next message; `None` at the end (see [`Self::end`]).
    ///
    /// # Errors
    /// A violation of the protocol.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        while self.end.is_none() {
            match self.decoder.next_message().transpose()? {
                Some(IncomingMessage::Text(text)) => return Ok(Some(Message::Text(text))),
                Some(IncomingMessage::Binary(bytes)) => return Ok(Some(Message::Binary(bytes))),
                Some(IncomingMessage::Pong(payload)) => return Ok(Some(Message::Pong(payload))),
                Some(IncomingMessage::Ping(payload)) => {
                    if self.replies == ControlReplies::Automatic && !self.is_close_sent {
                        self.reply(Opcode::Pong, &payload).await;
                    }
                    return Ok(Some(Message::Ping(payload)));
                }
                Some(IncomingMessage::Close(code, reason)) => {
                    self.end = Some(End::Closed { code: code.map(CloseCode::get), reason });
                    if self.replies == ControlReplies::Automatic && !self.is_close_sent {
                        self.is_close_sent = true;
                        let payload =
                            code.map(|code| encode::close_payload(code, "")).unwrap_or_default();
                        self.reply(Opcode::Close, &payload).await;
                    }
                }
                None => {
                    match self.connection.read_raw().await {
                        Ok(bytes) if bytes.is_empty() => self.end = Some(End::Cut(None)),
                        Ok(bytes) => self.decoder.push(&bytes),
                        Err(error) => self.end = Some(End::Cut(Some(error.kind()))),
                    }
                    self.arrived = now();
                }
            }
        }
        Ok(None)
    }

    /// The next text; pings and pongs are skipped.
    ///
    /// # Errors
    /// A binary message, or a violation of the protocol.
    pub async fn next_text(&mut self) -> Result<Option<String>> {
        loop {
            match self.next().await? {
                Some(Message::Text(text)) => return Ok(Some(text)),
                Some(Message::Binary(bytes)) => bail!("{} bytes instead of a text", bytes.len()),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// All remaining texts, and how the server's side ended.
    pub async fn collect(&mut self) -> Result<(Vec<String>, End)> {
        let mut texts = Vec::new();
        while let Some(text) = self.next_text().await? {
            texts.push(text);
        }
        Ok((texts, self.end.clone().context("the socket has ended")?))
    }

    /// How the server's side ended; `None` before [`Self::next`] has returned `None`.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// When the read that completed the last message returned.
    pub fn arrived(&self) -> Instant {
        self.arrived
    }

    /// The connection, for raw bytes. After a close frame, reading it shows whether the server
    /// closes the connection, as it should (section 7.1.1).
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Sends FIN without a close frame; reading is still possible.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.connection.half_close().await
    }

    /// Closes the connection by RST.
    pub fn reset(self) -> io::Result<()> {
        self.connection.reset()
    }

    async fn send_close(&mut self, payload: &[u8]) -> Result<()> {
        self.is_close_sent = true;
        self.send_frame(WebSocketFrameHead::whole(Opcode::Close), payload).await
    }

    /// Ignores errors: messages that the server sent before it went away can still be read.
    async fn reply(&mut self, opcode: Opcode, payload: &[u8]) {
        drop(self.send_frame(WebSocketFrameHead::whole(opcode), payload).await);
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random bytes: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
