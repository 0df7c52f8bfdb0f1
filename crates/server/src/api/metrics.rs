//! `GET /metrics`: what is counted and measured, for Prometheus.

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use engine::exposition::Exposition;
use http::request::Parts;
use http::{HeaderValue, header};
use protocol::fault::{Fault, FaultKind};

use crate::app::App;
use crate::auth;
use crate::config::MetricsAccess;
use crate::error::Refused;
use crate::metrics;

/// Whoever asks may know how the server does.
pub(crate) struct Watcher;

impl FromRequestParts<App> for Watcher {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        if may_watch(app, parts)? {
            return Ok(Self);
        }
        let message = "This wants a key made with `weir key create --admin`, or the setting metrics.access = \"open\".";
        Err(Fault::new(FaultKind::Permission, "admin_key_required", message).into())
    }
}

/// Whether a request may be told how much the server does.
///
/// # Errors
/// 401 without a key that is known.
pub(crate) fn may_watch(app: &App, parts: &Parts) -> Result<bool, Fault> {
    match app.config.metrics {
        MetricsAccess::Open => Ok(true),
        MetricsAccess::Admin => Ok(auth::caller(app, parts)?.admin),
    }
}

/// `GET /metrics`
pub(crate) async fn metrics(State(app): State<App>, _watcher: Watcher) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(Exposition::CONTENT_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, metrics::text(&app)).into_response()
}
