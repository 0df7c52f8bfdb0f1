//! HTTP/2 with the h2 crate: answers and WebSockets (RFC 8441) as streams of one connection.

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use lab::client::Request;
use protocol::frame::websocket::decode::{Decoder, Incoming, Limits};
use protocol::frame::websocket::encode::{self, Head};
use protocol::frame::websocket::{CloseCode, Opcode, Role};
use tokio::io::{AsyncRead, AsyncWrite};

const LARGEST: usize = 64 << 20;

/// A client's connection. Its streams are cut when it is dropped.
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    _task: lab::Task,
}

impl Client {
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self::with(stream, &Builder::new()).await
    }

    pub(crate) async fn with(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, builder: &Builder) -> Self {
        let (send, connection) = lab::soon(builder.handshake(stream)).await.unwrap().unwrap();
        let task = lab::spawn(async move { drop(connection.await) });
        // Whether extended CONNECT may be used stands in the server's settings (RFC 8441, section 3).
        let client = Self { send, _task: task };
        lab::soon(async {
            while !client.send.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        client
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&self, request: &Request) -> Response<RecvStream> {
        let mut head = http::Request::builder().method(request.method.as_str()).uri(format!("http://localhost{}", request.path));
        for (name, value) in &request.headers {
            head = head.header(name, value);
        }
        let mut send = self.send.clone().ready().await.unwrap();
        let (response, mut sending) = send.send_request(head.body(()).unwrap(), request.body.is_empty()).unwrap();
        if !request.body.is_empty() {
            sending.send_data(request.body.clone().into(), true).unwrap();
        }
        lab::soon(response).await.unwrap().unwrap()
    }

    /// Asks for a WebSocket, with further headers; gives the answer and our side of the stream.
    pub(crate) async fn extended_connect(&self, path: &str, headers: &[(&str, &str)]) -> (Response<RecvStream>, SendStream<Bytes>) {
        let mut head = http::Request::builder()
            .method("CONNECT")
            .uri(format!("http://localhost{path}"))
            .extension(h2::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13");
        for (name, value) in headers {
            head = head.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await.unwrap();
        let (response, sending) = send.send_request(head.body(()).unwrap(), false).unwrap();
        (lab::soon(response).await.unwrap().unwrap(), sending)
    }

    /// Opens a WebSocket.
    pub(crate) async fn socket(&self, path: &str) -> Socket {
        let (response, sending) = self.extended_connect(path, &[]).await;
        assert_eq!(response.status(), 200);
        Socket {
            sending,
            body: response.into_body(),
            decoder: Decoder::new(Role::Client, Limits { frame_bytes: LARGEST, message_bytes: LARGEST }),
        }
    }
}

/// The next bytes of a body, which the server may replace by others at once; `None` at its end.
pub(crate) async fn chunk(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = body.data().await?;
    if let Ok(data) = &data {
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    Some(data)
}

/// How a socket's stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By a close frame.
    Closed(Option<u16>),
    /// By the end of the stream without one.
    Over,
    /// By RST_STREAM.
    Reset(Option<Reason>),
}

/// A WebSocket that is a stream.
pub(crate) struct Socket {
    sending: SendStream<Bytes>,
    body: RecvStream,
    decoder: Decoder,
}

impl Socket {
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_frame(Opcode::Text, text.as_bytes()).await;
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        self.send_frame(Opcode::Close, &encode::close_payload(CloseCode::new(code).unwrap(), reason)).await;
    }

    pub(crate) async fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = BytesMut::new();
        encode::client_frame(&mut frame, Head::whole(opcode), [7, 1, 4, 9], payload);
        self.send_raw(frame.freeze()).await;
    }

    pub(crate) async fn send_raw(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            self.sending.reserve_capacity(bytes.len());
            let ready = std::future::poll_fn(|context| self.sending.poll_capacity(context));
            let room = lab::soon(ready).await.unwrap().unwrap().unwrap();
            self.sending.send_data(bytes.split_to(room.min(bytes.len())), false).unwrap();
        }
    }

    /// Ends our side of the stream, as FIN does of a connection.
    pub(crate) fn half_close(&mut self) {
        self.sending.send_data(Bytes::new(), true).unwrap();
    }

    pub(crate) fn reset(mut self) {
        self.sending.send_reset(Reason::CANCEL);
    }

    /// The next thing that the server says, pings left out.
    pub(crate) async fn next(&mut self) -> Result<Incoming, End> {
        loop {
            match self.decoder.next_message().transpose().unwrap() {
                Some(Incoming::Ping(_)) => {}
                Some(Incoming::Close(code, _)) => return Err(End::Closed(code.map(CloseCode::get))),
                Some(incoming) => return Ok(incoming),
                None => match lab::soon(chunk(&mut self.body)).await.unwrap() {
                    Some(Ok(bytes)) => self.decoder.push(&bytes),
                    Some(Err(error)) => return Err(End::Reset(error.reason())),
                    None => return Err(End::Over),
                },
            }
        }
    }

    pub(crate) async fn next_text(&mut self) -> Result<String, End> {
        loop {
            if let Incoming::Text(text) = self.next().await? {
                return Ok(text);
            }
        }
    }

    /// Takes nothing until the server resets the stream.
    pub(crate) async fn cut(&mut self) -> Option<Reason> {
        lab::soon(std::future::poll_fn(|context| self.sending.poll_reset(context))).await.unwrap().ok()
    }

    /// The stream's end, whatever still comes before it.
    pub(crate) async fn ended(&mut self) -> Result<(), Option<Reason>> {
        loop {
            match lab::soon(chunk(&mut self.body)).await.unwrap() {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.reason()),
                None => return Ok(()),
            }
        }
    }
}
