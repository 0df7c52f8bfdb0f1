//! Reads a request's body: checks its type, decodes it, and limits its size and its time.

pub(crate) mod coding;

mod decode;
mod deflate;
mod zstd;

use axum::body::Body;
use bytes::Bytes;
use engine::shares::Reservation;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;
use protocol::weight::Weight;
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::coding::{DecodeError, RequestDecoder};
use crate::app::App;
use crate::config::Config;

/// Windows editors put it before JSON, where it is not allowed; a reader may ignore it (RFC 8259
/// §8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A longer body is parsed off the runtime's threads, which other callers' events would wait for.
const QUICK: usize = 64 << 10;

/// The limit of a body that holds a few fields at most.
const SMALL: usize = 64 << 10;

/// A body that was read, and the memory that was taken for it.
pub(crate) struct ReadBody<T> {
    pub(crate) request: T,
    /// SHA-256 of the path and the body, where that was asked for.
    pub(crate) fingerprint: Option<[u8; 32]>,
    /// To be kept as long as the request is in memory.
    pub(crate) bytes: Reservation,
}

/// Reads a JSON body. With the path in `fingerprint`, computes that of the request too. Memory is
/// reserved before a byte is read; parsing a long body waits for its caller's turn.
///
/// # Errors
/// 415, 413, 408, 429, 503 or 400, with what to change.
pub(crate) async fn json<T: Send + 'static>(
    app: &App,
    owner: &Owner,
    headers: &HeaderMap,
    body: Body,
    fingerprint: Option<&'static str>,
    read: impl FnOnce(&Value) -> Result<T, Fault> + Send + 'static,
) -> Result<ReadBody<T>, Fault> {
    check_type(headers)?;
    let mut bytes = app.engine.take_bytes(owner, 0)?;
    let text = take_in(&app.config, headers, body, app.config.body_bytes, Some(&mut bytes)).await?;
    if text.is_empty() {
        return Err(empty());
    }
    let text_bytes = app.config.text_bytes;
    let work = move || {
        let weight = Weight::of(&text);
        weight.check(text_bytes)?;
        bytes.grow(weight.in_memory())?;
        let fingerprint = fingerprint.map(|path| digest(path, &text));
        let value = parse(&text)?;
        // The body is held only once at a time, as text or as a value.
        drop(text);
        Ok(ReadBody { request: read(&value)?, fingerprint, bytes })
    };
    work_on(app, owner, text_length(headers), work).await
}

/// Reads a JSON body that is passed on unchanged: `read` takes what it needs from its bytes.
///
/// # Errors
/// 415, 413, 408, 429, 503, or 400 where there is none.
pub(crate) async fn passed_on<T: Send + 'static>(
    app: &App,
    owner: &Owner,
    headers: &HeaderMap,
    body: Body,
    read: impl FnOnce(&[u8]) -> Result<T, Fault> + Send + 'static,
) -> Result<ReadBody<T>, Fault> {
    check_type(headers)?;
    let mut bytes = app.engine.take_bytes(owner, 0)?;
    let text = take_in(&app.config, headers, body, app.config.body_bytes, Some(&mut bytes)).await?;
    if text.is_empty() {
        return Err(empty());
    }
    let length = text.len();
    work_on(app, owner, Some(length), move || {
        Ok(ReadBody { request: read(&text)?, fingerprint: None, bytes })
    })
    .await
}

/// The fingerprint of a request: its path and its body.
fn digest(path: &str, body: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(path);
    digest.update([0]);
    digest.update(body);
    digest.finalize().into()
}

/// The length of a body before any coding; `None` if the request has no `Content-Length`.
fn text_length(headers: &HeaderMap) -> Option<usize> {
    let is_coded = headers.contains_key(header::CONTENT_ENCODING);
    headers.get(header::CONTENT_LENGTH).filter(|_| !is_coded)?.to_str().ok()?.parse().ok()
}

async fn work_on<T: Send + 'static>(
    app: &App,
    owner: &Owner,
    length: Option<usize>,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    if length.is_some_and(|length| length <= QUICK) {
        return work();
    }
    let failed = || Fault::new(FaultKind::Server, "server_error", "the body could not be read");
    app.engine.work(owner, work).await.unwrap_or_else(|| Err(failed()))
}

/// Reads a JSON body that may be left out.
///
/// # Errors
/// As [`json`].
pub(crate) async fn json_or_nothing(
    config: &Config,
    headers: &HeaderMap,
    body: Body,
) -> Result<Value, Fault> {
    let bytes = take_in(config, headers, body, SMALL, None).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    check_type(headers)?;
    parse(&bytes)
}

