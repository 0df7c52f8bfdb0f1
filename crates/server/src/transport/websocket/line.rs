//! The wire of one socket, whatever is said on it: messages in, frames out, pings and the close.

use std::time::Duration;

use bytes::BytesMut;
use codec::websocket::decode::{Decoder, Incoming, Limits};
use codec::websocket::deflate::Agreement;
use codec::websocket::encode::{close, ping};
use codec::websocket::{CloseCode, Role, Violation};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::outbox::{Coding, Outbox};
use crate::app::App;
use crate::drain::Drain;
use crate::grants::Grant;

/// What one read takes in; an idle socket holds no more than this.
const READ: usize = 2 << 10;

/// How much of that is decompressed at once: a byte may become a thousand, and everybody else's words wait meanwhile.
const INFLATE: usize = 128;

/// How long the peer gets to answer a close.
const CLOSING: Duration = Duration::from_secs(2);

/// How long a peer whose credential has ended gets to take what was said to it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why a session ends.
pub(super) enum Exit {
    /// The connection is gone, or the peer has closed it in order.
    Gone,
    /// We close it.
    Close(CloseCode, String),
}

/// A socket after its handshake.
pub(super) struct Line {
    io: TokioIo<Upgraded>,
    decoder: Decoder,
    /// What was read and may be compressed: the decoder gets it in pieces.
    packed: BytesMut,
    is_compressed: bool,
    /// What goes out with the next [`Self::flush`].
    pub(super) out: Outbox,
    is_closed_by_peer: bool,
    /// When the client was last heard.
    heard: Instant,
    /// When it is asked whether it is there.
    knock: Instant,
    heartbeat: Duration,
    write_timeout: Duration,
    grant: Grant,
    drain: Drain,
}

impl Line {
    pub(super) fn new(app: &App, grant: Grant, io: TokioIo<Upgraded>, agreement: Option<Agreement>) -> Self {
        let config = &app.config;
        let bytes = config.body_bytes;
        let decoder = Decoder::new(Role::Server, Limits { frame_bytes: bytes, message_bytes: bytes });
        let is_compressed = agreement.is_some();
        let (decoder, coding) = match agreement {
            None => (decoder, Coding::Plain),
            Some(agreement) => (decoder.with_inflate(agreement.server_inflate()), Coding::Deflate),
        };
        let now = Instant::now();
        Self {
            io,
            decoder,
            packed: BytesMut::new(),
            is_compressed,
            out: Outbox::new(coding),
            is_closed_by_peer: false,
            heard: now,
            knock: now + config.heartbeat,
            heartbeat: config.heartbeat,
            write_timeout: config.write_timeout,
            grant,
            drain: app.drain.clone(),
        }
    }

    /// Takes in what comes next. `None` when the connection is gone. Dropping the future loses nothing.
    pub(super) async fn read(&mut self) -> Option<()> {
        let mut buffer = [0_u8; READ];
        match self.io.read(&mut buffer).await {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.heard = Instant::now();
                let bytes = buffer.get(..count).unwrap_or_default();
                if self.is_compressed {
                    self.packed.extend_from_slice(bytes);
                } else {
                    self.decoder.push(bytes);
                }
                Some(())
            }
        }
    }

    /// The next of what has come. What may be compressed is taken in pieces, with a turn for everybody else behind each.
    pub(super) async fn next_message(&mut self) -> Option<Result<Incoming, Violation>> {
        loop {
            let incoming = self.decoder.next_message();
            if incoming.is_some() || self.packed.is_empty() {
                return incoming;
            }
            let piece = self.packed.split_to(self.packed.len().min(INFLATE));
            self.decoder.push(&piece);
            yield_now().await;
        }
    }

    /// How much of a message is here that has not ended, or is announced.
    pub(super) fn coming(&self) -> usize {
        self.decoder.coming() + self.packed.len()
    }

    /// The peer has said its close: what it gets for it.
    pub(super) fn closed_by_peer(&mut self, code: Option<CloseCode>) -> Exit {
        self.is_closed_by_peer = true;
        Exit::Close(code.unwrap_or(CloseCode::NORMAL), String::new())
    }

    /// When [`Self::silence`] is due.
    pub(super) fn knock(&self) -> Instant {
        self.knock
    }

    /// Knocks; who has not been heard for two knocks is gone.
    pub(super) fn silence(&mut self) -> Option<Exit> {
        if self.heard.elapsed() > self.heartbeat * 2 + self.heartbeat / 2 {
            return Some(Exit::Gone);
        }
        self.out.frame(&ping(b""));
        self.knock = Instant::now() + self.heartbeat;
        None
    }

    /// Sends what is ready, all of it together. `None` when the connection is gone, takes nothing for too long (or for a moment, once
    /// its credential has ended), or is broken off.
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
            () = self.drain.broken_off() => return None,
            () = self.grant.overdue(LAST_WORDS) => return None,
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
        let patience = if self.grant.check().is_err() { LAST_WORDS } else { CLOSING };
        let deadline = Instant::now() + patience;
        let has_broken_off = self.decoder.is_over() && !self.is_closed_by_peer;
        if !self.drain.is_broken_off() {
            drop(timeout_at(deadline, self.hear_close()).await);
        }
        // A peer that is gone already needs no goodbye.
        drop(self.io.shutdown().await);
        if has_broken_off {
            // What a violator still says has no frames any more, but a socket that closes over it is reset, and a reset
            // may overtake the code that we have told.
            drop(timeout_at(deadline, self.hear_end()).await);
        }
    }

    async fn hear_close(&mut self) {
        let mut buffer = [0_u8; READ];
        while !self.decoder.is_over() {
            match self.io.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => self.decoder.push(buffer.get(..count).unwrap_or_default()),
            }
            while self.decoder.next_message().is_some() {}
        }
    }

    async fn hear_end(&mut self) {
        let mut buffer = [0_u8; READ];
        while self.io.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    }
}
