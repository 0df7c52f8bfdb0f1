//! A cell of the matrix: one case of one vendor, in one dialect and frame.

use crate::test_server::TestFrame;
use client::soon;
use client::{BodyEnd, Request, websocket};
use fakes::Vendor;
use serde_json::{Value, json};

use super::cases::VendorCase;
use super::vendors::model;
use crate::resume::accept;
use crate::scenarios::table::ExpectedOutcome;
use crate::scenarios::{chat, check_refusal, data, responses};
use crate::test_server::TestServer;

/// The dialect and frame of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellTransport {
    Responses(TestFrame),
    /// The dialect `responses` on a WebSocket.
    Socket,
    Chat(TestFrame),
}

/// Every combination: chat completions have no WebSocket.
pub(crate) const WAYS: [CellTransport; 7] = [
    CellTransport::Responses(TestFrame::Json),
    CellTransport::Responses(TestFrame::Ndjson),
    CellTransport::Responses(TestFrame::Sse),
    CellTransport::Socket,
    CellTransport::Chat(TestFrame::Json),
    CellTransport::Chat(TestFrame::Ndjson),
    CellTransport::Chat(TestFrame::Sse),
];

impl CellTransport {
    fn path(self) -> &'static str {
        match self {
            Self::Responses(_) | Self::Socket => "/v1/responses",
            Self::Chat(_) => "/v1/chat/completions",
        }
    }

    /// A request body for `model` with more fields.
    pub(crate) fn question(self, model: &str, more: &Value) -> Value {
        let mut body = match self {
            Self::Responses(_) | Self::Socket => {
                json!({ "model": model, "input": "How is the weather?" })
            }
            Self::Chat(_) => {
                json!({ "model": model, "messages": [{ "role": "user", "content": "How is the weather?" }] })
            }
        };
        match self {
            Self::Socket => body["type"] = "response.create".into(),
            Self::Responses(frame) => body["stream"] = (frame != TestFrame::Json).into(),
            Self::Chat(TestFrame::Json) => {}
            Self::Chat(_) => {
                body["stream"] = true.into();
                body["stream_options"] = json!({ "include_usage": true });
            }
        }
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    }

    /// The request with this body.
    pub(crate) fn request(self, body: &Value) -> Request {
        let request = Request::post(self.path(), body);
        match self {
            Self::Responses(frame) | Self::Chat(frame) => accept(request, frame),
            Self::Socket => request,
        }
    }
}

/// Sends the request and checks the complete response.
pub(super) async fn check(
    test_server: &TestServer,
    vendor: Vendor,
    case: &VendorCase,
    way: CellTransport,
) {
    let more = match way {
        CellTransport::Responses(_) | CellTransport::Socket => case.asks.responses(),
        CellTransport::Chat(_) => case.asks.chat(),
    };
    let body = way.question(&model(vendor, &case.scenario.name), &more);
    match (way, case.scenario.outcome) {
        (CellTransport::Socket, _) => {
            let mut socket =
                websocket::connect(test_server.address, way.path(), &[]).await.unwrap().socket;
            let data = turn(&mut socket, &body).await;
            check_events(case, &data);
        }
        (
            CellTransport::Responses(TestFrame::Json) | CellTransport::Chat(TestFrame::Json),
            ExpectedOutcome::Fails { .. },
        )
        | (
            CellTransport::Responses(_) | CellTransport::Chat(_),
            ExpectedOutcome::Fails { after_output: false, .. },
        ) => {
            check_status(test_server, case, &way.request(&body)).await;
        }
        (CellTransport::Responses(TestFrame::Json), _) => {
            let (status, response) = test_server.json(&way.request(&body)).await;
            assert_eq!(status, 200, "{response}");
            check_response(case, &response);
        }
        (CellTransport::Chat(TestFrame::Json), _) => {
            let (status, completion) = test_server.json(&way.request(&body)).await;
            assert_eq!(status, 200, "{completion}");
            check_completion(case, &chat::read_completion(&case.scenario.name, &completion));
        }
        (CellTransport::Responses(frame), _) => {
            let (data, end) = stream(test_server, case, &way.request(&body), frame, true).await;
            assert_eq!(end, BodyEnd::Clean);
            check_events(case, &data);
        }
        (CellTransport::Chat(frame), _) => {
            let (data, end) = stream(test_server, case, &way.request(&body), frame, false).await;
            assert_eq!(end, chat::body_end(&case.scenario));
            check_completion(case, &chat::read_stream(&case.scenario, &data, true));
        }
    }
}

/// The data of a complete stream.
async fn stream(
    test_server: &TestServer,
    case: &VendorCase,
    request: &Request,
    frame: TestFrame,
    is_named: bool,
) -> (Vec<String>, BodyEnd) {
    let (events, end) = soon(test_server.stream(request).await.collect()).await.unwrap().unwrap();
    let data = data(&case.scenario.name, (frame, end), &events, |event| {
        event["type"].as_str().filter(|_| is_named)
    });
    (data, end)
}

/// One turn on a socket: the data of its events up to the terminal one, after which nothing follows.
pub(crate) async fn turn(socket: &mut websocket::Socket, message: &Value) -> Vec<String> {
    socket.send_text(&message.to_string()).await.unwrap();
    let mut data = Vec::new();
    loop {
        let text = soon(socket.next_text()).await.unwrap().unwrap().unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        data.push(text);
        if matches!(
            event["type"].as_str(),
            Some("response.completed" | "response.incomplete" | "response.failed")
        ) {
            break;
        }
        // A rejected request has a status and no sequence number.
        assert!(event.get("status").is_none(), "{event}");
    }
    socket.close(1000, "").await.unwrap();
    let (after, _) = soon(socket.collect()).await.unwrap().unwrap();
    assert!(after.is_empty(), "{after:?}");
    data
}

/// An error reported by its status.
async fn check_status(test_server: &TestServer, case: &VendorCase, request: &Request) {
    let ExpectedOutcome::Fails { status: expected, code, .. } = case.scenario.outcome else {
        panic!("{} is no fault", case.scenario.name)
    };
    let mut response = soon(test_server.send(request)).await.unwrap();
    let status = response.status;
    assert_eq!(response.headers.get("retry-after"), case.retry_after);
    let (body, end) = response.collect().await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let body: Value = serde_json::from_slice(&body).unwrap();
    check_refusal(&case.scenario.name, status, &body, (expected, code));
    assert!(!body.to_string().contains("sk-of-q8Zv41Tn0bX"), "{body}");
}

fn check_events(case: &VendorCase, data: &[String]) {
    let response = responses::check_stream(&case.scenario, data);
    check_response(case, &response);
    let events = data.iter().map(|data| serde_json::from_str::<Value>(data).unwrap());
    for error in events.filter(|event| event["type"] == "error") {
        assert_eq!(error["error"]["headers"]["retry-after"].as_str(), case.retry_after, "{error}");
    }
}

fn check_response(case: &VendorCase, response: &Value) {
    responses::check_end(&case.scenario, response);
    let usage = &response["usage"];
    assert_eq!(
        usage["input_tokens_details"]["cached_tokens"].as_u64().unwrap_or_default(),
        case.cached,
        "{usage}"
    );
}

fn check_completion(case: &VendorCase, ended: &chat::EndedCompletion) {
    chat::check_end(&case.scenario, ended);
    if let Some(usage) = &ended.usage {
        assert_eq!(
            usage["prompt_tokens_details"]["cached_tokens"].as_u64(),
            Some(case.cached),
            "{usage}"
        );
    }
}
