//! Classifies Anthropic's errors, by status and inside a stream.

use engine::provider::failure::{FailureScope, ProviderFailure};
use http::header::HeaderMap;
use serde_json::Value;

use super::super::fault::{Callee, Reported, is_truthy};
use super::super::retry_after;
use crate::wire::outgoing::Refused;

/// An error response. Leaves out its `request_id`, which concerns the operator, not the caller.
pub(super) fn by_status(callee: &Callee, refused: &Refused<'_>) -> ProviderFailure {
    let wait = retry_after::read(refused.headers);
    match serde_json::from_slice::<Value>(refused.body).as_ref().map(|body| body.get("error")) {
        // If it is a string, it may be a label next to the message.
        Ok(Some(error)) if error.is_object() => {
            failure(callee, refused.status, error, wait, refused.headers)
        }
        Ok(_) | Err(_) => {
            callee.refusal(refused.status, Reported::from_body(refused.body), wait, refused.headers)
        }
    }
}

/// An `error` event in a stream with status 200. Relays put statuses of their own into it.
pub(super) fn in_band(callee: &Callee, event: &Value) -> ProviderFailure {
    let error =
        event.get("error").filter(|error| error.is_object() && is_truthy(error)).unwrap_or(event);
    let kind = error.get("type").and_then(Value::as_str).unwrap_or_default();
    match status_of(kind).or(Reported::from_error(event).status) {
        Some(status) => failure(callee, status, error, None, &HeaderMap::new()),
        None => callee.in_band_or(Reported::from_error(event), "reported an unspecified error"),
    }
}

/// The HTTP status for an error type.
fn status_of(kind: &str) -> Option<u16> {
    Some(match kind {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "conflict_error" => 409,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        "api_error" => 500,
        _ => return None,
    })
}

fn failure(
    callee: &Callee,
    status: u16,
    error: &Value,
    wait: Option<u64>,
    headers: &HeaderMap,
) -> ProviderFailure {
    let mut reported = Reported::from_error(error);
    let code = error.pointer("/details/error_code").and_then(Value::as_str);
    // A spending limit lasts until the end of the month. With a retry delay it is a rate limit
    // after all.
    let is_limit_on_spending =
        wait.is_none() && code.is_some_and(|code| code.ends_with("spend_limit_reached"));
    // The message for an empty account before it had a status of its own (402). Only at the start:
    // error messages can quote the caller's model name.
    let says_so = |message: &String| message.starts_with("Your credit balance is too low");
    let is_out_of_credit = status == 400 && reported.message.as_ref().is_some_and(says_so);
    if is_limit_on_spending || is_out_of_credit {
        reported.kind = Some("billing_error".to_owned());
    }
    reported.code = code.map(str::to_owned).or(reported.code);
    let refusal = callee.refusal(status, reported, wait, headers);
    // The account was closed, which the status 400 alone would scope on the request.
    if code == Some("organization_on_hold") {
        ProviderFailure::new(refusal.fault, FailureScope::Credential)
    } else {
        refusal
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(status: u16, wait: Option<&str>, body: &str, expected: (u16, &str, FailureScope)) {
        let callee = Callee { name: "north".into(), ..Callee::default() };
        let headers = wait.map(|wait| ("retry-after".parse().unwrap(), wait.parse().unwrap()));
        let headers = HeaderMap::from_iter(headers);
        let failure =
            by_status(&callee, &Refused { status, headers: &headers, body: body.as_bytes() });
        assert_eq!(
            (failure.fault.status, failure.fault.code.as_str(), failure.scope),
            expected,
            "{body}"
        );
        assert!(!failure.fault.message.contains("req_"), "{}", failure.fault.message);
    }

    fn error(kind: &str) -> String {
        serde_json::json!({ "type": "error", "error": { "type": kind, "message": "m" }, "request_id": "req_011" }).to_string()
    }

    #[test]
    fn every_status_has_its_code_and_scope() {
        let wait = Some(Duration::from_secs(7));
        check(
            400,
            None,
            &error("invalid_request_error"),
            (400, "upstream_invalid_request", FailureScope::Request),
        );
        check(
            401,
            None,
            &error("authentication_error"),
            (502, "upstream_authentication_failed", FailureScope::Credential),
        );
        check(
            402,
            None,
            &error("billing_error"),
            (502, "upstream_quota_exhausted", FailureScope::Quota),
        );
        check(
            403,
            None,
            &error("permission_error"),
            (502, "upstream_authentication_failed", FailureScope::Unsupported),
        );
        check(
            404,
            None,
            &error("not_found_error"),
            (404, "model_not_found", FailureScope::Unsupported),
        );
        check(
            413,
            None,
            &error("request_too_large"),
            (413, "upstream_invalid_request", FailureScope::Request),
        );
        check(
            429,
            Some("7"),
            &error("rate_limit_error"),
            (429, "rate_limit_exceeded", FailureScope::RateLimited(wait)),
        );
        check(
            429,
            None,
            &error("rate_limit_error"),
            (429, "rate_limit_exceeded", FailureScope::RateLimited(None)),
        );
        check(
            500,
            None,
            &error("api_error"),
            (502, "upstream_error", FailureScope::Upstream(None)),
        );
        check(
            504,
            None,
            &error("timeout_error"),
            (504, "upstream_timeout", FailureScope::Upstream(None)),
        );
        check(
            529,
            Some("7"),
            &error("overloaded_error"),
            (503, "upstream_overloaded", FailureScope::Upstream(wait)),
        );
        check(502, None, "<html>", (502, "upstream_error", FailureScope::Upstream(None)));
    }

    #[test]
    fn a_spending_limit_concerns_the_quota_unless_it_has_a_retry_delay() {
        let body = include_str!("../../../fixtures/anthropic/spend_limit.json");
        check(429, None, body, (502, "upstream_quota_exhausted", FailureScope::Quota));
        check(
            429,
            Some("7"),
            body,
            (
                429,
                "enforced_spend_limit_reached",
                FailureScope::RateLimited(Some(Duration::from_secs(7))),
            ),
        );
        let body = include_str!("../../../fixtures/anthropic/credit.json");
        check(400, None, body, (502, "upstream_quota_exhausted", FailureScope::Quota));
    }

    #[test]
    fn a_closed_account_concerns_the_credential() {
        let body = r#"{"error":{"type":"invalid_request_error","message":"m","details":{"error_code":"organization_on_hold"}}}"#;
        check(400, None, body, (400, "organization_on_hold", FailureScope::Credential));
    }

    #[test]
    fn errors_in_a_stream_get_their_status_from_the_type() {
        let callee = Callee { name: "north".into(), ..Callee::default() };
        let check = |kind: &str, status: u16, scope: FailureScope| {
            let failure = in_band(&callee, &serde_json::json!({ "type": kind, "message": "m" }));
            assert_eq!((failure.fault.status, failure.scope), (status, scope), "{kind}");
        };
        check("overloaded_error", 503, FailureScope::Upstream(None));
        check("rate_limit_error", 429, FailureScope::RateLimited(None));
        check("billing_error", 502, FailureScope::Quota);
        check("request_too_large", 413, FailureScope::Request);
        check("something_new", 502, FailureScope::Upstream(None));
    }
}
