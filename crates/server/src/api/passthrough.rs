//! `POST /v1/embeddings`, `/v1/completions` and `/v1/moderations`: calls that pass through to
//! upstreams that serve them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use codec::Frame;
use codec::json::Json;
use engine::passthrough::call::{PassthroughCall, PassthroughEvents};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, header};
use protocol::fault::Fault;
use protocol::passthrough::{Operation, Passthrough};

use super::hold::patience;
use crate::app::App;
use crate::error::{FaultResponse, left};
use crate::grants::revoked;
use crate::http::body::{self, ReadBody};
use crate::http::context::RequestContext;
use crate::listen::ConnectionHandle;
use crate::transport::{EventDelivery, client_left, respond_events, stream_frame, tell_lens};

/// `POST /v1/embeddings`
pub(crate) async fn embeddings(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FaultResponse> {
    pass(&app, context, &headers, body, Operation::Embeddings).await
}

/// `POST /v1/completions`
pub(crate) async fn completions(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FaultResponse> {
    pass(&app, context, &headers, body, Operation::Completions).await
}

/// `POST /v1/moderations`
pub(crate) async fn moderations(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FaultResponse> {
    pass(&app, context, &headers, body, Operation::Moderations).await
}

async fn pass(
    app: &App,
    context: RequestContext,
    headers: &HeaderMap,
    body: Body,
    operation: Operation,
) -> Result<Response, FaultResponse> {
    let read = move |body: &[u8]| Passthrough::read(operation, body);
    let ReadBody { request, bytes, .. } =
        body::passed_on(app, &context.owner, headers, body, read).await?;
    context.grant.check()?;
    let stream = request.stream;
    let call = app.engine.passthrough(&context.owner, request, context.trace.clone(), bytes)?;
    Ok(if stream {
        streamed(app, context, call, headers).await?
    } else {
        whole(app, &context, call, operation).await?
    })
}

/// Waits for the response, as long as the client does. Dropping the call on return cancels it.
async fn whole(
    app: &App,
    context: &RequestContext,
    call: PassthroughCall,
    operation: Operation,
) -> Result<Response, Fault> {
    let _counted = app.metrics.stream(Json.name(), operation.path());
    let connection = context.connection.as_ref();
    let document = tokio::select! {
        biased;
        _ = context.grant.ended() => return Err(revoked()),
        document = call.document() => document?,
        () = client_left(connection, app.config.fin_leaves_json) => return Err(left()),
    };
    tell_lens(connection, b"", &document);
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document)
        .into_response())
}

/// Streams the response, unless it fails before its head is sent.
async fn streamed(
    app: &App,
    context: RequestContext,
    call: PassthroughCall,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let frame = stream_frame(headers);
    let counted = app.metrics.stream(frame.name(), Operation::Completions.path());
    let mut events = call.events();
    let first = tokio::select! {
        biased;
        _ = context.grant.ended() => return Err(revoked()),
        first = hold(&mut events, context.connection.as_ref(), patience(&app.config, headers)) => first?,
    };
    Ok(respond_events(app, EventDelivery { events, first, frame, context, _counted: counted }))
}

/// Holds the head until the first event, or `patience` is over, or the client half-closes, which
/// only a sign of life distinguishes from leaving.
async fn hold(
    events: &mut PassthroughEvents,
    connection: Option<&ConnectionHandle>,
    patience: Duration,
) -> Result<Option<Bytes>, Fault> {
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
