//! `POST /v1/chat/completions`: the same answers in OpenAI's older words.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::answers::{Terms, log_fault};
use engine::feed::Feed;
use http::{HeaderMap, HeaderValue, header};
use protocol::dialect::Dialect;
use protocol::dialect::chat_completions::{ChatOptions, Fold, completion, read_create};
use protocol::event::EventKind;
use protocol::fault::{Fault, FaultKind};
use protocol::frame::Frame;
use protocol::snapshot;
use serde_json::value::RawValue;

use super::responses::{idempotency, named, warned};
use super::{From, body};
use crate::error::{Refused, left};
use crate::listen::Connection;
use crate::metrics::Words;
use crate::router::App;
use crate::transport::{Delivery, Ending, respond, response_in, stream_frame, tell_lens, wait_for_end};

/// Where the entries that the model made begin: behind `response.created` and `response.in_progress`.
const FIRST_OUTPUT: u64 = 2;

/// `POST /v1/chat/completions`
pub(crate) async fn create(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    let body = body::json(&app.config, &headers, body).await?;
    let chat = read_create(&body.value)?;
    let stream = chat.create.stream;
    let idempotency = idempotency(&headers, "/v1/chat/completions", &body.bytes)?;
    let terms = Terms { idempotency, trace: from.trace.clone(), ..Terms::default() };
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
    match hold(&mut feed, from.connection.as_ref(), app.config.chat_hold).await? {
        Held::Failed => {
            drop(counted);
            ended(feed, app, &from, options).await
        }
        Held::Go => Ok(respond(Delivery {
            feed,
            dialect: Dialect::ChatCompletions(Box::new(Fold::new(options))),
            frame,
            connection: from.connection,
            is_http_1_0: from.is_http_1_0,
            config: app.config.clone(),
            drain: app.drain.clone(),
            _counted: counted,
        })),
    }
}

/// Whether the head of a stream may say 200.
enum Held {
    Go,
    /// The answer has failed before the model made anything: its status can still be true.
    Failed,
}

/// Holds the head until upstream has answered, or `patience` is over, or the client half-closes: it then wants a sign.
async fn hold(feed: &mut Feed, connection: Option<&Connection>, patience: Duration) -> Result<Held, Fault> {
    let signal = async {
        match connection {
            Some(connection) => connection.signal().await,
            None => std::future::pending().await,
        }
    };
    let first = tokio::select! {
        biased;
        first = feed.peek(FIRST_OUTPUT) => first,
        _ = signal => return Ok(Held::Go),
        () = tokio::time::sleep(patience) => return Ok(Held::Go),
    };
    match first.map_err(log_fault)? {
        Some(entry) if entry.kind == EventKind::Error => Ok(Held::Failed),
        Some(_) | None => Ok(Held::Go),
    }
}

/// Waits for the end and says it as one completion.
async fn ended(feed: Feed, app: &App, from: &From, options: ChatOptions) -> Result<Response, Fault> {
    let _counted = app.metrics.stream(Frame::Json, Words::ChatCompletions);
    match wait_for_end(feed, from.connection.as_ref(), app.config.fin_leaves_json).await {
        Ending::Answer(terminal) => {
            let unreadable = || Fault::new(FaultKind::Server, "server_error", "the log's last entry is not readable");
            let response = snapshot::response(std::slice::from_ref(&terminal)).ok_or_else(unreadable)?;
            let body = completion(&response, options)?.to_string();
            let told = response_in(&terminal).map_or("", RawValue::get);
            tell_lens(from.connection.as_ref(), told.as_bytes(), body.as_bytes());
            Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
        }
        Ending::Failed(fault) => Err(fault),
        Ending::Left => Err(left()),
    }
}
