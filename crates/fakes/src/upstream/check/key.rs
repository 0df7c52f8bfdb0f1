//! Where a request has its API key.

use client::http1::Headers;

use crate::upstream::vendor::{Route, Vendor};

/// All header fields in which a vendor accepts a key.
const FIELDS: [&str; 4] = ["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// The header field for the key. Anthropic accepts two: its documentation uses `x-api-key`, its
/// SDKs since October 2026
/// `Authorization`.
fn field(route: &Route, headers: &Headers) -> &'static str {
    match route.vendor {
        Vendor::OpenAi | Vendor::Responses if route.is_azure => "api-key",
        Vendor::OpenAi | Vendor::Responses | Vendor::Ollama => "authorization",
        Vendor::Anthropic if headers.get("x-api-key").is_none() => "authorization",
        Vendor::Anthropic => "x-api-key",
        Vendor::Gemini => "x-goog-api-key",
    }
}

/// The key, if it is where the vendor expects it.
pub(crate) fn key_of<'a>(route: &Route, headers: &'a Headers) -> Option<&'a str> {
    let field = field(route, headers);
    let value = headers.get(field)?;
    if field == "authorization" { value.strip_prefix("Bearer ") } else { Some(value) }
}

/// Complaints about keys in wrong places: another vendor's header field, the query (which is
/// logged), or the body.
pub(crate) fn misplaced_keys(
    route: &Route,
    query: &str,
    headers: &Headers,
    body: &[u8],
) -> Vec<String> {
    let field = field(route, headers);
    let mut wrong: Vec<String> = FIELDS
        .iter()
        .filter(|other| **other != field && headers.get(other).is_some())
        .map(|other| format!("There is a key in {other}, which is {field} here."))
        .collect();
    if headers.all(field).count() > 1 {
        wrong.push(format!("There is more than one {field}."));
    }
    if query.split('&').any(|pair| pair.starts_with("key=") || pair.starts_with("api_key=")) {
        wrong.push("There is a key in the query.".to_owned());
    }
    // A short key may be a word in the conversation.
    if let Some(key) = key_of(route, headers).filter(|key| key.len() >= 8) {
        if query.contains(key) {
            wrong.push("The key is in the query.".to_owned());
        }
        if body.windows(key.len()).any(|window| window == key.as_bytes()) {
            wrong.push("The key is in the body.".to_owned());
        }
    }
    wrong
}