/// Reads a body and drops it.
///
/// # Errors
/// 413 or 408.
pub(crate) async fn ignore(config: &Config, headers: &HeaderMap, body: Body) -> Result<(), Fault> {
    take_in(config, headers, body, SMALL, None).await.map(drop)
}

fn check_type(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let given = given.to_str().unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media == "application/json"
        || (media.starts_with("application/") && media.ends_with("+json"))
    {
        return Ok(());
    }
    let message = format!(
        "The body must be application/json, not '{given}'. With curl: -H 'Content-Type: application/json'."
    );
    Err(Fault::new(FaultKind::InvalidRequest, "unsupported_media_type", message)
        .with_status(415)
        .with_param("Content-Type"))
}

fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|error| {
        let message = format!("The body is not valid JSON: {error}.");
        Fault::new(FaultKind::InvalidRequest, "invalid_json", message)
    })
}

/// Reads the bytes of a body, at most `most` once they are decoded. Memory is reserved before they
/// arrive, where `taken` is given.
async fn take_in(
    config: &Config,
    headers: &HeaderMap,
    body: Body,
    most: usize,
    taken: Option<&mut Reservation>,
) -> Result<Bytes, Fault> {
    let most = most.min(config.body_bytes);
    let codings = coding::of(headers)?;
    let limit = if codings.is_empty() { most } else { coded(most) };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(most));
    }
    let mut taking = Taking { taken, ahead: 0 };
    taking.announced(announced.unwrap_or(0))?;
    let body = Limited::new(body, limit);
    let read = async {
        match RequestDecoder::new(&codings, most) {
            None => whole(most, body, &mut taking).await,
            Some(decoder) => decoded(most, body, decoder, &mut taking).await,
        }
    };
    let timeout = || {
        Fault::new(FaultKind::InvalidRequest, "body_timeout", "Timed out while reading the body.")
            .with_status(408)
    };
    tokio::time::timeout(config.body_timeout, read).await.map_err(|_elapsed| timeout())?
}

/// Memory that is reserved for a body as it grows.
struct Taking<'a> {
    taken: Option<&'a mut Reservation>,
    /// How much of the reserved memory has not been used yet.
    ahead: u64,
}

impl Taking<'_> {
    fn announced(&mut self, bytes: u64) -> Result<(), Fault> {
        self.ahead = bytes;
        self.taken.as_mut().map_or(Ok(()), |taken| taken.grow(bytes))
    }

    fn came(&mut self, bytes: usize) -> Result<(), Fault> {
        let more = (bytes as u64).saturating_sub(self.ahead);
        self.ahead = self.ahead.saturating_sub(bytes as u64);
        self.taken.as_mut().map_or(Ok(()), |taken| taken.grow(more))
    }
}

/// A body as received.
async fn whole(
    most: usize,
    mut body: Limited<Body>,
    taking: &mut Taking<'_>,
) -> Result<Bytes, Fault> {
    let announced = usize::try_from(taking.ahead).unwrap_or(0);
    let mut plain = Vec::with_capacity(announced.min(most));
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(|error| broken(most, &*error))?.into_data() {
            taking.came(bytes.len())?;
            plain.extend_from_slice(&bytes);
        }
    }
    Ok(plain.into())
}

/// A body without its codings.
async fn decoded(
    most: usize,
    mut body: Limited<Body>,
    mut decoder: RequestDecoder,
    taking: &mut Taking<'_>,
) -> Result<Bytes, Fault> {
    let refused = |error: DecodeError| error.fault().unwrap_or_else(|| too_large(most));
    let mut plain = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(|error| broken(most, &*error))?.into_data() {
            let before = plain.len();
            decoder.push(bytes, &mut plain).await.map_err(refused)?;
            taking.came(plain.len() - before)?;
        }
    }
    decoder.finish().map_err(refused)?;
    Ok(plain.into())
}

/// How long a coded body may be that has at most `bytes` when decoded: incompressible data grow
/// slightly.
fn coded(bytes: usize) -> usize {
    bytes.saturating_add(bytes / 256).saturating_add(1024)
}

fn broken(most: usize, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Fault {
    if error.is::<LengthLimitError>() {
        return too_large(most);
    }
    Fault::new(FaultKind::InvalidRequest, "truncated_body", "The body is incomplete.")
}

fn empty() -> Fault {
    Fault::new(FaultKind::InvalidRequest, "empty_body", "The body must be a JSON object.")
}

fn too_large(most: usize) -> Fault {
    let message = format!(
        "The body is larger than {most} bytes, the limit of this server (server.body_bytes)."
    );
    Fault::new(FaultKind::InvalidRequest, "body_too_large", message).with_status(413)
}
