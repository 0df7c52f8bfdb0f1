//! One connection of the fake model server by HTTP/2 in clear, with prior knowledge (RFC 9113, section 3.3).

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::outlet::Outlet;
use super::respond::{Incoming, respond};
use super::state::Open;
use crate::runtime::{Task, spawn};
use crate::wire::Headers;

/// What one stream wants of the connection.
#[derive(Debug)]
enum Wish {
    /// That all that was said so far is written, and to be told so: a reset, or the end, would overtake it.
    Flush(oneshot::Sender<()>),
    /// That the connection closes.
    Close,
}

/// Serves a connection until one side closes it.
pub(super) async fn run(stream: TcpStream, open: Arc<Open>) {
    // A socket that cannot be shared is closed; the peer is told so.
    if let Ok((stream, beside)) = share(stream)
        && serve_streams(stream, &open).await == Closing::ByUs
    {
        half_close(beside).await;
    }
    open.peer_closed();
}

/// The socket twice: the protocol keeps its own to itself, and closes it with what it has not read, which is no FIN.
fn share(stream: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let beside = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(beside)?))
}

/// Closes by FIN and waits for the peer to close.
async fn half_close(mut beside: TcpStream) {
    let mut unread = [0; 1024];
    if beside.shutdown().await.is_ok() {
        while beside.read(&mut unread).await.is_ok_and(|count| count > 0) {}
    }
}

/// Who closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    ByPeer,
    ByUs,
}

async fn serve_streams(stream: TcpStream, open: &Arc<Open>) -> Closing {
    let mut builder = h2::server::Builder::new();
    if let Some(most) = open.most_streams() {
        builder.max_concurrent_streams(most);
    }
    // What is no HTTP/2 after all is closed.
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return Closing::ByPeer };
    let (wish, mut wishes) = mpsc::channel(1);
    let mut tasks: Vec<Task> = Vec::new();
    loop {
        tokio::select! {
            biased;
            wished = wishes.recv() => {
                // To look whether it is closed is to write what is to be written.
                let _ = poll_fn(|context| Poll::Ready(connection.poll_closed(context))).await;
                match wished {
                    Some(Wish::Flush(written)) => drop(written.send(())),
                    Some(Wish::Close) | None => return Closing::ByUs,
                }
            }
            accepted = connection.accept() => match accepted {
                Some(Ok((request, sending))) => {
                    tasks.retain(|task| !task.is_finished());
                    tasks.push(spawn(serve(request, sending, Arc::clone(open), wish.clone())));
                }
                // The peer is gone, or spoke nonsense.
                Some(Err(_)) | None => return Closing::ByPeer,
            },
        }
    }
}

async fn serve(request: http::Request<RecvStream>, sending: SendResponse<Bytes>, open: Arc<Open>, wish: mpsc::Sender<Wish>) {
    let answer = Http2Answer { sending: Arc::new(Mutex::new(Sending::Head(sending))), wish };
    let watched = answer.clone();
    let (head, mut body) = request.into_parts();
    let mut whole = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        // An error would mean that more was read than came.
        let _ = body.flow_control().release_capacity(data.len());
        whole.extend_from_slice(&data);
    }
    let fields =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let incoming = Incoming {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: Headers::new(fields.collect()),
        body: whole,
        is_http2: true,
    };
    let recorded = Mutex::new(None);
    let mut outlet = Outlet::Http2(answer);
    let is_reset = tokio::select! {
        biased;
        is_reset = poll_fn(|context| watched.poll_reset(context)) => is_reset,
        played = respond(&mut outlet, &open, incoming, |index| {
            *recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(index);
        }) => match played {
            Ok(_) => false,
            // Writing may fail before the other arm has seen why.
            Err(_) => poll_fn(|context| Poll::Ready(watched.poll_reset(context) == Poll::Ready(true))).await,
        },
    };
    if is_reset {
        open.reset(*recorded.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The way back on one stream. Clones share it: one writes, the other waits for the peer's reset.
#[derive(Clone, Debug)]
pub(super) struct Http2Answer {
    sending: Arc<Mutex<Sending>>,
    wish: mpsc::Sender<Wish>,
}

#[derive(Debug)]
enum Sending {
    /// Nothing was sent yet.
    Head(SendResponse<Bytes>),
    /// The head was.
    Body(SendStream<Bytes>),
}

impl Http2Answer {
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

    /// Waits for the peer's window.
    fn poll_room(&self, wanted: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut sending = self.lock();
        let Sending::Body(body) = &mut *sending else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        body.reserve_capacity(wanted);
        if body.capacity() > 0 {
            return Poll::Ready(Ok(body.capacity()));
        }
        match body.poll_capacity(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(0))) => {
                // Told of a change that gave nothing: ask again.
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
        let (written, told) = oneshot::channel();
        // A connection that is gone has nothing more to write.
        let _ = self.wish.send(Wish::Flush(written)).await;
        let _ = told.await;
        match &mut *self.lock() {
            Sending::Head(head) => head.send_reset(Reason::INTERNAL_ERROR),
            Sending::Body(body) => body.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    pub(super) async fn close_connection(&self) {
        let _ = self.wish.send(Wish::Close).await;
        // A stream that went before its connection would be reset.
        std::future::pending::<()>().await;
    }

    /// Ready when the stream is gone: whether the peer has reset it.
    fn poll_reset(&self, context: &mut Context<'_>) -> Poll<bool> {
        let gone = match &mut *self.lock() {
            Sending::Head(head) => head.poll_reset(context),
            Sending::Body(body) => body.poll_reset(context),
        };
        gone.map(|reason| reason.is_ok())
    }
}
