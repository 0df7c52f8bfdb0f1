//! A cell of the matrix: one case of one vendor, in one dialect and frame.

use crate::house::Frame;
use client::soon;
use client::{BodyEnd, Request, websocket};
use fakes::Vendor;
use serde_json::{Value, json};

use super::cases::Case;
use super::vendors::model;
use crate::house::House;
use crate::resume::accept;
use crate::scenarios::table::Outcome;
use crate::scenarios::{chat, check_refusal, data, responses};

/// The dialect and frame of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Responses(Frame),
    /// The dialect `responses` on a WebSocket.
    Socket,
    Chat(Frame),
}

/// Every combination: chat completions have no WebSocket.
pub(crate) const WAYS: [Way; 7] = [
    Way::Responses(Frame::Json),
    Way::Responses(Frame::Ndjson),
    Way::Responses(Frame::Sse),
    Way::Socket,
    Way::Chat(Frame::Json),
    Way::Chat(Frame::Ndjson),
    Way::Chat(Frame::Sse),
];

impl Way {
    fn path(self) -> &'static str {
        match self {
            Self::Responses(_) | Self::Socket => "/v1/responses",
            Self::Chat(_) => "/v1/chat/completions",
        }
    }

    /// A request body for `model` with more fields.
    pub(crate) fn question(self, model: &str, more: &Value) -> Value {
        let mut body = match self {
            Self::Responses(_) | Self::Socket => json!({ "model": model, "input": "How is the weather?" }),
            Self::Chat(_) => json!({ "model": model, "messages": [{ "role": "user", "content": "How is the weather?" }] }),
        };
        match self {
            Self::Socket => body["type"] = "response.create".into(),
            Self::Responses(frame) => body["stream"] = (frame != Frame::Json).into(),
            Self::Chat(Frame::Json) => {}
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
pub(super) async fn check(house: &House, vendor: Vendor, case: &Case, way: Way) {
    let more = match way {
        Way::Responses(_) | Way::Socket => case.asks.responses(),
        Way::Chat(_) => case.asks.chat(),
    };
    let body = way.question(&model(vendor, &case.scenario.name), &more);
    match (way, case.scenario.outcome) {
        (Way::Socket, _) => {
            let mut socket = websocket::connect(house.address, way.path(), &[]).await.unwrap().socket;
            let data = turn(&mut socket, &body).await;
            check_events(case, &data);
        }
        (Way::Responses(Frame::Json) | Way::Chat(Frame::Json), Outcome::Fails { .. })
        | (Way::Responses(_) | Way::Chat(_), Outcome::Fails { after_output: false, .. }) => {
            check_status(house, case, &way.request(&body)).await;
        }
        (Way::Responses(Frame::Json), _) => {
            let (status, response) = house.json(&way.request(&body)).await;
            assert_eq!(status, 200, "{response}");
            check_response(case, &response);
        }
        (Way::Chat(Frame::Json), _) => {
            let (status, completion) = house.json(&way.request(&body)).await;
            assert_eq!(status, 200, "{completion}");
            check_completion(case, &chat::read_completion(&case.scenario.name, &completion));
        }
        (Way::Responses(frame), _) => {
            let (data, end) = stream(house, case, &way.request(&body), frame, true).await;
            assert_eq!(end, BodyEnd::Clean);
            check_events(case, &data);
        }
        (Way::Chat(frame), _) => {
            let (data, end) = stream(house, case, &way.request(&body), frame, false).await;
            assert_eq!(end, chat::body_end(&case.scenario));
            check_completion(case, &chat::read_stream(&case.scenario, &data, true));
        }
    }
}

/// The data of a complete stream.
async fn stream(house: &House, case: &Case, request: &Request, frame: Frame, is_named: bool) -> (Vec<String>, BodyEnd) {
    let (events, end) = soon(house.stream(request).await.collect()).await.unwrap().unwrap();
    let data = data(&case.scenario.name, (frame, end), &events, |event| event["type"].as_str().filter(|_| is_named));
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
        if matches!(event["type"].as_str(), Some("response.completed" | "response.incomplete" | "response.failed")) {
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
async fn check_status(house: &House, case: &Case, request: &Request) {
    let Outcome::Fails { status: expected, code, .. } = case.scenario.outcome else { panic!("{} is no fault", case.scenario.name) };
    let mut response = soon(house.send(request)).await.unwrap();
    let status = response.status;
    assert_eq!(response.headers.get("retry-after"), case.retry_after);
    let (body, end) = response.collect().await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let body: Value = serde_json::from_slice(&body).unwrap();
    check_refusal(&case.scenario.name, status, &body, (expected, code));
    assert!(!body.to_string().contains("sk-of-q8Zv41Tn0bX"), "{body}");
}

fn check_events(case: &Case, data: &[String]) {
    let response = responses::check_stream(&case.scenario, data);
    check_response(case, &response);
    let events = data.iter().map(|data| serde_json::from_str::<Value>(data).unwrap());
    for error in events.filter(|event| event["type"] == "error") {
        assert_eq!(error["error"]["headers"]["retry-after"].as_str(), case.retry_after, "{error}");
    }
}

fn check_response(case: &Case, response: &Value) {
    responses::check_end(&case.scenario, response);
    let usage = &response["usage"];
    assert_eq!(usage["input_tokens_details"]["cached_tokens"].as_u64().unwrap_or_default(), case.cached, "{usage}");
}

fn check_completion(case: &Case, ended: &chat::Ended) {
    chat::check_end(&case.scenario, ended);
    if let Some(usage) = &ended.usage {
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"].as_u64(), Some(case.cached), "{usage}");
    }
}
