//! The page and its assets, embedded in release builds and read from disk in debug builds.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::fault::{Fault, FaultKind};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::api::Path;
use crate::error::Refused;

#[derive(RustEmbed)]
#[folder = "../../web"]
struct Assets;

/// Nothing but our own: no inline scripts, no foreign sources, no framing.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// `GET /`
pub(crate) async fn page(headers: HeaderMap) -> Response {
    file("index.html", &headers)
}

/// `GET /assets/…`
pub(crate) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    file(&path, &headers)
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    let kind = content_type(path);
    match (Assets::get(path), kind) {
        (Some(file), Some(kind)) => answer(&file, kind, headers),
        _ => Refused(Fault::new(FaultKind::NotFound, "unknown_path", "There is no such asset.")).into_response(),
    }
}

fn answer(file: &EmbeddedFile, kind: &'static str, headers: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag = format!("\"{:016x}\"", u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default()));
    let is_known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|known| known.contains(&tag));
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { file.data.to_vec().into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// The kinds of files the page is made of; nothing else is served, its tests for one.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
