//! `GET /metrics`: what is counted and measured, for Prometheus.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::exposition::Exposition;
use http::{HeaderValue, header};

use crate::app::App;
use crate::http::extract::MetricsReader;
use crate::metrics;

/// `GET /metrics`
pub(crate) async fn metrics(State(app): State<App>, _reader: MetricsReader) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(Exposition::CONTENT_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, metrics::text(&app.engine, &app.connections, &app.metrics)).into_response()
}
