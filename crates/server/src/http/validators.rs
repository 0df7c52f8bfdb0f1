//! Conditional requests: whether the client has a representation already (RFC 9110 §13).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

/// The validators of one representation.
pub(crate) struct Validators {
    tag: String,
    modified: Option<SystemTime>,
}

impl Validators {
    /// Those of these bytes, last modified at this time.
    pub(crate) fn of(bytes: &[u8], modified: Option<SystemTime>) -> Self {
        let hash = Sha256::digest(bytes);
        let start = u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default());
        Self { tag: format!("\"{start:016x}\""), modified }
    }

    /// Whether the client has this representation. A date counts only without tags (§13.1.3).
    pub(crate) fn are_known(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(header::IF_NONE_MATCH) {
            return has_tag(headers, &self.tag);
        }
        let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
        let since = since.and_then(|since| httpdate::parse_http_date(since).ok());
        // A date has whole seconds.
        self.modified.zip(since).is_some_and(|(modified, since)| {
            modified < since.checked_add(Duration::from_secs(1)).unwrap_or(since)
        })
    }

    /// Adds them to the headers of a response.
    pub(crate) fn insert(&self, headers: &mut HeaderMap) {
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        let date = self.modified.map(httpdate::fmt_http_date);
        if let Some(date) = date.and_then(|date| HeaderValue::try_from(date).ok()) {
            headers.insert(header::LAST_MODIFIED, date);
        }
    }
}

/// Whether the client has the representation with this tag: a weak comparison with each tag of a
/// list (RFC 9110 §13.1.2).
pub(crate) fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    // Our tags have no commas, so that splitting at one never makes a match.
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','));
    known
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
