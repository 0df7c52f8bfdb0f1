//! A dialect added as `docs/adding/a-dialect.md` describes, over each of its frames and on a real
//! listener.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Request, State};
use bytes::BytesMut;
use codec::websocket::decode::{IncomingMessage, WebSocketDecoder, WebSocketLimits};
use codec::websocket::encode::{WebSocketFrameHead, client_frame};
use codec::websocket::{Opcode, WebSocketRole};
use protocol::dialect::{Description, Message, SocketDialect, StreamEnd, classic};
use protocol::event::EventKind;
use protocol::request::Create;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::http::{auth, middleware};
use crate::live::LiveServer;
use crate::transport::websocket::{self, DialectSocket};
use crate::{Config, listen, live, test_app};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The dialect: requests are `{"ask":…}`, messages `{"t":…}`.
#[derive(Clone, Debug)]
struct Plain;

const PLAIN: Description =
    Description { name: "plain", frames: &["json", "ndjson", "sse", "websocket"] };

impl Dialect for Plain {
    fn description(&self) -> &'static Description {
        &PLAIN
    }

    fn read(body: &Value) -> Result<(Create, Self), Fault> {
        let ask = body["ask"].as_str().ok_or_else(|| {
            Fault::invalid("missing_required_parameter", "ask", "'ask' is missing.")
        })?;
        Ok((
            Create {
                stream: body["whole"].is_null(),
                ..classic::create("scripted", ask.to_owned())
            },
            Self,
        ))
    }

    fn fold(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        let event: Value = serde_json::from_slice(&entry.data).unwrap_or_default();
        if entry.kind == EventKind::OutputTextDelta {
            messages.push(Message {
                name: Some("t"),
                data: json!({ "t": event["delta"] }).to_string().into(),
                ..Message::default()
            });
        }
    }

    fn whole(&self, terminal: &Entry) -> Result<Bytes, Fault> {
        let event: Value = serde_json::from_slice(&terminal.data).unwrap_or_default();
        Ok(json!({ "t": event["response"]["output"][0]["content"][0]["text"] }).to_string().into())
    }

    fn error(&mut self, fault: &Fault, messages: &mut Vec<Message>) {
        messages.push(Message { data: Self::error_body(fault, None).into(), ..Message::default() });
    }

    fn error_body(fault: &Fault, _partial: Option<protocol::dialect::Partial>) -> String {
        json!({ "wrong": fault.code }).to_string()
    }

    fn end(&self) -> StreamEnd {
        StreamEnd::Clean { sentinel: Some("[END]") }
    }
}

impl SocketDialect for Plain {
    fn unstarted() -> Self {
        Self
    }
}

/// The handler's file.
async fn post(
    State(app): State<App>,
    context: Result<RequestContext, FaultResponse>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    create::<Plain>(&app, context, &headers, body, "/v1/plain").await
}

async fn socket(
    State(app): State<App>,
    context: RequestContext,
    request: Request,
) -> Result<Response, FaultResponse> {
    Ok(websocket::open(&app, DialectSocket::<Plain>::default(), context, request)?)
}

/// The router's line.
fn routes() -> Router<App> {
    Router::new().route("/v1/plain", axum::routing::post(post).get(socket))
}

/// Runs `check` against a listener that serves the routes above.
async fn served<F: Future<Output = Outcome>>(check: impl FnOnce(SocketAddr) -> F) -> Outcome {
    let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
    let listener = listen::bind(config.listen)?;
    config.listen = listener.local_addr()?;
    let (address, app) = (config.listen, test_app::app(config));
    let routes =
        routes().route_layer(axum::middleware::from_fn_with_state(app.clone(), auth::authenticate));
    let router = middleware::wrap(routes, &app).with_state(app.clone());
    tokio::select! {
        () = live::serve(listener, LiveServer::with_router(app, router), None) => Err("the listener ended".into()),
        outcome = check(address) => outcome,
    }
}

/// The status line and the body of a response over HTTP/1.0, whose body has no chunks; without
/// heartbeats.
async fn ask(address: SocketAddr, accept: &str, body: &Value) -> Outcome<(String, String)> {
    let body = body.to_string();
    let head = format!(
        "content-type: application/json\r\ncontent-length: {}\r\naccept: {accept}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("POST /v1/plain HTTP/1.0\r\nhost: localhost\r\n{head}{body}").as_bytes())
        .await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or("no head")?;
    let status = head.lines().next().unwrap_or_default().to_owned();
    Ok((status, body.replace(": ping\n", "").trim_start_matches('\n').to_owned()))
}

#[tokio::test]
async fn it_works_as_a_document_and_over_both_streams() -> Outcome {
    served(|address| async move {
        let expected =
            "event: t\ndata: {\"t\":\"Hel\"}\n\nevent: t\ndata: {\"t\":\"lo\"}\n\ndata: [END]\n\n";
        let ok = "HTTP/1.0 200 OK";
        let question = json!({ "ask": "hi" });
        assert_eq!(ask(address, "*/*", &question).await?, (ok.into(), expected.into()));
        let expected = "{\"t\":\"Hel\"}\n{\"t\":\"lo\"}\n";
        assert_eq!(
            ask(address, "application/x-ndjson", &question).await?,
            (ok.into(), expected.into())
        );
        let whole = json!({ "ask": "hi", "whole": true });
        assert_eq!(ask(address, "*/*", &whole).await?, (ok.into(), "{\"t\":\"Hello\"}".into()));
        let refused = "{\"wrong\":\"missing_required_parameter\"}";
        assert_eq!(
            ask(address, "*/*", &json!({})).await?,
            ("HTTP/1.0 400 Bad Request".into(), refused.into())
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn it_works_on_a_socket() -> Outcome {
    served(|address| async move {
        let mut stream = TcpStream::connect(address).await?;
        let upgrade =
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        stream.write_all(format!("GET /v1/plain HTTP/1.1\r\nhost: localhost\r\n{upgrade}\r\n\r\n").as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let mut out = BytesMut::new();
        for question in [json!({ "ask": "hi" }), json!({}), json!({ "ask": "again" })] {
            client_frame(&mut out, WebSocketFrameHead::whole(Opcode::Text), [1, 2, 3, 4], question.to_string().as_bytes());
        }
        stream.write_all(&out).await?;
        let expected =
            ["{\"t\":\"Hel\"}", "{\"t\":\"lo\"}", "{\"wrong\":\"missing_required_parameter\"}", "{\"t\":\"Hel\"}", "{\"t\":\"lo\"}"];
        let mut decoder = WebSocketDecoder::new(WebSocketRole::Client, WebSocketLimits { frame_bytes: 1 << 16, message_bytes: 1 << 16 });
        for expected in expected {
            let message = loop {
                if let Some(message) = decoder.next_message() {
                    break message?;
                }
                let mut buffer = [0; 1024];
                let count = stream.read(&mut buffer).await?;
                decoder.push(buffer.get(..count).filter(|read| !read.is_empty()).ok_or("the socket ended")?);
            };
            assert_eq!(message, IncomingMessage::Text(expected.to_owned()), "errors wait for the responses before them");
        }
        Ok(())
    })
    .await
}
