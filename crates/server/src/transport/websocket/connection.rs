//! The connection of one socket, whatever its API: messages in, frames out, pings and the close.

use std::time::Duration;

use bytes::BytesMut;
use codec::websocket::decode::{IncomingMessage, WebSocketDecoder, WebSocketLimits};
use codec::websocket::deflate::Agreement;
use codec::websocket::encode::{close, ping};
use codec::websocket::{CloseCode, Violation, WebSocketRole};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::send_buffer::{MessageCoding, SendBuffer};
use crate::app::App;
use crate::drain::Drain;
use crate::grants::Grant;

/// The size of one read; an idle socket holds no more than this.
const READ: usize = 2 << 10;

/// How much of that is decompressed at once: a byte may become a thousand, and other sockets wait
/// meanwhile.
const INFLATE: usize = 128;

/// How long the peer gets to respond to a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a peer whose credential has ended gets to take what was written to it.
const REVOKED_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a session ends.
pub(super) enum Exit {
    /// The connection is gone, or the peer has closed it properly.
    Gone,
    /// We close it.
    Close(CloseCode, String),
}

/// A socket after its handshake.
pub(super) struct SocketConnection {
    io: TokioIo<Upgraded>,
    decoder: WebSocketDecoder,
    /// What was read and may be compressed: the decoder gets it in pieces.
    compressed: BytesMut,
    is_compressed: bool,
    /// What goes out with the next [`Self::flush`].
    pub(super) out: SendBuffer,
    is_closed_by_peer: bool,
    /// When something was last read from the client.
    last_read: Instant,
    /// When the next ping is due.
    next_ping: Instant,
    heartbeat: Duration,
    write_timeout: Duration,
    grant: Grant,
    drain: Drain,
}

impl SocketConnection {
    pub(super) fn new(
        app: &App,
        grant: Grant,
        io: TokioIo<Upgraded>,
        agreement: Option<Agreement>,
    ) -> Self {
        let config = &app.config;
        let bytes = config.body_bytes;
        let decoder = WebSocketDecoder::new(
            WebSocketRole::Server,
            WebSocketLimits { frame_bytes: bytes, message_bytes: bytes },
        );
        let is_compressed = agreement.is_some();
        let (decoder, coding) = match agreement {
            None => (decoder, MessageCoding::Plain),
            Some(agreement) => {
                (decoder.with_inflate(agreement.server_inflate()), MessageCoding::Deflate)
            }
        };
        let now = Instant::now();
        Self {
            io,
            decoder,
            compressed: BytesMut::new(),
            is_compressed,
            out: SendBuffer::new(coding),
            is_closed_by_peer: false,
            last_read: now,
            next_ping: now + config.heartbeat,
            heartbeat: config.heartbeat,
            write_timeout: config.write_timeout,
            grant,
            drain: app.drain.clone(),
        }
    }

    /// Reads the next bytes. `None` when the connection is gone. Cancel safe.
    pub(super) async fn read(&mut self) -> Option<()> {
        let mut buffer = [0_u8; READ];
        match self.io.read(&mut buffer).await {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.last_read = Instant::now();
                let bytes = buffer.get(..count).unwrap_or_default();
                if self.is_compressed {
                    self.compressed.extend_from_slice(bytes);
                } else {
                    self.decoder.push(bytes);
                }
                Some(())
            }
        }
    }

    /// The next message that has come. What may be compressed is taken in pieces, and other tasks
    /// run after each.
    pub(super) async fn next_message(&mut self) -> Option<Result<IncomingMessage, Violation>> {
        loop {
            let incoming = self.decoder.next_message();
            if incoming.is_some() || self.compressed.is_empty() {
                return incoming;
            }
            let piece = self.compressed.split_to(self.compressed.len().min(INFLATE));
            self.decoder.push(&piece);
            yield_now().await;
        }
    }

    /// The bytes of a message that has not ended, here or announced.
    pub(super) fn incoming(&self) -> usize {
        self.decoder.coming() + self.compressed.len()
    }

    /// The peer has sent its close: the close in response.
    pub(super) fn closed_by_peer(&mut self, code: Option<CloseCode>) -> Exit {
        self.is_closed_by_peer = true;
        Exit::Close(code.unwrap_or(CloseCode::NORMAL), String::new())
    }

    /// When [`Self::ping`] is due.
    pub(super) fn next_ping(&self) -> Instant {
        self.next_ping
    }

    /// Sends a ping; a peer silent for two intervals is considered gone.
    pub(super) fn ping(&mut self) -> Option<Exit> {
        if self.last_read.elapsed() > self.heartbeat * 2 + self.heartbeat / 2 {
            return Some(Exit::Gone);
        }
        self.out.frame(&ping(b""));
        self.next_ping = Instant::now() + self.heartbeat;
        None
    }

    /// Sends what is ready, all of it together. `None` when the connection is gone, takes nothing
    /// for too long (or for a moment, once its credential has ended), or is aborted.
    pub(super) async fn flush(&mut self) -> Option<()> {
        if self.out.is_empty() {
            return Some(());
        }
        let sent = async {
            self.io.write_all(self.out.bytes()).await?;
            self.io.flush().await
        };
        tokio::select! {
            biased;
            sent = timeout(self.write_timeout, sent) => sent.ok()?.ok()?,
            () = self.drain.aborted() => return None,
            () = self.grant.overdue(REVOKED_TIMEOUT) => return None,
        }
        self.out.clear();
        Some(())
    }

    /// The closing handshake: our close, then whatever still comes until the peer's, for a moment.
    pub(super) async fn close(&mut self, code: CloseCode, reason: &str) {
        self.out.frame(&close(code, reason));
        if self.flush().await.is_none() {
            return;
        }
        let patience = if self.grant.check().is_err() { REVOKED_TIMEOUT } else { CLOSE_TIMEOUT };
        let deadline = Instant::now() + patience;
        let has_broken_off = self.decoder.is_over() && !self.is_closed_by_peer;
        if !self.drain.is_aborted() {
            drop(timeout_at(deadline, self.read_close()).await);
        }
        // The peer may be gone already.
        drop(self.io.shutdown().await);
        if has_broken_off {
            // After a violation decoding stops, but a socket that closes on unread
            // bytes is reset, and the reset may overtake our close frame.
            drop(timeout_at(deadline, self.read_to_end()).await);
        }
    }

    async fn read_close(&mut self) {
        let mut buffer = [0_u8; READ];
        while !self.decoder.is_over() {
            match self.io.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => self.decoder.push(buffer.get(..count).unwrap_or_default()),
            }
            while self.decoder.next_message().is_some() {}
        }
    }

    async fn read_to_end(&mut self) {
        let mut buffer = [0_u8; READ];
        while self.io.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    }
}
