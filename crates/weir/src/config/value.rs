//! Parsers of setting values. Their errors state what was expected and what was found.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use protocol::on_leave::OnLeave;
use server::IpNetwork;

/// The longest duration: a century, far below where adding it to a clock would overflow.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// A value before parsing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    /// In a flag, in a variable or in the table of settings: text of any type.
    Typed(String),
    /// In the file, a string.
    Text(String),
    /// In the file, a number.
    Number(String),
    /// In the file, a boolean.
    Boolean(bool),
    /// In the file, a list of strings.
    List(Vec<String>),
    /// In the file, a type that no setting has, and its description.
    Other(&'static str),
}

impl Raw {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Typed(text) | Self::Text(text) => Some(text),
            Self::Number(_) | Self::Boolean(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    fn number(&self) -> Option<&str> {
        match self {
            Self::Typed(text) | Self::Number(text) => Some(text),
            Self::Text(_) | Self::Boolean(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    fn list(&self) -> Option<Vec<&str>> {
        match self {
            Self::Typed(text) => {
                Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect())
            }
            Self::List(list) => Some(list.iter().map(String::as_str).collect()),
            Self::Text(_) | Self::Number(_) | Self::Boolean(_) | Self::Other(_) => None,
        }
    }

    fn instead_of(&self, expected: &str) -> String {
        match self {
            Self::Typed(text) | Self::Text(text) => format!("expected {expected}, got {text:?}"),
            Self::Number(_) | Self::Boolean(_) | Self::Other(_) => {
                format!("expected {expected}, got {self}")
            }
            Self::List(_) => format!("expected {expected}, got a list"),
        }
    }
}

/// As shown by `weir config`.
impl fmt::Display for Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(text) | Self::Text(text) | Self::Number(text) => formatter.write_str(text),
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::List(list) => formatter.write_str(&list.join(", ")),
            Self::Other(what) => formatter.write_str(what),
        }
    }
}

/// An IP address and a port. Of names only `localhost`, so that listening needs no name resolution.
pub(crate) fn address(raw: &Raw) -> Result<SocketAddr, String> {
    let parse = |text: &str| match text.strip_prefix("localhost:") {
        Some(port) => {
            port.parse().ok().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        }
        None => text.parse().ok(),
    };
    raw.text()
        .and_then(parse)
        .ok_or_else(|| raw.instead_of("an address and a port such as 127.0.0.1:8000"))
}

/// A whole number of milliseconds, seconds, minutes, hours or days; at least `least`.
pub(crate) fn duration(raw: &Raw, least: Duration) -> Result<Duration, String> {
    let expected = "a duration such as 30s, 500ms, 2m or 1h";
    let duration = raw.text().and_then(parse_duration).ok_or_else(|| raw.instead_of(expected))?;
    if duration < least {
        return Err(format!("must be at least {least:?}, got {raw}"));
    }
    if duration > LONGEST {
        return Err(format!("must be at most a hundred years, got {raw}"));
    }
    Ok(duration)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.saturating_mul(milliseconds)))
}

/// A number of bytes, with or without a unit; at least `least`.
pub(crate) fn bytes(raw: &Raw, least: u64) -> Result<u64, String> {
    let text = raw.text().or_else(|| raw.number());
    let bytes = text
        .and_then(parse_bytes)
        .ok_or_else(|| raw.instead_of("a number of bytes such as 32MiB"))?;
    if bytes < least {
        return Err(format!("must be at least {least} bytes, got {raw}"));
    }
    Ok(bytes)
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A whole number; at least `least`.
pub(crate) fn count(raw: &Raw, least: usize) -> Result<usize, String> {
    let count = raw
        .number()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| raw.instead_of("a whole number"))?;
    if count < least {
        return Err(format!("must be at least {least}, got {raw}"));
    }
    Ok(count)
}

/// A number of at least 0.
pub(crate) fn rate(raw: &Raw) -> Result<f64, String> {
    let parse =
        |text: &str| text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    raw.number().and_then(parse).ok_or_else(|| raw.instead_of("a number such as 60"))
}

/// A number from 0 to 1.
pub(crate) fn share(raw: &Raw) -> Result<f64, String> {
    let parse = |text: &str| text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    raw.number().and_then(parse).ok_or_else(|| raw.instead_of("a number from 0.0 to 1.0"))
}

