//! The client's side of a body: whether it has left, when it needs a sign of life, and how its body
//! is aborted.

use std::pin::Pin;
use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use lens::live::ResponseBytes;
use tokio::time::{Instant, Sleep, sleep};

use crate::listen::{ConnectionHandle, Signal};

/// How many bytes of events that are ready go out in one write.
pub(super) const WRITE: usize = 64 << 10;

/// The body was aborted on purpose: it must not end as if it were complete.
#[derive(Debug, thiserror::Error)]
#[error("the stream was aborted")]
pub(super) struct Aborted;

/// The client of one body.
pub(super) struct Client {
    connection: Option<ConnectionHandle>,
    is_http_1_0: bool,
    is_half_closed: bool,
    heartbeat: Duration,
    /// Resolves when nothing was written for as long as `heartbeat`.
    pub(super) silence: Pin<Box<Sleep>>,
    /// The parts of the next write, for the lens; its framing is known when it is written.
    pub(super) written: ResponseBytes,
}

impl Client {
    pub(super) fn new(
        connection: Option<ConnectionHandle>,
        is_http_1_0: bool,
        heartbeat: Duration,
    ) -> Self {
        let silence = Box::pin(sleep(heartbeat));
        Self {
            connection,
            is_http_1_0,
            is_half_closed: false,
            heartbeat,
            silence,
            written: ResponseBytes::default(),
        }
    }

    pub(super) fn connection(&self) -> Option<&ConnectionHandle> {
        self.connection.as_ref()
    }

    /// Resolves when the client closes its half of the connection, once, or resets it.
    pub(super) fn signal(&self) -> impl Future<Output = Signal> + Send + use<> {
        let (connection, is_half_closed) = (self.connection.clone(), self.is_half_closed);
        async move {
            match connection {
                Some(connection) if is_half_closed => connection.reset().await,
                Some(connection) => connection.signal().await,
                None => std::future::pending().await,
            }
        }
    }

    /// The client has closed its half, which does not mean that it has left. The next heartbeat
    /// shows it: a client that is gone responds with a reset.
    pub(super) fn half_closed(&mut self) {
        self.is_half_closed = true;
    }

    /// The next sign of life is due in one heartbeat.
    pub(super) fn restart_silence(&mut self) {
        self.silence.as_mut().reset(Instant::now() + self.heartbeat);
    }

    /// Counts the bytes of the next write. Bytes outside the data are framing, and data that is
    /// not the model's text is dialect.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.restart_silence();
        let ResponseBytes { events, dialect: data, text, .. } = std::mem::take(&mut self.written);
        let Some(connection) = &self.connection else { return };
        let (dialect, framing) = (data.saturating_sub(text), (bytes as u64).saturating_sub(data));
        connection.timeline().add_response_bytes(ResponseBytes { events, framing, dialect, text });
    }

    /// The error that breaks the body off. Without a length or chunks only a reset distinguishes a
    /// part from the whole.
    pub(super) fn cut(&self) -> Aborted {
        if self.is_http_1_0
            && let Some(connection) = &self.connection
        {
            connection.abort();
        }
        Aborted
    }
}

/// The head of every stream. `X-Accel-Buffering` asks nginx to pass the body on as it comes.
pub(super) fn head(content_type: &'static str) -> [(HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}
