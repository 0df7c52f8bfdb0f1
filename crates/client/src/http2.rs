//! HTTP/2 with the h2 crate: responses and WebSockets (RFC 8441) as streams of one connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::{Bytes, BytesMut};
use codec::websocket::decode::{IncomingMessage, WebSocketDecoder, WebSocketLimits};
use codec::websocket::encode::{self, WebSocketFrameHead};
use codec::websocket::{CloseCode, Opcode, WebSocketRole};
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::request::Request;
use crate::runtime::{SOON, Task, soon, spawn, within};
use crate::stream::MAX_EVENT_BYTES;

/// A connection. Dropping it closes all its streams.
pub struct Client {
    send: SendRequest<Bytes>,
    scheme: &'static str,
    authority: String,
    timeout: Duration,
    task: Task,
    closed: oneshot::Receiver<()>,
}

impl Client {
    /// Starts HTTP/2 on a stream; the server's name is `localhost`.
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self> {
        Self::with(stream, &Builder::new()).await
    }

    /// Like [`Self::over`], with the given settings.
    pub async fn with(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        builder: &Builder,
    ) -> Result<Self> {
        let stream = SharedStream(Arc::new(Mutex::new(stream)));
        let (send, connection) = soon(builder.handshake(stream.clone())).await??;
        let (done, closed) = oneshot::channel();
        let task = spawn(async move {
            drop(connection.await);
            // h2 does not wait for the server's GOAWAY and FIN; a closed socket would reply to them
            // with RST.
            drop(stream.read_out().await);
            // The receiver is dropped if no caller waits for the close.
            let _ = done.send(());
        });
        Ok(Self {
            send,
            scheme: "http",
            authority: "localhost".to_owned(),
            timeout: SOON,
            task,
            closed,
        })
    }

    /// Sets the server's name (`:authority`) and the scheme.
    #[must_use]
    pub fn named(mut self, scheme: &'static str, authority: &str) -> Self {
        (self.scheme, self.authority) = (scheme, authority.to_owned());
        self
    }

    /// Sets the longest wait for the next part of a response; ten seconds at first.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends GOAWAY and closes after the streams have ended. Waits until that is done.
    pub async fn close(self) -> Result<()> {
        let Self { send, task, closed, .. } = self;
        drop(send);
        // The channel also closes if the task panics.
        soon(closed).await?.context("the connection's task")?;
        drop(task);
        Ok(())
    }

    /// Sends a request and waits for the head of its response.
    pub async fn send(&self, request: &Request) -> Result<Response<RecvStream>> {
        within(self.timeout, self.start(request).await?)
            .await?
            .with_context(|| format!("the response to {} {}", request.method, request.path))
    }

    /// Sends a request; the returned future resolves to the head of its response.
    pub async fn start(&self, request: &Request) -> Result<h2::client::ResponseFuture> {
        let mut head = self.head(&request.method, &request.path);
        for (name, value) in &request.headers {
            head = head.header(name, value);
        }
        let mut send = self.send.clone().ready().await?;
        let (response, mut sending) = send.send_request(head.body(())?, request.body.is_empty())?;
        if !request.body.is_empty() {
            sending.send_data(request.body.clone().into(), true)?;
        }
        Ok(response)
    }

