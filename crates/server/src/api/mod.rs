//! The handlers, one file per resource. They are thin: read, ask the engine, hand over to a transport.

pub(crate) mod chat_completions;
pub(crate) mod classic;
pub(crate) mod events;
pub(crate) mod lens;
pub(crate) mod metrics;
pub(crate) mod models;
pub(crate) mod operations;
pub(crate) mod passthrough;
pub(crate) mod responses;
pub(crate) mod socket;
pub(crate) mod tickets;
pub(crate) mod upstreams;

mod body;
mod generate;
mod headers;
mod hold;
pub(crate) mod query;

pub(crate) use body::coding;

use axum::extract::{FromRequestParts, Path as PathOf};
use engine::keys::Caller;
use http::request::Parts;
use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;
use protocol::trace::TraceContext;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::error::Refused;
use crate::grants::Grant;
use crate::listen::Connection;
use crate::{auth, trace};

/// Whose request this is, and what it came on.
pub(crate) struct RequestContext {
    pub(crate) owner: Owner,
    /// Ends when the caller's credential does.
    pub(crate) grant: Grant,
    pub(crate) connection: Option<Connection>,
    pub(crate) is_http_1_0: bool,
    /// Its place in a trace.
    pub(crate) trace: Option<TraceContext>,
}

impl FromRequestParts<App> for RequestContext {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let (grant, Caller { owner, .. }) = auth::enter(app, parts)?;
        let connection = parts.extensions.get::<Connection>().cloned();
        app.rates.take(&owner, app.engine.share(&owner))?;
        if let (Some(connection), Some(_)) = (&connection, app.engine.share(&owner)) {
            connection.called_by(&owner, || app.engine.connect(&owner))?;
        }
        let is_http_1_0 = parts.version == http::Version::HTTP_10;
        Ok(Self { owner, grant, connection, is_http_1_0, trace: trace::read(&parts.headers) })
    }
}

/// Whoever asks may look after the server.
pub(crate) struct Admin;

impl FromRequestParts<App> for Admin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        if auth::caller(app, parts)?.admin {
            return Ok(Self);
        }
        let message = "This wants a key made with `weir key create --admin`.";
        Err(Fault::new(FaultKind::Permission, "admin_key_required", message).into())
    }
}

/// What a path names. axum's own extractor refuses in plain text; every refusal here has one shape.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let named = PathOf::from_request_parts(parts, app).await;
        let named = named.map(|PathOf(name)| Self(name));
        named
            .map_err(|_not_text| Fault::new(FaultKind::InvalidRequest, "invalid_path", "This path is not UTF-8 once it is decoded.").into())
    }
}
