//! Words for what hyper refuses by itself: a head that is malformed, too large or too slow.
//!
//! Hyper answers those with a bare status and no body. Nothing of ours has a 4xx without a body, so such an answer is
//! known by its first bytes, and goes out in the shape that every client of this server understands.

use bytes::Bytes;
use protocol::fault::{Fault, FaultKind};

/// The answer to put in place of an empty 4xx of hyper's; `None` for anything else.
pub(crate) fn of_empty_answer(bytes: &[u8]) -> Option<Bytes> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    if head.first() != Some(&b'4') || !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let text = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
    if !text.contains("\r\ncontent-length: 0\r\n") {
        return None;
    }
    let status: u16 = text.get(..3)?.parse().ok()?;
    let fault = match status {
        431 => Fault::new(FaultKind::InvalidRequest, "head_too_large", "the request's headers are too many or too large"),
        414 => Fault::new(FaultKind::InvalidRequest, "target_too_long", "the request's target is too long"),
        400 => Fault::new(FaultKind::InvalidRequest, "malformed_request", "this is not an HTTP request that can be understood"),
        _ => return None,
    };
    Some(answer(&fault.with_status(status)))
}

/// The answer to a head that did not come in time.
pub(crate) fn of_slow_head() -> Bytes {
    let fault = Fault::new(FaultKind::InvalidRequest, "head_timeout", "the request's head took too long");
    answer(&fault.with_status(408))
}

/// The answer to a connection above the limits. Whoever asks again in a second may find a place.
pub(crate) fn of_connection(message: &str) -> Bytes {
    let fault = Fault::new(FaultKind::RateLimit, "too_many_connections", message).with_status(503);
    answer(&Fault { retry_after: Some(1), ..fault })
}

/// The answer to words that are not TLS where TLS is spoken.
pub(crate) fn of_plain_words() -> Bytes {
    let message = "this port speaks HTTPS: use https:// instead of http://";
    answer(&Fault::new(FaultKind::InvalidRequest, "https_only", message))
}

fn answer(fault: &Fault) -> Bytes {
    let body = fault.body().to_string();
    let reason = http::StatusCode::from_u16(fault.status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    let length = body.len();
    let status = fault.status;
    let retry_after = fault.retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\n{retry_after}connection: close\r\n\r\n{body}"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: Option<&str>) {
        let begin = of_empty_answer(given.as_bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(begin.as_deref().and_then(|text| text.lines().next()), expected, "{given}");
    }

    #[test]
    fn only_hypers_empty_refusals_are_replaced() {
        check("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: x\r\n\r\n", Some("HTTP/1.1 400 Bad Request"));
        check(
            "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            Some("HTTP/1.1 431 Request Header Fields Too Large"),
        );
        check("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None);
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 20\r\n\r\n", None);
        check("data: HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", None);
    }
}
