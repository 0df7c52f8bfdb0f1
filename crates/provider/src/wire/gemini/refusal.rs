//! Classifies Gemini's errors, by status and inside a stream.

use engine::provider::failure::{FailureScope, ProviderFailure};
use http::header::HeaderMap;
use serde_json::Value;

use super::super::fault::{Callee, Reported};
use super::super::json;
use super::super::retry_after;
use crate::wire::outgoing::Refused;

/// The longest retry delay that is used.
const MAX_SECONDS: f64 = 86_400.0;

/// An error response.
pub(super) fn by_status(callee: &Callee, refused: &Refused<'_>) -> ProviderFailure {
    let wait = retry_after::read(refused.headers);
    let body = serde_json::from_slice::<Value>(refused.body).unwrap_or_default();
    match error_in(&body) {
        Some(error) => failure(callee, refused.status, error, wait, refused.headers),
        None => {
            callee.refusal(refused.status, Reported::from_body(refused.body), wait, refused.headers)
        }
    }
}

/// An error inside a stream with status 200.
pub(super) fn in_band(callee: &Callee, error: &Value) -> ProviderFailure {
    let reported = Reported::from_error(error);
    match reported.status {
        Some(status) if error.is_object() => {
            failure(callee, status, error, None, &HeaderMap::new())
        }
        Some(_) | None => callee.in_band_or(reported, "reported an unspecified error"),
    }
}

/// The same from the data of an `error` event.
pub(super) fn in_band_of(callee: &Callee, data: &[u8]) -> ProviderFailure {
    match json::value(data) {
        Ok(value) => in_band(callee, error_in(&value).unwrap_or(&value)),
        Err(_) => callee.in_band_or(Reported::from_body(data), "reported an unspecified error"),
    }
}

/// The error in a body, which may be a list with one entry.
pub(super) fn error_in(body: &Value) -> Option<&Value> {
    body.get(0).unwrap_or(body).get("error").filter(|error| error.is_object())
}

fn failure(
    callee: &Callee,
    status: u16,
    error: &Value,
    wait: Option<u64>,
    headers: &HeaderMap,
) -> ProviderFailure {
    let mut reported = Reported::from_error(error);
    // Google reports an invalid key as an invalid argument, with status 400.
    let is_about_key = details(error, "ErrorInfo")
        .any(|info| info.get("reason").is_some_and(|reason| reason == "API_KEY_INVALID"));
    let status = if is_about_key { 401 } else { status };
    if status == 429 && is_exhausted(error) {
        reported.kind = Some("insufficient_quota".to_owned());
    }
    let wait = wait.or_else(|| {
        details(error, "RetryInfo").find_map(|info| read_delay(info.get("retryDelay")?.as_str()?))
    });
    let refusal = callee.refusal(status, reported, wait, headers);
    // The account may not use the API from its location or without billing; another upstream may be
    // able to.
    let is_precondition =
        status == 400 && error.get("status").is_some_and(|status| status == "FAILED_PRECONDITION");
    if is_precondition {
        ProviderFailure::new(refusal.fault, FailureScope::Unsupported)
    } else {
        refusal
    }
}

/// Whether retrying soon is useless, because a daily quota is used up or was always zero. The retry
/// delay refers to the per-minute limit even then.
fn is_exhausted(error: &Value) -> bool {
    let violations = details(error, "QuotaFailure")
        .filter_map(|failure| failure.get("violations")?.as_array())
        .flatten();
    let is_hopeless = |violation: &Value| {
        let has = |name: &str, is_it: fn(&str) -> bool| {
            violation.get(name).and_then(Value::as_str).is_some_and(is_it)
        };
        has("quotaId", |id| id.contains("PerDay")) || has("quotaValue", |value| value == "0")
    };
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let is_nothing_allowed = |limit: &str| {
        !limit.starts_with(|character: char| character.is_ascii_digit() || character == '.')
    };
    violations.into_iter().any(is_hopeless)
        || message.split("limit: 0").skip(1).any(is_nothing_allowed)
}

