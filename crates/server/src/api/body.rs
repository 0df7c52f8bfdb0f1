//! Reads a request's body: of the right type, not too large, not too slow, and JSON.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::fault::{Fault, FaultKind};
use serde_json::Value;

use crate::config::Config;

/// A JSON body and the bytes it was.
pub(crate) struct JsonBody {
    pub(crate) value: Value,
    pub(crate) bytes: Bytes,
}

/// Reads a JSON body.
///
/// # Errors
/// 415, 413, 408 or 400, with words for what to change.
pub(crate) async fn json(config: &Config, headers: &HeaderMap, body: Body) -> Result<JsonBody, Fault> {
    check_type(headers)?;
    let bytes = read(config, headers, body).await?;
    if bytes.is_empty() {
        return Err(empty());
    }
    Ok(JsonBody { value: parse(&bytes)?, bytes })
}

/// Reads a JSON body that is passed on as it came, and does not look into it.
///
/// # Errors
/// 415, 413, 408, or 400 where there is none.
pub(crate) async fn passed_on(config: &Config, headers: &HeaderMap, body: Body) -> Result<Bytes, Fault> {
    check_type(headers)?;
    let bytes = read(config, headers, body).await?;
    if bytes.is_empty() { Err(empty()) } else { Ok(bytes) }
}

/// Reads a JSON body that may be left out.
///
/// # Errors
/// As [`json`].
pub(crate) async fn json_or_nothing(config: &Config, headers: &HeaderMap, body: Body) -> Result<Value, Fault> {
    let bytes = read(config, headers, body).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    check_type(headers)?;
    parse(&bytes)
}

/// Takes in a body that says nothing.
///
/// # Errors
/// 413 or 408.
pub(crate) async fn ignore(config: &Config, headers: &HeaderMap, body: Body) -> Result<(), Fault> {
    read(config, headers, body).await.map(drop)
}

fn check_type(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let given = given.to_str().unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media == "application/json" || (media.starts_with("application/") && media.ends_with("+json")) {
        return Ok(());
    }
    let message = format!("The body must be application/json, not '{given}'. With curl: -H 'Content-Type: application/json'.");
    Err(Fault::new(FaultKind::InvalidRequest, "unsupported_media_type", message).with_status(415).with_param("Content-Type"))
}

fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("The body is not JSON: {error}.");
        Fault::new(FaultKind::InvalidRequest, "invalid_json", message)
    })
}

async fn read(config: &Config, headers: &HeaderMap, body: Body) -> Result<Bytes, Fault> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > config.body_bytes as u64) {
        return Err(too_large(config));
    }
    let read = Limited::new(body, config.body_bytes).collect();
    match tokio::time::timeout(config.body_timeout, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(config)),
        Ok(Err(_)) => Err(Fault::new(FaultKind::InvalidRequest, "truncated_body", "The body ended before it was whole.")),
        Err(_elapsed) => Err(Fault::new(FaultKind::InvalidRequest, "body_timeout", "The body took too long.").with_status(408)),
    }
}

fn empty() -> Fault {
    Fault::new(FaultKind::InvalidRequest, "empty_body", "This needs a JSON object as its body.")
}

fn too_large(config: &Config) -> Fault {
    let message = format!("The body is larger than {} bytes, which is what this server takes (server.body_bytes).", config.body_bytes);
    Fault::new(FaultKind::InvalidRequest, "body_too_large", message).with_status(413)
}
