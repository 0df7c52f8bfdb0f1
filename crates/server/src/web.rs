//! The pages and their assets, embedded in release builds and read from disk in debug builds.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::fault::{Fault, FaultKind};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::app::App;
use crate::error::FaultResponse;
use crate::http::extract::PathParam;
use crate::http::forwarded::Forwarded;
use crate::http::validators::has_tag;
use crate::pages;

#[derive(RustEmbed)]
#[folder = "../../web"]
struct Assets;

/// Own files only: no inline scripts, no foreign sources, no framing.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// `GET /`: the page, or the classic one where there is a copy of it.
pub(crate) async fn page(
    State(app): State<App>,
    Extension(forwarded): Extension<Forwarded>,
    parts: Parts,
) -> Response {
    match pages::find(&app, forwarded, &parts).await {
        Some(classic) => classic,
        None => file("index.html", &parts.headers),
    }
}

/// `GET /sign-in`: makes a session from a key, for pages that cannot send one. Without keys there
/// is nothing to sign in to.
pub(crate) async fn sign_in(State(app): State<App>, headers: HeaderMap) -> Response {
    if app.keys.configured() {
        file("sign-in.html", &headers)
    } else {
        Redirect::to("./").into_response()
    }
}

/// `GET /lab`: the transports side by side.
pub(crate) async fn lab(headers: HeaderMap) -> Response {
    file("lab.html", &headers)
}

/// `GET /lab/`: what the page refers to is relative to `/lab`. So is the redirect: a proxy may have
/// stripped a prefix.
pub(crate) async fn lab_without_slash() -> Redirect {
    Redirect::permanent("../lab")
}

/// `GET /assets/…`. The pages have paths of their own, to which their references are relative.
pub(crate) async fn asset(PathParam(path): PathParam<String>, headers: HeaderMap) -> Response {
    if content_type(&path) == Some(HTML) { no_such_asset() } else { file(&path, &headers) }
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    let kind = content_type(path);
    match (Assets::get(path), kind) {
        (Some(file), Some(kind)) => respond(&file, kind, headers),
        _ => no_such_asset(),
    }
}

fn no_such_asset() -> Response {
    FaultResponse(Fault::new(FaultKind::NotFound, "unknown_path", "There is no such asset."))
        .into_response()
}

fn respond(file: &EmbeddedFile, kind: &'static str, headers: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let packed = takes_gzip(headers).then(|| packed(hash, &file.data)).flatten();
    let suffix = if packed.is_some() { "-gzip" } else { "" };
    let tag = format!(
        "\"{:016x}{suffix}\"",
        u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default())
    );
    let is_packed = packed.is_some();
    let mut response = if has_tag(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        packed.unwrap_or_else(|| file.data.to_vec().into()).into_response()
    };
    let is_whole = response.status() == StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if is_packed && is_whole {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Whether the client accepts gzip (RFC 9110 §12.5.3). Its weight for gzip outranks that for `*`.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any) = (None, None);
    let values =
        headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for coding in values.flat_map(|value| value.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters
            .trim()
            .strip_prefix("q=")
            .map_or(1.0, |weight| weight.trim().parse::<f32>().unwrap_or(0.0));
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    gzip.or(any).is_some_and(|weight| weight > 0.0)
}

/// Each asset, compressed at its first request; `None` where that saves nothing.
fn packed(hash: [u8; 32], data: &[u8]) -> Option<Bytes> {
    // By content: a debug build reads its files again.
    static PACKED: Mutex<BTreeMap<[u8; 32], Option<Bytes>>> = Mutex::new(BTreeMap::new());
    let mut known = PACKED.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .entry(hash)
        .or_insert_with(|| pack(data).filter(|packed| packed.len() < data.len()))
        .clone()
}

fn pack(data: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

const HTML: &str = "text/html; charset=utf-8";

/// The types of the files that pages are made of; nothing else is served, such as their tests.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some(HTML),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
