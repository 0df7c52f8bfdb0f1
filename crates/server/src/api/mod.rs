//! The handlers, one file per resource. They are thin: read, ask the engine, hand over to a transport.

pub(crate) mod chat_completions;
pub(crate) mod events;
pub(crate) mod models;
pub(crate) mod operations;
pub(crate) mod responses;
pub(crate) mod socket;
pub(crate) mod tickets;

mod body;
mod query;

use axum::extract::FromRequestParts;
use engine::keys::Caller;
use http::request::Parts;
use protocol::id::Owner;

use crate::auth;
use crate::error::Refused;
use crate::listen::Connection;
use crate::router::App;

/// Whose request this is, and on which connection it came.
pub(crate) struct From {
    pub(crate) owner: Owner,
    pub(crate) connection: Option<Connection>,
    pub(crate) is_http_1_0: bool,
}

impl FromRequestParts<App> for From {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let Caller { owner, .. } = auth::caller(app, parts)?;
        let connection = parts.extensions.get::<Connection>().cloned();
        Ok(Self { owner, connection, is_http_1_0: parts.version == http::Version::HTTP_10 })
    }
}
