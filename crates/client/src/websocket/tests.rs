//! The client against a scripted server in the same process.

use codec::websocket::deflate::Compressor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::connection::reset_on_close;
use crate::http1::take_head;
use crate::runtime::{Task, soon, spawn};

/// A server for one connection: replies to the handshake with `head`, writes `frames`, ends in the
/// given way, and returns what it received.
struct Server {
    address: SocketAddr,
    received: tokio::sync::oneshot::Receiver<Vec<IncomingMessage>>,
    _task: Task,
}

#[derive(Clone, Copy)]
enum Ending {
    /// Reads until a close frame or the end, and closes.
    Wait,
    Fin,
    Rst,
}

impl Server {
    async fn start(head: &'static str, frames: Vec<u8>, ending: Ending) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, received) = tokio::sync::oneshot::channel();
        let task = spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            drop(sender.send(serve(stream, head, &frames, ending).await.unwrap()));
        });
        Ok(Self { address, received, _task: task })
    }
}

async fn serve(
    mut stream: TcpStream,
    response: &str,
    frames: &[u8],
    ending: Ending,
) -> Result<Vec<IncomingMessage>> {
    let mut buffer = BytesMut::new();
    let head = loop {
        ensure!(stream.read_buf(&mut buffer).await? > 0, "no head");
        if let Some(head) = take_head(&mut buffer)? {
            break head;
        }
    };
    let key = head.headers.get("sec-websocket-key").context("a key")?;
    ensure!(head.start_line == "GET /socket?a=1 HTTP/1.1" && handshake::check_key(key), "{head:?}");
    ensure!(
        head.headers.get("sec-websocket-version") == Some("13")
            && head.headers.get("x-which") == Some("first"),
        "{head:?}"
    );
    let accept = handshake::accept_key(key);
    let response = response.replace("{accept}", &accept);
    // A server may send the first message together with the head.
    stream.write_all(&[response.as_bytes(), frames].concat()).await?;
    let mut decoder = WebSocketDecoder::new(WebSocketRole::Server, LIMITS);
    let mut received = Vec::new();
    match ending {
        Ending::Fin => return Ok(received),
        Ending::Rst => {
            // A message of the client shows that it has read the frames.
            stream.read_buf(&mut buffer).await?;
            reset_on_close(&stream)?;
            return Ok(received);
        }
        Ending::Wait => {}
    }
    loop {
        while let Some(incoming) = decoder.next_message().transpose()? {
            received.push(incoming);
        }
        if decoder.is_over() || stream.read_buf(&mut buffer).await? == 0 {
            return Ok(received);
        }
        decoder.push(&buffer.split());
    }
}

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: x, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";

const DEFLATED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n";

async fn open(server: &Server) -> Result<Connected> {
    soon(connect(server.address, "/socket?a=1", &[("X-Which", "first")])).await?
}

#[tokio::test]
async fn messages_arrive_on_both_sides() -> Result<()> {
    let frames = [
        encode::server_text("你好".as_bytes()),
        encode::ping(b"1"),
        encode::server_frame(WebSocketFrameHead::whole(Opcode::Binary), b"\0"),
    ];
    let frames =
        [frames.concat(), encode::close(CloseCode::RESTART, "back soon").to_vec()].concat();
    let server = Server::start(ACCEPTED, frames, Ending::Wait).await?;
    let Connected { mut socket, status, headers } = open(&server).await?;
    assert_eq!((status, headers.get("upgrade")), (101, Some("WebSocket")));
    socket.send_text("Hello").await?;
    socket.send_fragmented(&[b"\xe2", b"\x82", b"\xac"]).await?;
    socket.ping(b"p").await?;
    assert_eq!(soon(socket.next()).await??, Some(Message::Text("你好".into())));
    assert_eq!(soon(socket.next()).await??, Some(Message::Ping("1".into())));
    assert_eq!(soon(socket.next()).await??, Some(Message::Binary(Bytes::from_static(b"\0"))));
    assert_eq!(socket.end(), None);
    assert_eq!(soon(socket.next()).await??, None);
    assert_eq!(socket.end(), Some(&End::Closed { code: Some(1012), reason: "back soon".into() }));
    assert!(
        soon(socket.connection().read_raw()).await??.is_empty(),
        "the server closes the connection"
    );
    let expected = [
        IncomingMessage::Text("Hello".into()),
        IncomingMessage::Text("€".into()),
        IncomingMessage::Ping("p".into()),
        IncomingMessage::Pong("1".into()),
        IncomingMessage::Close(Some(CloseCode::RESTART), String::new()),
    ];
    assert_eq!(soon(server.received).await??, expected);
    Ok(())
}