/// A number of bytes as a size in memory.
pub(crate) fn size(bytes: u64) -> usize {
    // More bytes than the machine can address means no limit.
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// An address or a network, in CIDR notation.
pub(crate) fn network(text: &str) -> Result<IpNetwork, String> {
    text.parse().map_err(|error: server::ParseNetworkError| error.to_string())
}

/// A number from 0 to 2; an empty string is none.
pub(crate) fn temperature(raw: &Raw) -> Result<Option<f64>, String> {
    if raw.text().is_some_and(str::is_empty) {
        return Ok(None);
    }
    let parse = |text: &str| text.parse().ok().filter(|degree: &f64| (0.0..=2.0).contains(degree));
    let number = raw.number().and_then(parse);
    number.map(Some).ok_or_else(|| raw.instead_of("a number from 0.0 to 2.0"))
}

/// A boolean, or `auto` for a default that depends on other settings.
pub(crate) fn switch(raw: &Raw) -> Result<Option<bool>, String> {
    if raw.text().is_some_and(|text| text.eq_ignore_ascii_case("auto")) {
        return Ok(None);
    }
    boolean(raw).map(Some).map_err(|_| raw.instead_of("true, false or \"auto\""))
}

/// A boolean.
pub(crate) fn boolean(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Boolean(value) => Some(*value),
        Raw::Typed(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        Raw::Text(_) | Raw::Number(_) | Raw::List(_) | Raw::Other(_) => None,
    }
    .ok_or_else(|| raw.instead_of("true or false"))
}

/// A list of strings; outside the file, separated by commas.
pub(crate) fn list(raw: &Raw) -> Result<Vec<&str>, String> {
    raw.list().ok_or_else(|| raw.instead_of("a list of texts"))
}

/// A string, or a list of strings.
pub(crate) fn one_or_more(raw: &Raw) -> Result<Vec<&str>, String> {
    match raw {
        Raw::List(list) if !list.is_empty() => Ok(list.iter().map(String::as_str).collect()),
        _ => text(raw).map(|text| vec![text]),
    }
}

/// Relative weights of `count` things, as whole numbers; in the file, a list of strings.
pub(crate) fn weights(raw: &Raw, count: usize) -> Result<Vec<u32>, String> {
    let weight = |text: &str| text.parse().ok().filter(|weight: &u32| *weight > 0);
    let weights: Option<Vec<u32>> = list(raw)?.into_iter().map(weight).collect();
    let weights = weights.ok_or_else(|| raw.instead_of("whole numbers such as [\"3\", \"1\"]"))?;
    if weights.len() == count {
        Ok(weights)
    } else {
        Err(format!("expected {count}, one for each, got {}", weights.len()))
    }
}

/// What happens when the last reader leaves.
pub(crate) fn on_leave(raw: &Raw) -> Result<OnLeave, String> {
    raw.text()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| raw.instead_of(protocol::on_leave::EXPECTED))
}

/// A string that is not blank.
pub(crate) fn text(raw: &Raw) -> Result<&str, String> {
    raw.text().filter(|text| !text.trim().is_empty()).ok_or_else(|| raw.instead_of("a text"))
}

/// The same, or empty.
pub(crate) fn optional_text(raw: &Raw) -> Result<Option<String>, String> {
    if raw.text().is_some_and(str::is_empty) {
        Ok(None)
    } else {
        text(raw).map(|text| Some(text.trim().to_owned()))
    }
}

/// One of a fixed set of words.
pub(crate) fn word<T: Copy>(raw: &Raw, words: &[(&str, T)]) -> Result<T, String> {
    let found = raw.text().and_then(|text| words.iter().find(|(word, _)| *word == text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        raw.instead_of(&words.join(" or "))
    })
}

/// A path; in the file, relative to the file's directory, `base`.
pub(crate) fn path(raw: &Raw, base: &Path) -> Result<PathBuf, String> {
    let text = text(raw).map_err(|_| raw.instead_of("a path"))?;
    if text.starts_with('~') {
        // Only a shell expands it; here it would be the name of a directory.
        return Err(format!("~ is not expanded here; write the full path, got {text:?}"));
    }
    Ok(base.join(text))
}

/// The same, or empty.
pub(crate) fn optional_path(raw: &Raw, base: &Path) -> Result<Option<PathBuf>, String> {
    if raw.text().is_some_and(str::is_empty) { Ok(None) } else { path(raw, base).map(Some) }
}

