//! `GET /v1/responses/{id}/events`: a response for browsers' `EventSource`, and by long poll.

use std::time::Duration;

use axum::extract::{Query as QueryOf, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, BytesMut};
use codec::Frame;
use codec::event_stream::EventSource;
use codec::json::Json;
use engine::feed::Feed;
use engine::response::fault::log_fault;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::dialect::responses;
use protocol::fault::Fault;
use protocol::id::ResponseId;

use super::headers::with_response_id;
use super::responses::deliver;
use crate::app::App;
use crate::error::{FaultResponse, left};
use crate::grants::revoked;
use crate::http::context::RequestContext;
use crate::http::extract::PathParam;
use crate::listen::Signal;
use crate::query::{self, Query};

/// The longest a poll may wait, in seconds: below the idle limits of known proxies.
const LONGEST_WAIT: u64 = 60;

/// The limit on the bytes of events in one poll.
const POLL: usize = 1 << 20;

/// `GET /v1/responses/{id}/events`
pub(crate) async fn events(
    State(app): State<App>,
    context: RequestContext,
    PathParam(id): PathParam<ResponseId>,
    QueryOf(query): QueryOf<Query>,
    headers: HeaderMap,
) -> Result<Response, FaultResponse> {
    let wait = query::integer(&query, "wait", 0..=LONGEST_WAIT)?;
    let feed = app.engine.feed(&context.owner, &id, after(&headers, &query)?).await?;
    let response = match wait {
        Some(seconds) => {
            let _counted = app.metrics.stream(Json.name(), responses::DESCRIPTION.name);
            poll(feed, &context, Duration::from_secs(seconds)).await?
        }
        // The client has everything. Any other response would make an `EventSource` reconnect
        // forever.
        None if feed.is_at_end() => StatusCode::NO_CONTENT.into_response(),
        None => deliver(&app, context, feed, &EventSource),
    };
    Ok(with_response_id(response, &id))
}

/// The position of the client: the header that a browser adds when it reconnects takes precedence
/// over the query.
fn after(headers: &HeaderMap, query: &Query) -> Result<Option<u64>, Fault> {
    if let Some(value) = headers.get("last-event-id") {
        return query::parse("Last-Event-ID", value.to_str().unwrap_or_default(), 0..=u64::MAX)
            .map(Some);
    }
    match query::integer(query, "lastEventId", 0..=u64::MAX)? {
        Some(after) => Ok(Some(after)),
        None => query::integer(query, "starting_after", 0..=u64::MAX),
    }
}

/// Waits for at least one event and gives all that are ready, as
/// `{"object":"list","data":[…],"ended":…}`.
async fn poll(mut feed: Feed, context: &RequestContext, wait: Duration) -> Result<Response, Fault> {
    if let Some(connection) = &context.connection {
        feed.set_connection(connection.id());
    }
    let gone = async {
        match &context.connection {
            Some(connection) if connection.signal().await == Signal::Reset => {}
            Some(connection) => drop(connection.reset().await),
            None => std::future::pending().await,
        }
    };
    let entries = tokio::select! {
        biased;
        _ = context.grant.ended() => return Err(revoked()),
        entries = feed.next(POLL) => entries.map_err(log_fault)?.unwrap_or_default(),
        () = gone => return Err(left()),
        () = tokio::time::sleep(wait) => Vec::new(),
    };
    let mut body = BytesMut::with_capacity(
        64 + entries.iter().map(|entry| entry.data.len() + 1).sum::<usize>(),
    );
    body.put_slice(b"{\"object\":\"list\",\"data\":[");
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&entry.data);
    }
    let ended: &[u8] = if feed.is_at_end() { b"],\"ended\":true}" } else { b"],\"ended\":false}" };
    body.put_slice(ended);
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body.freeze())
        .into_response())
}
