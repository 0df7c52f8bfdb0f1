//! Extractors for handlers. Every refusal has the shape of a fault.

use axum::extract::{FromRequestParts, Path as PathOf};
use engine::keys::Caller;
use http::request::Parts;
use protocol::fault::{Fault, FaultKind};
use serde::de::DeserializeOwned;

use super::auth::{Authenticated, Identified};
use super::context::RequestContext;
use super::{admission, trace_context};
use crate::app::App;
use crate::config::MetricsAccess;
use crate::error::FaultResponse;
use crate::listen::ConnectionHandle;

impl FromRequestParts<App> for RequestContext {
    type Rejection = FaultResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, FaultResponse> {
        let Authenticated { caller: Caller { owner, .. }, grant } = Authenticated::of(parts)?;
        let connection = parts.extensions.get::<ConnectionHandle>().cloned();
        admission::admit(app, &owner, connection.as_ref())?;
        let is_http_1_0 = parts.version == http::Version::HTTP_10;
        Ok(Self {
            owner,
            grant,
            connection,
            is_http_1_0,
            trace: trace_context::read(&parts.headers),
        })
    }
}

impl FromRequestParts<App> for Authenticated {
    type Rejection = FaultResponse;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, FaultResponse> {
        Ok(Self::of(parts)?)
    }
}

impl FromRequestParts<App> for Identified {
    type Rejection = FaultResponse;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, FaultResponse> {
        Ok(Self::of(parts)?)
    }
}

/// The caller is an admin.
pub(crate) struct Admin;

impl FromRequestParts<App> for Admin {
    type Rejection = FaultResponse;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, FaultResponse> {
        if Authenticated::of(parts)?.caller.admin {
            return Ok(Self);
        }
        let message = "This requires a key made with `weir key create --admin`.";
        Err(Fault::new(FaultKind::Permission, "admin_key_required", message).into())
    }
}

/// The caller may read the metrics.
pub(crate) struct MetricsReader;

impl FromRequestParts<App> for MetricsReader {
    type Rejection = FaultResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, FaultResponse> {
        if may_read_metrics(app, parts)? {
            return Ok(Self);
        }
        let message = "This requires a key made with `weir key create --admin`, or the setting metrics.access = \"open\".";
        Err(Fault::new(FaultKind::Permission, "admin_key_required", message).into())
    }
}

/// Whether a request may see the server's activity.
///
/// # Errors
/// 401 without a valid key.
pub(crate) fn may_read_metrics(app: &App, parts: &Parts) -> Result<bool, Fault> {
    match app.config.metrics {
        MetricsAccess::Open => Ok(true),
        MetricsAccess::Admin => Ok(Authenticated::of(parts)?.caller.admin),
    }
}

/// A path's parameter. axum's own extractor rejects in plain text.
pub(crate) struct PathParam<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for PathParam<T> {
    type Rejection = FaultResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, FaultResponse> {
        let named = PathOf::from_request_parts(parts, app).await;
        let named = named.map(|PathOf(name)| Self(name));
        named.map_err(|_not_text| {
            Fault::new(
                FaultKind::InvalidRequest,
                "invalid_path",
                "The decoded path is not valid UTF-8.",
            )
            .into()
        })
    }
}
