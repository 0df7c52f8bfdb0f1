//! The user's own copy of the demo's pages, from a directory. They have no licence, so there is
//! none in this program.
//!
//! The copy may be the demo's `resources` directory, with `templates` and `static` in it, or one
//! with everything at its top.

mod policy;
mod sign_in;
mod tags;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use crate::app::App;
use crate::http::fallback;
use crate::http::forwarded::Forwarded;
use crate::http::origin;
use crate::http::validators::Validators;

/// Larger than any page or picture of the demo.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Serves a path that has no route: a file of the classic pages, or nothing.
pub(crate) async fn serve(
    State(app): State<App>,
    Extension(forwarded): Extension<Forwarded>,
    parts: Parts,
) -> Response {
    if matches!(parts.method, Method::GET | Method::HEAD)
        && let Some(file) = find(&app, forwarded, &parts).await
    {
        return file;
    }
    fallback::no_such_path(
        &parts.method,
        &parts.uri,
        &origin::own_url(forwarded, &parts.uri, &parts.headers),
    )
}

/// The file of the classic pages at the path of a request, if there is a copy and it has one. Where
/// keys are configured, a browser that opens a page without a session is redirected to the sign-in
/// first: the page itself cannot send a key.
pub(crate) async fn find(app: &App, forwarded: Forwarded, parts: &Parts) -> Option<Response> {
    let directory = app.config.classic.pages.clone().filter(|_| app.config.classic.enabled)?;
    let path = parts.uri.path();
    let own_url = origin::own_url(forwarded, &parts.uri, &parts.headers);
    let name = name(path)?;
    let kind = content_type(name)?;
    let candidates = candidates(name);
    let (bytes, modified) = app
        .tasks
        .blocking(move || candidates.iter().find_map(|candidate| read(&directory, candidate).ok()))
        .await??;
    if kind == HTML && sign_in::is_due(app, parts) {
        return Some(sign_in::redirect(&parts.uri));
    }
    let marked = if kind == HTML { policy::with_nonce(&bytes) } else { None };
    let policy = (kind == HTML).then(|| {
        let own = own_url.split_once("://").map_or(own_url.as_str(), |(_, own)| own);
        policy::policy(
            &bytes,
            &format!("{own}{path}"),
            marked.as_ref().map(|(_, nonce)| nonce.as_str()),
        )
    });
    // A page with a nonce is another one each time.
    let validators = marked.is_none().then(|| Validators::of(&bytes, modified));
    let is_known = validators.as_ref().is_some_and(|known| known.are_known(&parts.headers));
    let mut response = match marked {
        Some((page, _)) => page.into_response(),
        None if is_known => StatusCode::NOT_MODIFIED.into_response(),
        None => bytes.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(validators) = validators {
        validators.insert(headers);
    }
    if kind == HTML {
        headers.insert(header::VARY, HeaderValue::from_static("cookie, accept, sec-fetch-dest"));
    }
    if let Some(policy) = policy.and_then(|policy| HeaderValue::try_from(policy).ok()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Some(response)
}

/// The name of the file at a path; `None` for a path that could lead out of the directory, or to a
/// hidden file.
fn name(path: &str) -> Option<&str> {
    let name = match path {
        "/" => "1.html",
        "/websocket" => "websocket.html",
        path => path.strip_prefix('/')?,
    };
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    let is_step =
        |step: &str| !step.is_empty() && !step.starts_with('.') && step.bytes().all(is_plain);
    name.split('/').all(is_step).then_some(name)
}

/// Where a file of this name may be. `_.html` names its assets below `static`, as they stand in the
/// demo's sources.
fn candidates(name: &str) -> Vec<PathBuf> {
    let asset = name.strip_prefix("static/").unwrap_or(name);
    [
        Path::new("").join(name),
        Path::new("templates").join(name),
        Path::new("static").join(asset),
        asset.into(),
    ]
    .into()
}

/// A file of the directory and when it was modified; not a file outside to which a link points.
fn read(directory: &Path, name: &Path) -> io::Result<(Vec<u8>, Option<SystemTime>)> {
    let (directory, path) = (directory.canonicalize()?, directory.join(name).canonicalize()?);
    let data = fs::metadata(&path)?;
    if !path.starts_with(directory) || !data.is_file() || data.len() > MAX_FILE_BYTES {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((fs::read(path)?, data.modified().ok()))
}

const HTML: &str = "text/html; charset=utf-8";

/// The types of the files that pages are made of; nothing else in the directory is served.
fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some(HTML),
        "css" => Some("text/css; charset=utf-8"),
        "js" | "mjs" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "avif" => Some("image/avif"),
        "woff2" => Some("font/woff2"),
        "woff" => Some("font/woff"),
        "ttf" => Some("font/ttf"),
        "otf" => Some("font/otf"),
        "gif" => Some("image/gif"),
        "ico" => Some("image/x-icon"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_directory() {
        for path in [
            "/../key",
            "/..",
            "/css/../../key",
            "//etc/passwd",
            "/.git/config",
            "/css/.hidden.css",
            "/%2e%2e/key",
            "/a\\b",
            "/css/",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
        for (path, expected) in [
            ("/", "1.html"),
            ("/1.html", "1.html"),
            ("/websocket", "websocket.html"),
            ("/_.html", "_.html"),
            ("/js/a.min.js", "js/a.min.js"),
        ] {
            assert_eq!(name(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn only_what_pages_are_made_of_is_served() {
        for name in ["application.properties", "weir.toml", "keys.json", "Makefile"] {
            assert_eq!(content_type(name), None, "{name}");
        }
    }
}
