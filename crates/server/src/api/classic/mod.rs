//! The classic API: a stream that is opened, a question that is posted, and the response on the
//! stream; the same in one GET, and on a WebSocket.

mod asking;
mod cors;
mod greeting;
mod socket;
mod uid;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use codec::emitter::Emitter;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use protocol::dialect::classic::{Classic, Transport};
use protocol::fault::Fault;
use serde_json::json;

pub(crate) use cors::cors;

use self::socket::ClassicSocket;
use super::headers::with_response_id;
use crate::app::App;
use crate::classic::{self, CallerUid, OpenedStream};
use crate::error::{self, FaultResponse};
use crate::http::context::RequestContext;
use crate::http::extract::PathParam;
use crate::transport::{Delivery, Source, websocket};

/// `GET /createSse`: opens the stream for the response to the next question.
pub(crate) async fn create_sse(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
) -> Result<Response, FaultResponse> {
    let asker = CallerUid { uid: uid::of_header(&headers)?, owner: context.owner.clone() };
    if let Some(fault) = app.engine.draining() {
        return Err(fault.into());
    }
    let OpenedStream { given, place } = app.classic.channels.open(&asker)?;
    let delivery = stream(&app, context, Source::Waiting(given), Transport::Channel);
    Ok(Delivery { guard: Some(Box::new(place)), ..delivery }.respond())
}

/// `POST /chat`: asks; the response is sent on the oldest idle stream of the uid.
pub(crate) async fn ask(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FaultResponse> {
    let asker = CallerUid { uid: uid::of_header(&headers)?, owner: context.owner.clone() };
    match asking::ask(&app, &asker, &context, &headers, body).await {
        Ok(response) => Ok(response),
        Err(asking::AskFailure::Early(fault)) => {
            // Its page has opened a stream for it, or is about to, and must not wait there. A page
            // sends both at once, so that it is not while a question waits: a stream that is opened
            // later is for another question.
            app.classic.channels.fail(&asker, app.config.classic.patience / 5);
            Err(fault.into())
        }
        Err(asking::AskFailure::Late(fault)) => Err(fault.into()),
    }
}

/// `GET /chat?message=…`: asks, and streams the response to the question. The oldest form of the
/// API, made for a browser's own `EventSource`, which can send nothing else.
pub(crate) async fn ask_by_query(
    State(app): State<App>,
    context: RequestContext,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, FaultResponse> {
    let query = uri.query().unwrap_or_default();
    if method == Method::HEAD {
        return Ok(error::not_possible(
            "HEAD is not supported on /chat, because GET asks a question.".into(),
        ));
    }
    // A browser that reconnects requests the rest of a response, and there is none: any other
    // status would make it retry.
    if headers.contains_key("last-event-id") || asking::has(query, "lastEventId") {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let question = asking::message(query);
    if question.trim().is_empty() {
        return Err(Fault::invalid(
            "missing_required_parameter",
            "message",
            "Missing required parameter: 'message'.",
        )
        .into());
    }
    let (uid, cookie) = uid::of_query(&headers, query)?;
    let asker = CallerUid { uid, owner: context.owner.clone() };
    let model = app.classic.model(&app.engine).await?;
    let started =
        app.classic.start(&app.engine, &asker, &model, question, context.trace.clone()).await?;
    let greeting = Some(greeting::connected(&asker.uid, engine::clock::now()));
    let delivery = stream(&app, context, Source::Log(started.feed), Transport::Query);
    let mut response = with_response_id(Delivery { greeting, ..delivery }.respond(), &started.id);
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `GET /closeSse`: closes the latest stream of the uid. A response on it is stopped, which ends
/// the stream.
pub(crate) async fn close_sse(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
) -> Result<Response, FaultResponse> {
    let asker = CallerUid { uid: uid::of_header(&headers)?, owner: context.owner };
    if let Some(response) = app.classic.channels.close(&asker) {
        // A response that has just ended needs no stop.
        let _stopped = app.engine.request_cancel(&asker.owner, &response).await;
    }
    Ok(Json(json!({ "closed": true })).into_response())
}

/// `GET /websocket/{uid}` + Upgrade: a message is a question.
pub(crate) async fn socket(
    State(app): State<App>,
    context: RequestContext,
    PathParam(uid): PathParam<String>,
    request: Request,
) -> Result<Response, FaultResponse> {
    let asker = CallerUid { uid: uid::checked(&uid)?, owner: context.owner.clone() };
    Ok(websocket::open(&app, ClassicSocket { asker }, context, request)?)
}

/// A stream of the classic API, whose clients give up after a while without a byte.
fn stream(app: &App, context: RequestContext, source: Source, transport: Transport) -> Delivery {
    let heartbeat = classic::heartbeat(app.config.heartbeat);
    Delivery {
        heartbeat,
        ..Delivery::new(app, context, source, Box::new(Classic::new(transport)), &Emitter)
    }
}
