//! One HTTP/2 connection of the fake model server, in clear text with prior knowledge (RFC 9113,
//! section 3.3).

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use client::http1::Headers;
use client::{Task, spawn};
use h2::RecvStream;
use h2::server::SendResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::http2_writer::{Command, Http2Writer};
use super::respond::{IncomingRequest, respond};
use super::response_writer::ResponseWriter;
use super::state::OpenConnection;

/// Serves a connection until one side closes it.
pub(super) async fn run(stream: TcpStream, open: Arc<OpenConnection>) {
    // A socket that cannot be cloned is closed.
    if let Ok((stream, clone)) = share(stream)
        && serve_streams(stream, &open).await == Closing::ByUs
    {
        half_close(clone).await;
    }
    open.peer_closed();
}

/// Clones the socket: h2 owns its socket and closes it with unread bytes in it, which would be an
/// RST instead of a FIN.
fn share(stream: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let clone = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(clone)?))
}

/// Closes by FIN and waits for the peer to close.
async fn half_close(mut socket: TcpStream) {
    let mut unread = [0; 1024];
    if socket.shutdown().await.is_ok() {
        while socket.read(&mut unread).await.is_ok_and(|count| count > 0) {}
    }
}

/// Which side closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    ByPeer,
    ByUs,
}

async fn serve_streams(stream: TcpStream, open: &Arc<OpenConnection>) -> Closing {
    let mut builder = h2::server::Builder::new();
    if let Some(most) = open.max_streams() {
        builder.max_concurrent_streams(most);
    }
    // A peer that does not send HTTP/2 after all is disconnected.
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return Closing::ByPeer;
    };
    let (sender, mut commands) = mpsc::channel(1);
    let mut tasks: Vec<Task> = Vec::new();
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => {
                // Polling whether it is closed writes what is queued.
                let _ = poll_fn(|context| Poll::Ready(connection.poll_closed(context))).await;
                match command {
                    Some(Command::Flush(written)) => drop(written.send(())),
                    Some(Command::Close) | None => return Closing::ByUs,
                }
            }
            accepted = connection.accept() => match accepted {
                Some(Ok((request, sending))) => {
                    tasks.retain(|task| !task.is_finished());
                    tasks.push(spawn(serve(request, sending, Arc::clone(open), sender.clone())));
                }
                // The peer has closed, or violated the protocol.
                Some(Err(_)) | None => return Closing::ByPeer,
            },
        }
    }
}

async fn serve(
    request: http::Request<RecvStream>,
    sending: SendResponse<Bytes>,
    open: Arc<OpenConnection>,
    commands: mpsc::Sender<Command>,
) {
    let sending = Http2Writer::new(sending, commands);
    let watched = sending.clone();
    let (head, mut body) = request.into_parts();
    let mut whole = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        // It fails only if more is released than was received.
        let _ = body.flow_control().release_capacity(data.len());
        whole.extend_from_slice(&data);
    }
    let fields = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let incoming = IncomingRequest {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: Headers::new(fields.collect()),
        body: whole,
        is_http2: true,
    };
    let recorded = Mutex::new(None);
    let mut writer = ResponseWriter::Http2(sending);
    let is_reset = tokio::select! {
        biased;
        is_reset = poll_fn(|context| watched.poll_reset(context)) => is_reset,
        played = respond(&mut writer, &open, incoming, |index| {
            *recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(index);
        }) => match played {
            Ok(_) => false,
            // Writing may fail before the other branch has seen the reset.
            Err(_) => poll_fn(|context| Poll::Ready(watched.poll_reset(context) == Poll::Ready(true))).await,
        },
    };
    if is_reset {
        open.reset(*recorded.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
