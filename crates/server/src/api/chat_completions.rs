//! `POST /v1/chat/completions`: the same answers in OpenAI's older words.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use codec::Frame;
use engine::feed::Feed;
use engine::response::options::{Idempotency, Terms};
use http::{HeaderMap, HeaderValue, header};
use protocol::dialect::Dialect;
use protocol::dialect::chat_completions::{ChatOptions, Fold, completion, partial_completion, read_create};
use protocol::event::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::snapshot;
use serde_json::value::RawValue;

use super::hold::{Held, hold, patience};
use super::responses::{idempotency_key, named, warned};
use crate::app::App;
use crate::error::{self, Refused, left};
use crate::http::body::{self, Read};
use crate::http::context::RequestContext as From;
use crate::listen::Connection;
use crate::metrics::Words;
use crate::transport::{Delivery, Ending, Failed, respond, response_in, stream_frame, tell_lens, wait_for_end};

/// `POST /v1/chat/completions`
pub(crate) async fn create(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let path = key.as_ref().map(|_| "/v1/chat/completions");
    let Read { request: chat, fingerprint, bytes } = body::json(&app, &from.owner, &headers, body, path, read_create).await?;
    let idempotency = key.zip(fingerprint).map(|(key, request)| Idempotency { key, request });
    from.grant.check()?;
    let stream = chat.create.stream;
    let terms = Terms { idempotency, trace: from.trace.clone(), bytes: Some(bytes), ..Terms::default() };
    let started = app.engine.start(&from.owner, chat.create, terms).await?;
    let (id, ignored) = (started.id.clone(), started.ignored);
    let response = if stream {
        streamed(&app, from, started.feed, chat.options, &headers).await
    } else {
        ended(started.feed, &app, &from, chat.options).await
    };
    let response = named(response.unwrap_or_else(|fault| Refused(fault).into_response()), &id);
    Ok(warned(response, &ignored))
}

/// Streams the answer, unless it fails while its head can still say so.
async fn streamed(app: &App, from: From, mut feed: Feed, options: ChatOptions, headers: &HeaderMap) -> Result<Response, Fault> {
    let frame = stream_frame(headers);
    let counted = app.metrics.stream(frame.frame(), Words::ChatCompletions);
    match hold(&mut feed, from.connection.as_ref(), patience(&app.config, headers)).await? {
        Held::Failed => {
            drop(counted);
            ended(feed, app, &from, options).await
        }
        Held::Go => Ok(respond(Delivery {
            feed,
            dialect: Dialect::ChatCompletions(Box::new(Fold::new(options))),
            frame,
            grant: from.grant,
            connection: from.connection,
            is_http_1_0: from.is_http_1_0,
            config: app.config.clone(),
            drain: app.drain.clone(),
            _counted: counted,
        })),
    }
}

/// Waits for the end and says it as one completion.
async fn ended(feed: Feed, app: &App, from: &From, options: ChatOptions) -> Result<Response, Fault> {
    let _counted = app.metrics.stream(Frame::Json, Words::ChatCompletions);
    let connection = from.connection.as_ref();
    match wait_for_end(feed, from, app.config.fin_leaves_json).await {
        Ending::Answer(terminal) => Ok(whole(&terminal, connection, options)),
        Ending::Failed(failed) => Ok(part(&failed, options)),
        Ending::Left => Err(left()),
    }
}

/// A response as a completion, or as an error where it did not end as a completion can: with a finish reason.
fn whole(terminal: &Entry, connection: Option<&Connection>, options: ChatOptions) -> Response {
    let unreadable = || Fault::new(FaultKind::Server, "server_error", "the log's last entry is not readable");
    let response = snapshot::response(std::slice::from_ref(terminal)).ok_or_else(unreadable);
    let body = match response.and_then(|response| completion(&response, options)) {
        Ok(completion) => completion.to_string(),
        Err(fault) => return part(&Failed::at(fault, terminal.clone()), options),
    };
    let told = response_in(terminal).map_or("", RawValue::get);
    tell_lens(connection, told.as_bytes(), body.as_bytes());
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// The error of a response that failed, beside what there is of it: a completion without a finish reason.
fn part(failed: &Failed, options: ChatOptions) -> Response {
    let response = failed.terminal().and_then(|terminal| snapshot::response(std::slice::from_ref(terminal)));
    let completion = response.filter(|_| failed.has_output()).map(|response| partial_completion(&response, options).to_string());
    error::failed(failed, completion.as_deref().map(|completion| ("completion", completion)))
}
