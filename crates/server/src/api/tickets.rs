//! `/v1/tickets`: what a browser sends instead of a key.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use protocol::fault::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::app::App;
use crate::error::FaultResponse;
use crate::http::auth::{self, Identified};
use crate::http::body;
use crate::http::forwarded::Forwarded;
use crate::revocation;
use crate::tickets::purpose::Purpose;
use crate::tickets::{SESSION, TICKET};

/// `POST /v1/tickets`: a ticket for one stream, or with `{"cookie": true}` a session for this
/// browser.
pub(crate) async fn create(
    State(app): State<App>,
    Extension(forwarded): Extension<Forwarded>,
    parts: Parts,
    body: Body,
) -> Result<Response, FaultResponse> {
    let Identified { caller, credential } = Identified::of(&parts)?;
    let body = body::json_or_nothing(&app.config, &parts.headers, body).await?;
    let purpose = purpose(&body, forwarded.prefix(&parts.headers))?;
    if !wants_cookie(&body)? {
        let ticket = app
            .tickets
            .ticket(&caller.owner, credential, purpose.unwrap_or(Purpose::Any))
            .ok_or_else(no_randomness)?;
        let response =
            json!({ "object": "ticket", "ticket": ticket, "expires_in": TICKET.as_secs() });
        return Ok((
            [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
            Json(response),
        )
            .into_response());
    }
    if purpose.is_some() {
        return Err(Fault::invalid(
            "invalid_value",
            "for",
            "'for' restricts a ticket; a session opens everything, so the two cannot be combined.",
        )
        .into());
    }
    let session = app.tickets.session(&caller.owner, credential).ok_or_else(no_randomness)?;
    let response = Json(json!({ "object": "session", "expires_in": SESSION.as_secs() }));
    cookie(forwarded, &session, SESSION.as_secs(), response.into_response())
}

/// `DELETE /v1/tickets`: ends this browser's session and everything opened by it.
pub(crate) async fn delete(
    State(app): State<App>,
    Extension(forwarded): Extension<Forwarded>,
    parts: Parts,
) -> Result<Response, FaultResponse> {
    // A browser whose session has expired may still sign out.
    drop(Identified::of(&parts));
    if let Some(session) = auth::session_cookie(&parts) {
        app.tickets.end_session(session);
        revocation::sweep(&app);
    }
    cookie(forwarded, "", 0, StatusCode::NO_CONTENT.into_response())
}

/// Scripts cannot read the cookie, other sites cannot send it, and under TLS it is never sent in
/// clear. It is for every path, since the classic API has paths of its own.
fn cookie(
    forwarded: Forwarded,
    value: &str,
    seconds: u64,
    mut response: Response,
) -> Result<Response, FaultResponse> {
    let secure = if forwarded.is_encrypted { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}",
        auth::cookie_name(forwarded.is_encrypted)
    );
    let value = HeaderValue::try_from(text).map_err(|_invalid| no_randomness())?;
    response.headers_mut().insert(header::SET_COOKIE, value);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What the ticket is for, if the body names it.
fn purpose(body: &Value, prefix: &str) -> Result<Option<Purpose>, Fault> {
    match body.get("for") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) => Purpose::read(path, prefix).map(Some),
        Some(_) => {
            Err(Fault::invalid("invalid_type", "for", "Invalid type for 'for': expected a string."))
        }
    }
}

fn wants_cookie(body: &Value) -> Result<bool, Fault> {
    match body.get("cookie") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(wanted)) => Ok(*wanted),
        Some(_) => Err(Fault::invalid(
            "invalid_type",
            "cookie",
            "Invalid type for 'cookie': expected a boolean.",
        )),
    }
}

fn no_randomness() -> Fault {
    Fault::new(FaultKind::Server, "server_error", "cannot create a ticket")
}