/// A level, or levels by module: `info`, `warn,weir=debug`.
pub(crate) fn filter(raw: &Raw) -> Result<String, String> {
    let is_level = |text: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
    let is_module = |text: &str| {
        !text.is_empty()
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_:".contains(letter))
    };
    let is_part = |part: &str| match part.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(part),
    };
    raw.text()
        .map(str::to_ascii_lowercase)
        .filter(|text| text.split(',').all(is_part))
        .ok_or_else(|| raw.instead_of("off, error, warn, info, debug or trace, or levels by module such as info,weir=debug"))
}

/// A host name of the server, without scheme and path.
pub(crate) fn host(text: &str) -> Result<String, String> {
    match text.parse::<Authority>() {
        Ok(authority) if is_host_and_port(&authority) => Ok(text.to_ascii_lowercase()),
        Ok(_) | Err(_) => {
            Err(format!("expected host names such as chat.example.org, got {text:?}"))
        }
    }
}

/// Checks the port and rejects user info: `http` accepts both unchecked.
fn is_host_and_port(authority: &Authority) -> bool {
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host);
    let is_port = |rest: &str| {
        rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
    };
    !host.is_empty() && port.is_some_and(is_port)
}

/// A web origin: scheme, host and optionally a port.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    match trimmed.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && host(rest).is_ok() => {
            Ok(trimmed.to_ascii_lowercase())
        }
        Some(_) | None => Err(format!(
            "expected origins such as https://chat.example.org, each by name, got {text:?}"
        )),
    }
}

/// A web origin, or one of the words for origins without a name.
pub(crate) fn page(text: &str) -> Result<String, String> {
    if matches!(text, "null" | "*") { Ok(text.to_owned()) } else { origin(text) }
}

/// The address of an upstream. Not repeated in errors, since it may contain a password.
pub(crate) fn base_url(raw: &Raw) -> Result<String, String> {
    let text = text(raw)
        .map_err(|_| "expected an address such as https://api.openai.com/v1".to_owned())?;
    let Ok(uri) = text.parse::<Uri>() else {
        return Err("not a web address; expected one such as https://api.openai.com/v1".to_owned());
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("expected an address that starts with http:// or https://".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("the address must not contain a name or password; use api_key".to_owned());
    }
    if !is_host_and_port(authority) {
        return Err("expected an address with a host, and a port below 65536 if any".to_owned());
    }
    // Only Azure's version is kept in the query of every request: anything else may be a key.
    let is_version = |query: &str| {
        query.strip_prefix("api-version=").is_some_and(|version| !version.contains(['&', '=']))
    };
    if text.contains('#') || !uri.query().is_none_or(is_version) {
        return Err(
            "expected an address without ? and #, except for Azure's ?api-version=".to_owned()
        );
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The address of a collector of traces; empty: none.
pub(crate) fn endpoint(raw: &Raw) -> Result<Option<String>, String> {
    let expected =
        || "expected the address of a collector such as http://localhost:4318".to_owned();
    let text = raw.text().ok_or_else(expected)?;
    if text.is_empty() {
        return Ok(None);
    }
    let uri: Uri = text.parse().map_err(|_| expected())?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority))
            if is_host_and_port(authority) && !authority.as_str().contains('@') =>
        {
            Ok(Some(text.trim_end_matches('/').to_owned()))
        }
        _ => Err(expected()),
    }
}

/// An address and a port, or empty.
pub(super) fn optional_address(raw: &Raw) -> Result<Option<SocketAddr>, String> {
    if raw.to_string().is_empty() { Ok(None) } else { address(raw).map(Some) }
}

/// Whether a text looks like a path, and not like a key in the wrong field.
pub(super) fn looks_like_path(text: &str) -> bool {
    const KEYS: [&str; 11] =
        ["sk-", "sk_", "pk-", "AIza", "xai-", "gsk_", "hf_", "ghp_", "AKIA", "eyJ", "wk_"];
    if text.split('/').any(|step| KEYS.iter().any(|key| step.starts_with(key))) {
        return false;
    }
    let is_word = |letter: u8| letter.is_ascii_lowercase() || b"-_/".contains(&letter);
    let ending =
        text.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    let has_ending = ending.is_some_and(|ending| {
        (1..=8).contains(&ending.len()) && ending.bytes().all(|letter| letter.is_ascii_lowercase())
    });
    text.starts_with(['/', '.', '~'])
        || has_ending
        || (text.len() <= 32 && text.bytes().all(is_word))
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
