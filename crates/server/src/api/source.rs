//! `GET /v1/lens/source`: events of a known size at a known pace, for measuring what a path does to
//! a stream. It asks no model and stores nothing.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query as QueryOf, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, header};
use protocol::fault::{Fault, FaultKind};
use serde_json::json;

use crate::app::App;
use crate::error::FaultResponse;
use crate::http::context::RequestContext;
use crate::query::{self, Query};
use crate::sources::PER_CALLER;
use crate::transport::calibrated::{self, CalibratedSource, SourcePlan};
use crate::transport::{stream_frame, websocket};

const MOST_EVENTS: u64 = 10_000;
const MOST_BYTES: u64 = 64 << 10;
/// Beyond the idle timeouts of known proxies.
const LONGEST_INTERVAL_MS: u64 = 600_000;
/// Shorter heartbeats would be a load of their own.
const SHORTEST_HEARTBEAT_MS: u64 = 100;
const LONGEST: Duration = Duration::from_secs(900);
const MOST_BYTES_IN_ALL: u64 = 16 << 20;

/// `GET /v1/lens/source`, with an upgrade or without.
pub(crate) async fn open(
    State(app): State<App>,
    context: RequestContext,
    QueryOf(query): QueryOf<Query>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, FaultResponse> {
    if !app.config.lens.source {
        let message = "The calibrated source is switched off here (lens.source).";
        return Err(Fault::new(FaultKind::NotFound, "source_off", message).into());
    }
    let plan = plan(&query)?;
    // A handshake whose upgrade a proxy has removed still has its key, and is refused by name.
    let is_socket = headers.contains_key(header::UPGRADE)
        || headers.contains_key(header::SEC_WEBSOCKET_KEY)
        || request.method() == Method::CONNECT;
    if plan.events == 0 && !is_socket {
        return Ok(clock());
    }
    let source = CalibratedSource::new(plan, app.sources.take(&context.owner)?);
    if is_socket {
        return Ok(websocket::open_source(&app, context, request, source)?);
    }
    Ok(calibrated::respond(&app, context, stream_frame(&headers), source))
}

/// What the server's clock shows, for comparing it with the caller's.
fn clock() -> Response {
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let limits = json!({
        "events": MOST_EVENTS,
        "interval_ms": LONGEST_INTERVAL_MS,
        "bytes": MOST_BYTES,
        "seconds_in_all": LONGEST.as_secs(),
        "bytes_in_all": MOST_BYTES_IN_ALL,
        "open": PER_CALLER,
    });
    let document =
        json!({ "object": "lens.source", "now_us": calibrated::now_us(), "limits": limits });
    (headers, Json(document)).into_response()
}

fn plan(query: &Query) -> Result<SourcePlan, Fault> {
    let events = query::integer(query, "events", 0..=MOST_EVENTS)?.unwrap_or(100);
    let interval = query::integer(query, "interval_ms", 0..=LONGEST_INTERVAL_MS)?.unwrap_or(20);
    let bytes = query::integer(query, "bytes", 0..=MOST_BYTES)?.unwrap_or(200);
    let heartbeat =
        query::integer(query, "heartbeat_ms", SHORTEST_HEARTBEAT_MS..=LONGEST_INTERVAL_MS)?;
    let cut_after = query::integer(query, "cut_after", 0..=MOST_EVENTS)?;
    let interval = Duration::from_millis(interval);
    let lasts = interval.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
    if lasts > LONGEST {
        let message = format!(
            "Invalid value for 'interval_ms': all events together may take {} seconds.",
            LONGEST.as_secs()
        );
        return Err(Fault::invalid("invalid_value", "interval_ms", message));
    }
    if events * bytes > MOST_BYTES_IN_ALL {
        let message =
            format!("Invalid value for 'bytes': all events together may have {MOST_BYTES_IN_ALL}.");
        return Err(Fault::invalid("invalid_value", "bytes", message));
    }
    Ok(SourcePlan {
        events,
        interval,
        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        heartbeat: heartbeat.map(Duration::from_millis),
        cut_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<SourcePlan, Fault> {
        plan(&pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn plans_are_bounded() {
        assert!(read(&[]).is_ok());
        let refused = |pairs: &[(&str, &str)]| read(pairs).unwrap_err().param.unwrap();
        assert_eq!(refused(&[("events", "10001")]), "events");
        assert_eq!(refused(&[("events", "1000"), ("interval_ms", "1000")]), "interval_ms");
        assert_eq!(refused(&[("events", "10000"), ("bytes", "2000")]), "bytes");
        assert_eq!(refused(&[("heartbeat_ms", "1")]), "heartbeat_ms");
        let quiet = read(&[("events", "2"), ("interval_ms", "300000")]).unwrap();
        assert_eq!((quiet.events, quiet.interval.as_secs()), (2, 300));
    }
}
