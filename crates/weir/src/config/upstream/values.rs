//! Parsers of values that only an `[[upstream]]` has.

use engine::secret::Secret;
use provider::config::ProxyConfig;
use serde_json::Map;

use super::super::value::{self, Raw};

/// The address of a proxy. Not repeated in errors, since it may contain a password.
pub(super) fn proxy(raw: &Raw) -> Result<ProxyConfig, String> {
    let expected =
        || "expected http://, https:// or socks5:// with a host and a port, or none".to_owned();
    let text = value::text(raw).map_err(|_| expected())?;
    if text == "none" {
        return Ok(ProxyConfig::Direct);
    }
    let known = ["http://", "https://", "socks5://", "socks5h://"];
    if !known.iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty())) {
        return Err(expected());
    }
    Ok(ProxyConfig::At(Secret::new(text)))
}

/// Headers as `Name: value`. Not repeated in errors, since a value may be a key.
pub(super) fn headers(raw: &Raw) -> Result<Vec<(String, Secret)>, String> {
    let list = value::list(raw)
        .map_err(|_| "expected a list of strings such as \"X-Title: Weir\"".to_owned())?;
    let field = |text: &&str| {
        text.split_once(':')
            .map(|(name, value)| (name.trim().to_owned(), Secret::new(value.trim())))
    };
    let fields: Option<Vec<_>> = list.iter().map(field).collect();
    fields.ok_or_else(|| {
        "expected a name and a value separated by a colon, such as \"X-Title: Weir\"".to_owned()
    })
}

/// Fields of a request body, as JSON. Fields that Weir sets itself are rejected.
pub(super) fn body(raw: &Raw) -> Result<Map<String, serde_json::Value>, String> {
    const OURS: [&str; 6] = ["model", "messages", "input", "contents", "stream", "n"];
    let expected = || "expected a JSON object in a string, such as '{\"top_k\": 40}'".to_owned();
    let fields: Map<String, serde_json::Value> =
        serde_json::from_str(value::text(raw)?).map_err(|_| expected())?;
    match fields.keys().find(|name| OURS.contains(&name.as_str())) {
        Some(name) => Err(format!("'{name}' is decided by each request")),
        None => Ok(fields),
    }
}

/// The address of a proxy without user name and password.
pub(crate) fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://(hidden)@{host}"),
        _ => text.to_owned(),
    }
}

/// `OLLAMA_HOST` as a URL: it may be just a host, or the address on which Ollama listens.
pub(super) fn ollama_address(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        && !host.ends_with(']');
    let port = if has_port || scheme == "https" { "" } else { ":11434" };
    let host = host
        .strip_prefix("0.0.0.0")
        .map_or_else(|| host.to_owned(), |rest| format!("127.0.0.1{rest}"));
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{host}{port}{slash}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_ollama_is_completed() {
        for (said, meant) in [
            ("127.0.0.1", "http://127.0.0.1:11434"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("[::1]", "http://[::1]:11434"),
            ("https://models.example.org", "https://models.example.org"),
            ("http://models.example.org/ollama", "http://models.example.org:11434/ollama"),
        ] {
            assert_eq!(ollama_address(said), meant);
        }
    }

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        assert_eq!(
            without_password("socks5://me:secret@proxy:1080"),
            "socks5://(hidden)@proxy:1080"
        );
        assert_eq!(without_password("http://proxy:3128"), "http://proxy:3128");
    }
}
