//! `POST /v1/embeddings`, `/v1/completions` and `/v1/moderations`: what passes through to upstreams that have it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use codec::Frame;
use engine::passthrough::call::{Events, PassthroughCall};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, header};
use protocol::fault::Fault;
use protocol::passthrough::{Operation, Passthrough};

use super::body::Read;
use super::hold::patience;
use super::{From, body};
use crate::app::App;
use crate::error::{Refused, left};
use crate::grants::revoked;
use crate::listen::Connection;
use crate::metrics::Words;
use crate::transport::{EventDelivery, client_left, respond_events, stream_frame, tell_lens};

/// `POST /v1/embeddings`
pub(crate) async fn embeddings(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    pass(&app, from, &headers, body, Operation::Embeddings).await
}

/// `POST /v1/completions`
pub(crate) async fn completions(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    pass(&app, from, &headers, body, Operation::Completions).await
}

/// `POST /v1/moderations`
pub(crate) async fn moderations(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    pass(&app, from, &headers, body, Operation::Moderations).await
}

async fn pass(app: &App, from: From, headers: &HeaderMap, body: Body, operation: Operation) -> Result<Response, Refused> {
    let read = move |body: &[u8]| Passthrough::read(operation, body);
    let Read { request, bytes, .. } = body::passed_on(app, &from.owner, headers, body, read).await?;
    from.grant.check()?;
    let stream = request.stream;
    let call = app.engine.passthrough(&from.owner, request, from.trace.clone(), bytes)?;
    Ok(if stream { streamed(app, from, call, headers).await? } else { whole(app, &from, call, operation).await? })
}

/// Waits for the response, as long as the client does. Dropping the call on return cancels it.
async fn whole(app: &App, from: &From, call: PassthroughCall, operation: Operation) -> Result<Response, Fault> {
    let _counted = app.metrics.stream(Frame::Json, Words::Passthrough(operation));
    let connection = from.connection.as_ref();
    let document = tokio::select! {
        biased;
        _ = from.grant.ended() => return Err(revoked()),
        document = call.document() => document?,
        () = client_left(connection, app.config.fin_leaves_json) => return Err(left()),
    };
    tell_lens(connection, b"", &document);
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document).into_response())
}

/// Streams the response, unless it fails while its head can still say so.
async fn streamed(app: &App, from: From, call: PassthroughCall, headers: &HeaderMap) -> Result<Response, Fault> {
    let frame = stream_frame(headers);
    let counted = app.metrics.stream(frame.frame(), Words::Passthrough(Operation::Completions));
    let mut events = call.events();
    let first = tokio::select! {
        biased;
        _ = from.grant.ended() => return Err(revoked()),
        first = hold(&mut events, from.connection.as_ref(), patience(&app.config, headers)) => first?,
    };
    Ok(respond_events(EventDelivery {
        events,
        first,
        frame,
        grant: from.grant,
        connection: from.connection,
        is_http_1_0: from.is_http_1_0,
        config: Arc::clone(&app.config),
        _counted: counted,
    }))
}

/// Holds the head until the first event, or `patience` is over, or the client half-closes: it then wants a sign.
async fn hold(events: &mut Events, connection: Option<&Connection>, patience: Duration) -> Result<Option<Bytes>, Fault> {
    let signal = async {
        match connection {
            Some(connection) => connection.signal().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        first = events.next() => first.transpose(),
        _ = signal => Ok(None),
        () = tokio::time::sleep(patience) => Ok(None),
    }
}