/// The error details of a type: `{"@type":"type.googleapis.com/google.rpc.RetryInfo",…}`.
fn details<'a>(error: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
    details.filter(move |detail| {
        detail.get("@type").and_then(Value::as_str).is_some_and(|word| word.ends_with(kind))
    })
}

/// Parses `17s` or `0.5s`, rounded up to seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a day")]
fn read_delay(text: &str) -> Option<u64> {
    let seconds =
        text.strip_suffix('s')?.parse::<f64>().ok().filter(|seconds| seconds.is_finite())?;
    Some(seconds.ceil().clamp(1.0, MAX_SECONDS) as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(status: u16, body: &str, expected: (u16, &str, FailureScope)) {
        let callee = Callee { name: "north".into(), ..Callee::default() };
        let failure = by_status(
            &callee,
            &Refused { status, headers: &HeaderMap::new(), body: body.as_bytes() },
        );
        assert_eq!(
            (failure.fault.status, failure.fault.code.as_str(), failure.scope),
            expected,
            "{body}"
        );
    }

    fn error(code: u16, status: &str) -> String {
        serde_json::json!({ "error": { "code": code, "message": "m", "status": status } })
            .to_string()
    }

    #[test]
    fn every_status_has_its_code_and_scope() {
        check(
            400,
            &error(400, "INVALID_ARGUMENT"),
            (400, "upstream_invalid_request", FailureScope::Request),
        );
        check(
            400,
            &error(400, "FAILED_PRECONDITION"),
            (400, "upstream_invalid_request", FailureScope::Unsupported),
        );
        check(
            403,
            &error(403, "PERMISSION_DENIED"),
            (502, "upstream_authentication_failed", FailureScope::Unsupported),
        );
        check(404, &error(404, "NOT_FOUND"), (404, "model_not_found", FailureScope::Unsupported));
        check(
            429,
            &error(429, "RESOURCE_EXHAUSTED"),
            (429, "rate_limit_exceeded", FailureScope::RateLimited(None)),
        );
        check(500, &error(500, "INTERNAL"), (502, "upstream_error", FailureScope::Upstream(None)));
        check(
            503,
            &error(503, "UNAVAILABLE"),
            (503, "upstream_overloaded", FailureScope::Upstream(None)),
        );
        check(
            504,
            &error(504, "DEADLINE_EXCEEDED"),
            (504, "upstream_timeout", FailureScope::Upstream(None)),
        );
        check(502, "<html>", (502, "upstream_error", FailureScope::Upstream(None)));
        check(
            400,
            include_str!("../../../fixtures/gemini/wrong_key.json"),
            (502, "upstream_authentication_failed", FailureScope::Credential),
        );
    }

    #[test]
    fn per_minute_quotas_have_a_retry_delay() {
        let rate = |seconds| FailureScope::RateLimited(Some(Duration::from_secs(seconds)));
        check(
            429,
            include_str!("../../../fixtures/gemini/quota_per_minute.json"),
            (429, "rate_limit_exceeded", rate(18)),
        );
        let body = r#"[{"error":{"code":429,"message":"limit: 0.5","details":[{"@type":"x/google.rpc.RetryInfo","retryDelay":"0.5s"}]}}]"#;
        check(429, body, (429, "rate_limit_exceeded", rate(1)));
    }

    #[test]
    fn daily_and_zero_quotas_concern_the_quota() {
        check(
            429,
            include_str!("../../../fixtures/gemini/quota_per_day.json"),
            (502, "upstream_quota_exhausted", FailureScope::Quota),
        );
        check(
            429,
            include_str!("../../../fixtures/gemini/quota_of_nothing.json"),
            (502, "upstream_quota_exhausted", FailureScope::Quota),
        );
    }

    #[test]
    fn delays_are_whole_seconds() {
        assert_eq!(
            ["17s", "0.5s", "20.04466179s", "0s", "9e9s", "soon", "17"].map(read_delay),
            [Some(17), Some(1), Some(21), Some(1), Some(86_400), None, None,]
        );
    }
}
