//! Proxies that hold a stream up, each in its own way.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use client::http1::{Body, Piece, take_head};
use client::{Task, spawn};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

/// What a proxy does to what comes from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It passes on at fixed times.
    Every(Duration),
    /// It forwards as soon as this number of bytes has arrived.
    Filled(usize),
    /// It passes on once the server has closed.
    ToEnd,
    /// It compresses where the client allows it, and does not flush.
    Compressed,
    /// It closes where nothing has come for this long.
    Idle(Duration),
    /// It ends every body properly, even one that was broken off.
    EndsProperly,
    /// It refuses WebSockets, as nginx does by default.
    NoUpgrade,
}

/// A running proxy. Dropping it closes all its sockets.
pub(crate) struct HoldingProxy {
    address: SocketAddr,
    _accepting: Task,
}

impl HoldingProxy {
    pub(crate) async fn start(holds: Holds, target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = spawn(async move {
            let mut connections: Vec<Task> = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.retain(|connection| !connection.is_finished());
                connections.push(spawn(async move {
                    // A connection that fails closes both its sockets.
                    drop(forward(client, target, holds).await);
                }));
            }
        });
        Self { address, _accepting: accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr, holds: Holds) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut request = BytesMut::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break request.split_to(end + 2);
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let fields = String::from_utf8_lossy(&head).to_lowercase();
    let is_upgrade = fields.contains("upgrade: websocket");
    if is_upgrade && holds == Holds::NoUpgrade {
        let refused =
            b"HTTP/1.1 426 Upgrade Required\r\nserver: nginx/1.22.1\r\ncontent-length: 0\r\n\r\n";
        return client.write_all(refused).await;
    }
    let mut server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    server.write_all(&head).await?;
    if !is_upgrade {
        // So that the end of the response is the end of the connection.
        server.write_all(b"connection: close\r\n").await?;
    }
    server.write_all(&request).await?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let down = async {
        match holds {
            Holds::Compressed if fields.contains("accept-encoding: gzip") => {
                compress(from_server, to_client).await
            }
            Holds::EndsProperly if !is_upgrade => end_properly(from_server, to_client).await,
            Holds::Compressed | Holds::EndsProperly | Holds::NoUpgrade => {
                hold(from_server, to_client, Holds::Filled(1)).await
            }
            holds => hold(from_server, to_client, holds).await,
        }
    };
    tokio::try_join!(up, down).map(|_| ())
}

/// Passes bytes on, some of them later.
async fn hold(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    holds: Holds,
) -> std::io::Result<()> {
    let mut held = BytesMut::new();
    let started = Instant::now();
    let mut due = started;
    loop {
        let read = match holds {
            Holds::Every(period) => {
                if due <= Instant::now() {
                    let passed = started.elapsed().as_nanos() / period.as_nanos() + 1;
                    due = started + period * u32::try_from(passed).unwrap();
                }
                tokio::select! {
                    read = from.read_buf(&mut held) => read?,
                    () = sleep_until(due) => {
                        to.write_all(&held.split()).await?;
                        continue;
                    }
                }
            }
            Holds::Idle(limit) => match timeout(limit, from.read_buf(&mut held)).await {
                Ok(read) => read?,
                Err(_silent) => return to.shutdown().await,
            },
            _ => from.read_buf(&mut held).await?,
        };
        let now = match holds {
            _ if read == 0 => held.len(),
            Holds::Filled(size) => held.len() / size * size,
            Holds::Every(_) | Holds::ToEnd => 0,
            _ => held.len(),
        };
        to.write_all(&held.split_to(now)).await?;
        if read == 0 {
            return to.shutdown().await;
        }
    }
}

/// Reads a response: its head, and then its body in the pieces in which it comes; `None` at its
/// end, however it came.
struct Upstream {
    from: OwnedReadHalf,
    buffer: BytesMut,
    body: Body,
}

impl Upstream {
    async fn open(mut from: OwnedReadHalf) -> std::io::Result<(Self, Vec<String>)> {
        let mut buffer = BytesMut::new();
        let head = loop {
            if let Some(head) = take_head(&mut buffer).unwrap() {
                break head;
            }
            if from.read_buf(&mut buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        };
        let body = Body::announced(&head.headers, Body::UntilClose).unwrap();
        let kept = head.headers.iter().filter(|(name, _)| {
            !["transfer-encoding", "content-length", "connection"].contains(name)
        });
        let lines = std::iter::once(head.start_line.clone())
            .chain(kept.map(|(name, value)| format!("{name}: {value}")));
        let lines = lines.collect();
        Ok((Self { from, buffer, body }, lines))
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.body.take(&mut self.buffer).unwrap() {
                Piece::Data(data) => return Some(data),
                Piece::End => return None,
                Piece::NeedMore => {
                    if !matches!(self.from.read_buf(&mut self.buffer).await, Ok(1..)) {
                        return None;
                    }
                }
            }
        }
    }
}

async fn write_head(to: &mut OwnedWriteHalf, lines: &[String], more: &str) -> std::io::Result<()> {
    let head = format!("{}\r\ntransfer-encoding: chunked\r\n{more}\r\n", lines.join("\r\n"));
    to.write_all(head.as_bytes()).await
}

async fn write_chunk(to: &mut OwnedWriteHalf, data: &[u8]) -> std::io::Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    to.write_all(&chunk).await
}

async fn compress(from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    let (mut upstream, head) = Upstream::open(from).await?;
    write_head(&mut to, &head, "content-encoding: gzip\r\nserver: Caddy\r\n").await?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    while let Some(data) = upstream.next().await {
        encoder.write_all(&data)?;
        write_chunk(&mut to, &std::mem::take(encoder.get_mut())).await?;
    }
    write_chunk(&mut to, &encoder.finish()?).await?;
    to.write_all(b"0\r\n\r\n").await?;
    to.shutdown().await
}

async fn end_properly(from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    let (mut upstream, head) = Upstream::open(from).await?;
    write_head(&mut to, &head, "").await?;
    while let Some(data) = upstream.next().await {
        write_chunk(&mut to, &data).await?;
    }
    to.write_all(b"0\r\n\r\n").await?;
    to.shutdown().await
}
