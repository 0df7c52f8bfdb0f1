//! The classic API: a stream that is opened, a question that is posted, and the answer on the stream; the same in one GET,
//! and on a WebSocket.

mod asking;
mod cors;
mod greeting;
mod uid;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use codec::emitter;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use lens::live::ByteBreakdown;
use protocol::dialect::classic::{Door, Fold};
use protocol::fault::Fault;
use serde_json::json;

pub(crate) use cors::cors;

use super::responses::named;
use crate::app::App;
use crate::classic::{self, Asker};
use crate::error::{self, Refused};
use crate::http::context::RequestContext as From;
use crate::http::extract::Path;
use crate::transport::{Source, Telling, tell, websocket};

/// `GET /createSse`: opens the stream on which the answer to the next question comes.
pub(crate) async fn create_sse(State(app): State<App>, from: From, headers: HeaderMap) -> Result<Response, Refused> {
    let asker = Asker { uid: uid::of_header(&headers)?, owner: from.owner.clone() };
    if let Some(fault) = app.engine.draining() {
        return Err(fault.into());
    }
    let opened = app.classic.channels.open(&asker)?;
    let opening = (Bytes::from_static(emitter::OPENING), ByteBreakdown::default());
    Ok(tell(telling(&app, from, Source::Idle(opened), Door::Channel, opening)))
}

/// `POST /chat`: asks; the answer comes on the oldest stream of the uid that is idle.
pub(crate) async fn ask(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    let asker = Asker { uid: uid::of_header(&headers)?, owner: from.owner.clone() };
    match asking::ask(&app, &asker, &from, &headers, body).await {
        Ok(response) => Ok(response),
        Err(asking::Failure::Early(fault)) => {
            // Its page has opened a stream for it, or is about to, and must not wait there. A page sends both at once, so that
            // it is not for as long as a question waits: a stream that somebody opens later is for another question.
            app.classic.channels.fail(&asker, app.config.classic.patience / 5);
            Err(fault.into())
        }
        Err(asking::Failure::Late(fault)) => Err(fault.into()),
    }
}

/// `GET /chat?message=…`: asks, and the answer is the response. The oldest form of the API, made for a browser's own
/// `EventSource`, which can send nothing else.
pub(crate) async fn ask_by_query(
    State(app): State<App>,
    from: From,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = uri.query().unwrap_or_default();
    if method == Method::HEAD {
        return Ok(error::not_possible("HEAD is not possible on /chat: GET asks a question.".into()));
    }
    // A browser that comes back wants the rest of an answer, and there is none: anything but this would ask once more.
    if headers.contains_key("last-event-id") || asking::has(query, "lastEventId") {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let question = asking::message(query);
    if question.trim().is_empty() {
        return Err(Fault::invalid("missing_required_parameter", "message", "Missing required parameter: 'message'.").into());
    }
    let (uid, cookie) = uid::of_query(&headers, query)?;
    let asker = Asker { uid, owner: from.owner.clone() };
    let model = classic::model(&app).await?;
    let started = classic::start(&app, &asker, &model, question, from.trace.clone()).await?;
    let greeting = greeting::connected(&asker.uid, engine::clock::now());
    let response = tell(telling(&app, from, Source::Answer(None, started.feed), Door::Query, greeting));
    let mut response = named(response, &started.id);
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `GET /closeSse`: closes the latest stream of the uid. An answer on it is stopped, and ends it.
pub(crate) async fn close_sse(State(app): State<App>, from: From, headers: HeaderMap) -> Result<Response, Refused> {
    let asker = Asker { uid: uid::of_header(&headers)?, owner: from.owner };
    if let Some(answer) = app.classic.channels.close(&asker) {
        // An answer that has just ended needs no stop.
        let _stopped = app.engine.request_cancel(&asker.owner, &answer).await;
    }
    Ok(Json(json!({ "closed": true })).into_response())
}

/// `GET /websocket/{uid}` + Upgrade: a message is a question.
pub(crate) async fn socket(State(app): State<App>, from: From, Path(uid): Path<String>, request: Request) -> Result<Response, Refused> {
    let asker = Asker { uid: uid::checked(&uid)?, owner: from.owner.clone() };
    Ok(websocket::open_classic(&app, asker, from, request)?)
}

fn telling(app: &App, from: From, source: Source, door: Door, opening: (Bytes, ByteBreakdown)) -> Telling {
    let From { grant, connection, is_http_1_0, .. } = from;
    let (opening, counted) = opening;
    Telling {
        source,
        opening,
        counted,
        fold: Fold::new(door),
        grant,
        connection,
        is_http_1_0,
        config: app.config.clone(),
        drain: app.drain.clone(),
        metrics: Arc::clone(&app.metrics),
    }
}
