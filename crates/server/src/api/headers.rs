//! Headers that requests and responses of every dialect have in common.

use std::fmt::Write;

use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use protocol::fault::Fault;
use protocol::id::ResponseId;

/// Adds the response's id, which a client that waits for JSON, or is refused, would not get
/// otherwise.
pub(super) fn with_response_id(mut response: Response, id: &ResponseId) -> Response {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert("weir-response-id", value);
    }
    response
}

/// The longest warning, in bytes: a request may have many fields.
const WARNING: usize = 1024;

/// Names the fields of the request that have no effect, by path, in `weir-warning`.
pub(super) fn with_warning(mut response: Response, ignored: &[String]) -> Response {
    if ignored.is_empty() {
        return response;
    }
    let mut warning = String::from("ignored: ");
    for (index, path) in ignored.iter().enumerate() {
        if warning.len() + path.len() > WARNING {
            _ = write!(warning, " and {} more", ignored.len() - index);
            break;
        }
        warning.push_str(if index == 0 { "" } else { ", " });
        // A field's name may be any text, a header's value may not.
        warning.extend(
            path.chars()
                .map(|character| if matches!(character, ' '..='~') { character } else { '?' }),
        );
    }
    if let Ok(value) = HeaderValue::from_str(&warning) {
        response.headers_mut().insert("weir-warning", value);
    }
    response
}

/// The idempotency key of a request.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > 255 {
        let message = "An Idempotency-Key must be 1 to 255 printable characters.";
        return Err(Fault::invalid("invalid_value", "Idempotency-Key", message));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn warning(ignored: &[&str]) -> Option<String> {
        let ignored: Vec<String> = ignored.iter().map(|&path| path.to_owned()).collect();
        let response = with_warning(Response::new(Body::empty()), &ignored);
        response.headers().get("weir-warning").map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn fields_without_effect_are_named() {
        assert_eq!(warning(&[]), None);
        assert_eq!(warning(&["tools[0]", "logprobs"]).unwrap(), "ignored: tools[0], logprobs");
    }

    #[test]
    fn a_warning_is_a_header_of_bounded_length_for_any_field_names() {
        assert_eq!(
            warning(&["a\r\nset-cookie: b", "\u{6587}"]).unwrap(),
            "ignored: a??set-cookie: b, ?"
        );
        let long = "x".repeat(700);
        assert_eq!(warning(&[&long, &long, &long]).unwrap(), format!("ignored: {long} and 2 more"));
    }
}