    /// Requests a WebSocket, with additional headers. Returns the response and the sending side of
    /// the stream.
    pub async fn extended_connect(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Response<RecvStream>, SendStream<Bytes>)> {
        let mut head =
            self.head("CONNECT", path).extension(h2::ext::Protocol::from_static("websocket"));
        for (name, value) in [("sec-websocket-version", "13")].iter().chain(headers) {
            head = head.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await?;
        // The server allows it in its SETTINGS frame (RFC 8441, section 3), the first frame that it
        // sends.
        let allowed = async {
            while !send.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
        };
        soon(allowed)
            .await
            .context("the server does not announce WebSockets over HTTP/2 (RFC 8441)")?;
        let (response, sending) = send.send_request(head.body(())?, false)?;
        Ok((soon(response).await??, sending))
    }

    /// Opens a WebSocket.
    pub async fn socket(&self, path: &str, headers: &[(&str, &str)]) -> Result<Socket> {
        let (response, sending) = self.extended_connect(path, headers).await?;
        anyhow::ensure!(
            response.status() == 200,
            "status {} instead of a socket at {path}",
            response.status()
        );
        let limits =
            WebSocketLimits { frame_bytes: MAX_EVENT_BYTES, message_bytes: MAX_EVENT_BYTES };
        Ok(Socket {
            sending,
            body: response.into_body(),
            decoder: WebSocketDecoder::new(WebSocketRole::Client, limits),
            timeout: self.timeout,
        })
    }

    fn head(&self, method: &str, path: &str) -> http::request::Builder {
        http::Request::builder()
            .method(method)
            .uri(format!("{}://{}{path}", self.scheme, self.authority))
    }
}

/// A stream that h2 uses and that can still be read after h2 has finished.
struct SharedStream<S>(Arc<Mutex<S>>);

impl<S> Clone for SharedStream<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Unpin> SharedStream<S> {
    fn with<T>(&self, poll: impl FnOnce(Pin<&mut S>) -> T) -> T {
        poll(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SharedStream<S> {
    async fn read_out(mut self) -> Result<()> {
        let mut rest = [0; 4096];
        soon(async { while self.read(&mut rest).await.is_ok_and(|count| count > 0) {} }).await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SharedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(context, buffer))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SharedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(context))
    }
}

/// The next bytes of a body, released from the flow-control window; `None` at its end.
pub async fn chunk(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = body.data().await?;
    Some(data.and_then(|data| body.flow_control().release_capacity(data.len()).map(|()| data)))
}

/// How the stream of a socket ended.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// By a close frame.
    #[error("closed, {0:?}")]
    Closed(Option<u16>),
    /// By the end of the stream without a close frame.
    #[error("ended without a close frame")]
    NoClose,
    /// By RST_STREAM.
    #[error("reset, {0:?}")]
    Reset(Option<Reason>),
    /// By a violation of the protocol or a timeout.
    #[error("{0}")]
    Failed(String),
}

/// A WebSocket on a stream.
pub struct Socket {
    sending: SendStream<Bytes>,
    body: RecvStream,
    decoder: WebSocketDecoder,
    timeout: Duration,
}

impl Socket {
    /// Sends a text message.
    pub async fn send_text(&mut self, text: &str) -> Result<()> {
        self.send_frame(Opcode::Text, text.as_bytes()).await
    }

    /// Sends a close frame.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<()> {
        let code = CloseCode::new(code).with_context(|| format!("{code} must not be sent"))?;
        self.send_frame(Opcode::Close, &encode::close_payload(code, reason)).await
    }

    /// Sends a frame with FIN.
    pub async fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) -> Result<()> {
        let mut frame = BytesMut::new();
        encode::client_frame(&mut frame, WebSocketFrameHead::whole(opcode), [7, 1, 4, 9], payload);
        self.send_raw(frame.freeze()).await
    }

    /// Sends bytes as they are, as the server's window allows.
    pub async fn send_raw(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            self.sending.reserve_capacity(bytes.len());
            let ready = std::future::poll_fn(|context| self.sending.poll_capacity(context));
            let room = soon(ready).await?.ok_or_else(|| anyhow!("the stream has ended"))??;
            self.sending.send_data(bytes.split_to(room.min(bytes.len())), false)?;
        }
        Ok(())
    }

    /// Ends the sending side of the stream.
    pub fn half_close(&mut self) -> Result<()> {
        Ok(self.sending.send_data(Bytes::new(), true)?)
    }

    /// Closes the stream by RST_STREAM.
    pub fn reset(mut self) {
        self.sending.send_reset(Reason::CANCEL);
    }

    /// The next message, pings excluded.
    pub async fn next(&mut self) -> Result<IncomingMessage, End> {
        loop {
            match self
                .decoder
                .next_message()
                .transpose()
                .map_err(|error| End::Failed(error.to_string()))?
            {
                Some(IncomingMessage::Ping(_)) => {}
                Some(IncomingMessage::Close(code, _)) => {
                    return Err(End::Closed(code.map(CloseCode::get)));
                }
                Some(incoming) => return Ok(incoming),
                None => match within(self.timeout, chunk(&mut self.body))
                    .await
                    .map_err(|error| End::Failed(error.to_string()))?
                {
                    Some(Ok(bytes)) => self.decoder.push(&bytes),
                    Some(Err(error)) => return Err(End::Reset(error.reason())),
                    None => return Err(End::NoClose),
                },
            }
        }
    }

    /// The next text; other messages are skipped.
    pub async fn next_text(&mut self) -> Result<String, End> {
        loop {
            if let IncomingMessage::Text(text) = self.next().await? {
                return Ok(text);
            }
        }
    }

    /// Reads nothing until the server resets the stream; returns its reason.
    pub async fn wait_reset(&mut self) -> Result<Option<Reason>> {
        Ok(soon(std::future::poll_fn(|context| self.sending.poll_reset(context))).await?.ok())
    }

    /// How the stream ends; everything before the end is dropped.
    pub async fn ended(&mut self) -> Result<Result<(), Option<Reason>>> {
        loop {
            match soon(chunk(&mut self.body)).await? {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Ok(Err(error.reason())),
                None => return Ok(Ok(())),
            }
        }
    }
}
