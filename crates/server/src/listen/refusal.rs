//! Responses to input that never becomes a request: a head that is malformed, too large or too
//! slow, and a connection for which there is no place. Their bodies are the service's.

use bytes::Bytes;
use protocol::fault::{Fault, FaultKind};

use super::service::ServiceFactory;

/// The response to a head that hyper refuses with this status.
pub(super) fn of_parser(factory: &impl ServiceFactory, status: u16) -> Bytes {
    of_fault(factory, &parser_fault(status))
}

fn parser_fault(status: u16) -> Fault {
    let fault = match status {
        431 => Fault::new(
            FaultKind::InvalidRequest,
            "head_too_large",
            "the request's headers are too many or too large",
        ),
        414 => Fault::new(
            FaultKind::InvalidRequest,
            "target_too_long",
            "the request's target is too long",
        ),
        _ => Fault::new(FaultKind::InvalidRequest, "malformed_request", "malformed HTTP request"),
    };
    fault.with_status(status)
}

/// The response to a head that did not come in time.
pub(super) fn of_slow_head(factory: &impl ServiceFactory) -> Bytes {
    let fault = Fault::new(
        FaultKind::InvalidRequest,
        "head_timeout",
        "timed out while reading the request's headers",
    );
    of_fault(factory, &fault.with_status(408))
}

/// The response to a connection above the limits. There may be a place a second later.
pub(super) fn of_connection(factory: &impl ServiceFactory, message: &str) -> Bytes {
    let fault = Fault::new(FaultKind::RateLimit, "too_many_connections", message).with_status(503);
    of_fault(factory, &Fault { retry_after: Some(1), ..fault })
}

/// The response to plain HTTP where TLS is expected.
pub(super) fn of_plain_http(factory: &impl ServiceFactory) -> Bytes {
    let message = "this port speaks HTTPS: use https:// instead of http://";
    of_fault(factory, &Fault::new(FaultKind::InvalidRequest, "https_only", message))
}

fn of_fault(factory: &impl ServiceFactory, fault: &Fault) -> Bytes {
    response(fault, &factory.error_body(fault))
}

fn response(fault: &Fault, body: &str) -> Bytes {
    let reason = http::StatusCode::from_u16(fault.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let length = body.len();
    let status = fault.status;
    let retry_after =
        fault.retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\n{retry_after}connection: close\r\n\r\n{body}"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_parser_has_its_status_and_a_body() {
        for (status, line, code) in [
            (400, "HTTP/1.1 400 Bad Request\r\n", "malformed_request"),
            (414, "HTTP/1.1 414 URI Too Long\r\n", "target_too_long"),
            (431, "HTTP/1.1 431 Request Header Fields Too Large\r\n", "head_too_large"),
        ] {
            let fault = parser_fault(status);
            let text = String::from_utf8(response(&fault, &fault.code).to_vec()).unwrap();
            assert!(text.starts_with(line) && text.ends_with(&format!("\r\n\r\n{code}")), "{text}");
        }
    }
}