#[tokio::test]
async fn replies_can_be_turned_off() -> Result<()> {
    let server =
        Server::start(ACCEPTED, [encode::ping(b"1"), encode::ping(b"2")].concat(), Ending::Wait)
            .await?;
    let Connected { mut socket, .. } = open(&server).await?;
    socket.set_replies(ControlReplies::None);
    assert_eq!(soon(socket.next()).await??, Some(Message::Ping("1".into())));
    socket.close(3000, "enough").await?;
    let (texts, end) = soon(socket.collect()).await??;
    assert_eq!((texts.len(), end), (0, End::Cut(None)), "this server sends no close frame");
    assert_eq!(
        soon(server.received).await??,
        [IncomingMessage::Close(CloseCode::new(3000), "enough".into())]
    );
    assert!(socket.close(1005, "").await.is_err());
    Ok(())
}

#[tokio::test]
async fn an_end_without_a_close_frame_is_a_cut() -> Result<()> {
    let server = Server::start(ACCEPTED, encode::server_text(b"a").to_vec(), Ending::Fin).await?;
    let (texts, end) = soon(open(&server).await?.socket.collect()).await??;
    assert_eq!((texts, end), (vec!["a".to_owned()], End::Cut(None)));

    let server = Server::start(ACCEPTED, encode::server_text(b"a").to_vec(), Ending::Rst).await?;
    let Connected { mut socket, .. } = open(&server).await?;
    assert_eq!(soon(socket.next_text()).await??.as_deref(), Some("a"));
    socket.send_text("b").await?;
    let (_, end) = soon(socket.collect()).await??;
    assert_eq!(end, End::Cut(Some(io::ErrorKind::ConnectionReset)));
    Ok(())
}

#[tokio::test]
async fn the_server_sees_how_the_client_leaves() -> Result<()> {
    let server = Server::start(ACCEPTED, Vec::new(), Ending::Wait).await?;
    let Connected { mut socket, .. } = open(&server).await?;
    socket.half_close().await?;
    let (_, end) = soon(socket.collect()).await??;
    assert_eq!((end, soon(server.received).await??), (End::Cut(None), Vec::new()));
    let server = Server::start(ACCEPTED, encode::server_text(b"a").to_vec(), Ending::Rst).await?;
    open(&server).await?.socket.reset()?;
    // The server's read fails because of the reset, so it returns nothing.
    assert!(soon(server.received).await?.is_err());
    Ok(())
}

#[tokio::test]
async fn compressed_messages_are_read() -> Result<()> {
    let text = "Hello ".repeat(100);
    let payload = Compressor::new(0).compress(text.as_bytes()).context("the text shrinks")?;
    let frame = encode::server_frame(
        WebSocketFrameHead { rsv1: true, ..WebSocketFrameHead::whole(Opcode::Text) },
        &payload,
    );
    let server = Server::start(DEFLATED, frame.to_vec(), Ending::Fin).await?;
    let offer = [("x-which", "first"), ("sec-websocket-extensions", "permessage-deflate")];
    let mut socket = soon(connect(server.address, "/socket?a=1", &offer)).await??.socket;
    assert_eq!(soon(socket.next_text()).await??, Some(text));
    let unrequested = Server::start(DEFLATED, Vec::new(), Ending::Fin).await?;
    assert!(open(&unrequested).await.is_err());
    Ok(())
}

#[tokio::test]
async fn refusals_and_wrong_handshakes_are_errors() -> Result<()> {
    let refused = "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 4\r\n\r\nwhat";
    let server = Server::start(refused, Vec::new(), Ending::Fin).await?;
    let error = open(&server).await.err().context("a refusal")?;
    assert_eq!(error.to_string(), "status 426: what");
    for wrong in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n",
    ] {
        let server = Server::start(wrong, Vec::new(), Ending::Fin).await?;
        assert!(open(&server).await.is_err(), "{wrong}");
    }
    let violating = Server::start(ACCEPTED, b"\x83\x00".to_vec(), Ending::Fin).await?;
    let error = open(&violating).await?.socket.next().await.err().context("a violation")?;
    assert_eq!(error.to_string(), "the opcode 0x3 is reserved");
    Ok(())
}
