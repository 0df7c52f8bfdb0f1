//! The sending side of one HTTP/2 stream, and its commands to the connection.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use tokio::sync::{mpsc, oneshot};

/// A command of a stream to its connection.
#[derive(Debug)]
pub(super) enum Command {
    /// Write everything that is queued, then confirm: a reset or a close would overtake it.
    Flush(oneshot::Sender<()>),
    /// Close the connection.
    Close,
}

/// The sending side of a stream. Clones share it: one writes, the other waits for the peer's reset.
#[derive(Clone, Debug)]
pub(super) struct Http2Writer {
    sending: Arc<Mutex<Sending>>,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Sending {
    /// The head was not sent yet.
    Head(SendResponse<Bytes>),
    /// The head was sent.
    Body(SendStream<Bytes>),
}

impl Http2Writer {
    pub(super) fn new(sending: SendResponse<Bytes>, commands: mpsc::Sender<Command>) -> Self {
        Self { sending: Arc::new(Mutex::new(Sending::Head(sending))), commands }
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn head(&self, status: u16, headers: &[(String, String)]) -> io::Result<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        let response = response.body(()).map_err(io::Error::other)?;
        let mut sending = self.lock();
        if let Sending::Head(head) = &mut *sending {
            let body = head.send_response(response, false).map_err(io::Error::other)?;
            *sending = Sending::Body(body);
        }
        Ok(())
    }

    pub(super) async fn data(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = poll_fn(|context| self.poll_room(bytes.len(), context)).await?;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Sending::Body(body) = &mut *self.lock() {
                body.send_data(Bytes::copy_from_slice(now), false).map_err(io::Error::other)?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Waits for room in the peer's window.
    fn poll_room(&self, wanted: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut sending = self.lock();
        let Sending::Body(body) = &mut *sending else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        body.reserve_capacity(wanted);
        if body.capacity() > 0 {
            return Poll::Ready(Ok(body.capacity()));
        }
        match body.poll_capacity(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(0))) => {
                // A change of the window without room: poll again.
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(room))) => Poll::Ready(Ok(room)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(io::Error::other(error))),
            Poll::Ready(None) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    pub(super) fn end(&self) -> io::Result<()> {
        match &mut *self.lock() {
            Sending::Head(_) => Ok(()),
            Sending::Body(body) => body.send_data(Bytes::new(), true).map_err(io::Error::other),
        }
    }

    pub(super) async fn reset(&self) {
        let (written, confirmed) = oneshot::channel();
        // A connection that has ended has nothing left to write.
        let _ = self.commands.send(Command::Flush(written)).await;
        let _ = confirmed.await;
        match &mut *self.lock() {
            Sending::Head(head) => head.send_reset(Reason::INTERNAL_ERROR),
            Sending::Body(body) => body.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    pub(super) async fn close_connection(&self) {
        let _ = self.commands.send(Command::Close).await;
        // Dropping the stream before the connection closes would reset it.
        std::future::pending::<()>().await;
    }

    /// Ready when the stream has ended, with whether the peer has reset it.
    pub(super) fn poll_reset(&self, context: &mut Context<'_>) -> Poll<bool> {
        let ended = match &mut *self.lock() {
            Sending::Head(head) => head.poll_reset(context),
            Sending::Body(body) => body.poll_reset(context),
        };
        ended.map(|reason| reason.is_ok())
    }
}
