//! Reads a request's body: of the right type, decoded, not too large, not too slow, and JSON.

pub(crate) mod coding;

mod deflate;
mod zstd;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::fault::{Fault, FaultKind};
use serde_json::Value;

use self::coding::{DecodeError, Decoder};
use crate::config::Config;

/// Windows editors put it before JSON, though it must not stand there; a reader may ignore it (RFC 8259 §8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

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
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|error| {
        let message = format!("The body is not JSON: {error}.");
        Fault::new(FaultKind::InvalidRequest, "invalid_json", message)
    })
}

async fn read(config: &Config, headers: &HeaderMap, body: Body) -> Result<Bytes, Fault> {
    let codings = coding::of(headers)?;
    let limit = if codings.is_empty() { config.body_bytes } else { coded(config.body_bytes) };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(config));
    }
    let body = Limited::new(body, limit);
    let read = async {
        match Decoder::new(&codings, config.body_bytes) {
            None => whole(config, body).await,
            Some(decoder) => decoded(config, body, decoder).await,
        }
    };
    let timeout = || Fault::new(FaultKind::InvalidRequest, "body_timeout", "The body took too long.").with_status(408);
    tokio::time::timeout(config.body_timeout, read).await.map_err(|_elapsed| timeout())?
}

/// A body as it came.
async fn whole(config: &Config, body: Limited<Body>) -> Result<Bytes, Fault> {
    Ok(body.collect().await.map_err(|error| broken(config, &*error))?.to_bytes())
}

/// A body without its codings.
async fn decoded(config: &Config, mut body: Limited<Body>, mut decoder: Decoder) -> Result<Bytes, Fault> {
    let refused = |error: DecodeError| error.fault().unwrap_or_else(|| too_large(config));
    let mut plain = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(config, &*error))?;
        if let Ok(bytes) = frame.into_data() {
            decoder.push(bytes, &mut plain).await.map_err(refused)?;
        }
    }
    decoder.finish().map_err(refused)?;
    Ok(plain.into())
}

/// How many bytes may come of a body that is to have no more than `bytes` when it is decoded: what cannot be compressed grows a bit.
fn coded(bytes: usize) -> usize {
    bytes.saturating_add(bytes / 256).saturating_add(1024)
}

fn broken(config: &Config, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Fault {
    if error.is::<LengthLimitError>() {
        return too_large(config);
    }
    Fault::new(FaultKind::InvalidRequest, "truncated_body", "The body ended before it was whole.")
}

fn empty() -> Fault {
    Fault::new(FaultKind::InvalidRequest, "empty_body", "This needs a JSON object as its body.")
}

fn too_large(config: &Config) -> Fault {
    let message = format!("The body is larger than {} bytes, which is what this server takes (server.body_bytes).", config.body_bytes);
    Fault::new(FaultKind::InvalidRequest, "body_too_large", message).with_status(413)
}
