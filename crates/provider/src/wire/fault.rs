//! Turns upstream errors into faults for callers, without any secrets.

use std::sync::Arc;
use std::time::Duration;

use engine::provider::failure::{CONTEXT_LENGTH, FailureScope, ProviderFailure, UPSTREAM_CUT};
use engine::secret::Secret;
use http::header::HeaderMap;
use protocol::fault::{Fault, FaultKind};

pub(crate) use super::reported::{Reported, is_truthy};
use super::secrets::Secrets;
use super::{credentials, text};

/// No error message is longer; a longer text is an HTML page or an echo of the request.
const MAX_MESSAGE_CHARACTERS: usize = 2000;

/// The code of an unspecified upstream failure.
pub(crate) const ERROR: &str = "upstream_error";

/// The upstream to name in faults, and the secrets to keep out of them.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    pub(crate) name: Arc<str>,
    pub(crate) key: Option<Secret>,
    /// Everything sent to the upstream in confidence.
    pub(crate) secrets: Arc<Secrets>,
}

impl Default for Callee {
    fn default() -> Self {
        Self { name: "".into(), key: None, secrets: Arc::default() }
    }
}

/// A parameter that the model's API does not support.
pub(crate) fn unknown_parameter(model: &str, name: &str) -> Fault {
    Fault::invalid(
        "unknown_parameter",
        name,
        format!("The model '{model}' does not support the parameter '{name}'."),
    )
}

impl Callee {
    /// An error inside a stream with status 200.
    pub(crate) fn in_band(&self, reported: Reported) -> ProviderFailure {
        let status = reported.status.unwrap_or_else(|| reported.guessed_status());
        self.refusal(status, reported, None, &HeaderMap::new())
    }

    /// The same, with the text `what` if the error has none.
    pub(crate) fn in_band_or(&self, reported: Reported, what: &str) -> ProviderFailure {
        if reported == Reported::default() {
            self.plain(ERROR, what)
        } else {
            self.in_band(reported)
        }
    }

    /// An error response, with its retry delay and headers.
    pub(crate) fn refusal(
        &self,
        status: u16,
        reported: Reported,
        retry_after: Option<u64>,
        headers: &HeaderMap,
    ) -> ProviderFailure {
        let wait = retry_after.map(Duration::from_secs);
        let scope = match status {
            // Another upstream may accept larger requests; other requests to this one are
            // unaffected.
            _ if reported.is_about_size()
                || (matches!(status, 400 | 413 | 422) && reported.is_about_context()) =>
            {
                FailureScope::Unsupported
            }
            _ if reported.is_about_money() => FailureScope::Quota,
            401 => FailureScope::Credential,
            403 if reported.is_about_account() => FailureScope::Credential,
            // Often this model, country or input is not allowed: a caller must not be able to
            // disable a key for all others. A redirect needs a change of the settings.
            300..=399 | 403 | 404 => FailureScope::Unsupported,
            402 => FailureScope::Quota,
            429 => FailureScope::RateLimited(wait),
            408 | 409 | 500..
                if headers.get("x-should-retry").is_some_and(|word| word == "false") =>
            {
                FailureScope::Unsupported
            }
            408 | 409 | 500.. => FailureScope::Upstream(wait),
            _ => FailureScope::Request,
        };
        ProviderFailure::new(self.fault(status, reported, retry_after), scope)
    }

    fn fault(&self, status: u16, reported: Reported, retry_after: Option<u64>) -> Fault {
        let reported = self.without_secrets(reported);
        let name = &self.name;
        if reported.is_about_money() {
            return self.told(
                "upstream_quota_exhausted",
                "has no quota or credit left for this server's key",
                &reported,
            );
        }
        match status {
            401 if self.key.is_none() => Fault::new(
                FaultKind::Upstream,
                "upstream_authentication_failed",
                format!(
                    "The upstream '{name}' requires an API key, and this server has none for it (401)."
                ),
            ),
            // The message for a rejected key may contain parts of the key, so none of it is passed
            // on.
            403 => Fault::new(
                FaultKind::Upstream,
                "upstream_authentication_failed",
                format!("The upstream '{name}' does not permit this with this server's key (403)."),
            ),
            401 => Fault::new(
                FaultKind::Upstream,
                "upstream_authentication_failed",
                format!("The upstream '{name}' refused this server's key ({status})."),
            ),
            402 => self.told(
                "upstream_quota_exhausted",
                "has no quota or credit left for this server's key",
                &reported,
            ),
            400 | 413 | 422 => self.passed_on(
                FaultKind::InvalidRequest,
                status,
                "upstream_invalid_request",
                "refused the request",
                reported,
            ),
            404 => self.passed_on(
                FaultKind::NotFound,
                status,
                "model_not_found",
                "does not have this model, or nothing is at this address",
                reported,
            ),
            408 | 504 => self
                .told("upstream_timeout", "gave up waiting for its model", &reported)
                .with_status(504),
            429 => Fault {
                retry_after,
                ..self.passed_on(
                    FaultKind::RateLimit,
                    429,
                    "rate_limit_exceeded",
                    "is overloaded",
                    reported,
                )
            },
            503 | 529 => Fault {
                retry_after,
                ..self.told("upstream_overloaded", "is overloaded", &reported).with_status(503)
            },
            300..=399 => Fault::new(
                FaultKind::Upstream,
                "upstream_redirect",
                format!(
                    "The upstream '{name}' responded with a redirect ({status}); set its base_url to the address that it redirects to."
                ),
            ),
            _ => self.told(ERROR, &format!("failed ({status})"), &reported),
        }
    }

    /// A failure of the upstream: 502, with its own message.
    pub(crate) fn told(&self, code: &str, what: &str, reported: &Reported) -> Fault {
        let reported = self.without_secrets(reported.clone());
        let said = reported.message.as_ref().map(|said| format!(": {said}"));
        let word =
            reported.code.as_ref().or(reported.kind.as_ref()).map(|word| format!(" [{word}]"));
        let end = if said.is_none() && word.is_none() { "." } else { "" };
        let message = format!(
            "The upstream '{}' {what}{}{}{end}",
            self.name,
            said.unwrap_or_default(),
            word.unwrap_or_default()
        );
        Fault::new(FaultKind::Upstream, code, self.fit(&message))
    }

    /// A failure of the upstream with a fixed text: `what` follows its name.
    pub(crate) fn plain(&self, code: &str, what: &str) -> ProviderFailure {
        ProviderFailure::upstream(self.told(code, what, &Reported::default()))
    }

    /// The body was cut off.
    pub(crate) fn cut(&self) -> ProviderFailure {
        self.plain(UPSTREAM_CUT, "closed the connection in the middle of the response")
    }

    /// An error that the caller can act on, with the upstream's own message if there is one.
    fn passed_on(
        &self,
        kind: FaultKind,
        status: u16,
        code: &str,
        what: &str,
        reported: Reported,
    ) -> Fault {
        let is_too_long = reported.is_about_context();
        let message = match reported.message {
            Some(message) => format!("{message} (upstream '{}', status {status})", self.name),
            None => format!("The upstream '{}' {what} ({status}).", self.name),
        };
        let code = if is_too_long { CONTEXT_LENGTH } else { code };
        let code = reported
            .code
            .filter(|_| !is_too_long)
            .filter(|code| is_token(code))
            .map_or_else(|| code.to_owned(), |code| self.fit(&code));
        let param = reported.param.filter(|param| is_token(param)).map(|param| self.fit(&param));
        Fault { param, ..Fault::new(kind, code, self.fit(&message)).with_status(status) }
    }

    /// Removes secrets from an upstream's error. Only the upstream's own text is searched: ours may
    /// have parts in common with a header.
    fn without_secrets(&self, reported: Reported) -> Reported {
        let hide = |words: Option<String>| words.map(|words| self.secrets.hide(&words));
        Reported {
            message: hide(reported.message),
            kind: hide(reported.kind),
            code: hide(reported.code),
            param: hide(reported.param),
            status: reported.status,
            number: reported.number,
        }
    }

    /// Removes this server's key and anything that looks like one, in case it was echoed, and
    /// limits the length.
    fn fit(&self, words: &str) -> String {
        let key = self.key.as_ref().map(Secret::reveal).filter(|key| !key.is_empty());
        let words = text::without_marks(words.to_owned());
        let words =
            key.map_or_else(|| words.clone(), |key| words.replace(key, credentials::HIDDEN));
        let words = credentials::hide(&words);
        match words.char_indices().nth(MAX_MESSAGE_CHARACTERS) {
            Some((end, _)) => format!("{}…", &words[..end]),
            None => words,
        }
    }
}

/// Whether an upstream's code is an identifier: codes are logged, and free text could be a prompt
/// or forge a log line.
fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream() -> Callee {
        Callee {
            name: "north".into(),
            key: Some(Secret::new("sk-very-secret")),
            secrets: Arc::default(),
        }
    }

    fn check(status: u16, body: &str, expected: (u16, FaultKind, &str, &str)) {
        let fault = upstream()
            .refusal(status, Reported::from_body(body.as_bytes()), Some(7), &HeaderMap::new())
            .fault;
        assert_eq!(
            (fault.status, fault.kind, fault.code.as_str(), fault.message.as_str()),
            expected
        );
        let may_wait = matches!(expected.0, 429 | 503);
        assert_eq!(fault.retry_after, may_wait.then_some(7));
    }

    #[test]
    fn a_code_that_is_not_an_identifier_is_not_passed_on() {
        let body = r#"{"error":{"message":"m","code":"PROMPT TEXT\n2026 INFO forged"}}"#;
        check(
            400,
            body,
            (
                400,
                FaultKind::InvalidRequest,
                "upstream_invalid_request",
                "m (upstream 'north', status 400)",
            ),
        );
    }

    #[test]
    fn errors_the_caller_can_act_on_keep_their_message() {
        let body = r#"{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
        check(
            400,
            body,
            (
                400,
                FaultKind::InvalidRequest,
                "context_length_exceeded",
                "too long (upstream 'north', status 400)",
            ),
        );
        assert_eq!(
            upstream()
                .refusal(400, Reported::from_body(body.as_bytes()), None, &HeaderMap::new())
                .fault
                .param
                .as_deref(),
            Some("messages")
        );
        check(
            422,
            r#"{"detail":"no"}"#,
            (
                422,
                FaultKind::InvalidRequest,
                "upstream_invalid_request",
                "no (upstream 'north', status 422)",
            ),
        );
        let said = "model 'x' not found (upstream 'north', status 404)";
        check(
            404,
            r#"{"error":"model 'x' not found"}"#,
            (404, FaultKind::NotFound, "model_not_found", said),
        );
        check(
            404,
            "<html>",
            (
                404,
                FaultKind::NotFound,
                "model_not_found",
                "The upstream 'north' does not have this model, or nothing is at this address (404).",
            ),
        );
        let said = "slow down (upstream 'north', status 429)";
        check(
            429,
            r#"[{"error":{"message":"slow down","code":429}}]"#,
            (429, FaultKind::RateLimit, "rate_limit_exceeded", said),
        );
    }

    #[test]
    fn upstream_failures_are_not_the_callers_fault() {
        let key = r#"{"error":{"message":"Incorrect API key provided: sk-very-*cret","code":"invalid_api_key"}}"#;
        let said = "The upstream 'north' refused this server's key (401).";
        check(401, key, (502, FaultKind::Upstream, "upstream_authentication_failed", said));
        let quota = r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#;
        let said = "The upstream 'north' has no quota or credit left for this server's key: pay [insufficient_quota]";
        check(429, quota, (502, FaultKind::Upstream, "upstream_quota_exhausted", said));
        check(
            500,
            "",
            (502, FaultKind::Upstream, "upstream_error", "The upstream 'north' failed (500)."),
        );
        check(
            529,
            "",
            (
                503,
                FaultKind::Upstream,
                "upstream_overloaded",
                "The upstream 'north' is overloaded.",
            ),
        );
        check(
            504,
            "",
            (
                504,
                FaultKind::Upstream,
                "upstream_timeout",
                "The upstream 'north' gave up waiting for its model.",
            ),
        );
        let echo = r#"{"error":{"message":"got Bearer sk-very-secret"}}"#;
        check(
            500,
            echo,
            (
                502,
                FaultKind::Upstream,
                "upstream_error",
                "The upstream 'north' failed (500): got Bearer (hidden)",
            ),
        );
    }

    #[test]
    fn no_status_leaks_a_secret() {
        let headers = [("X-Secret".to_owned(), Secret::new("HDRSECRET1"))];
        let secrets =
            Secrets::new(&[Secret::new("sk-very-secret")], &headers, ["http://user:proxyword@p:1"]);
        let callee = Callee { secrets: Arc::new(secrets), ..upstream() };
        let echo = r#"{"error":{"message":"got sk-ver y-secret HDRSECRET1 c2stdmVyeS1zZWNyZXQ proxyword","code":"HDRSECRET1","param":"HDRSECRET1"}}"#;
        let reported = || Reported::from_body(echo.as_bytes());
        let faults = [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503, 504, 529]
            .map(|status| callee.refusal(status, reported(), None, &HeaderMap::new()).fault);
        for fault in faults.into_iter().chain([callee.in_band(reported()).fault]) {
            let shown = format!("{fault:?}");
            for secret in ["HDRSECRET1", "c2stdmVyeS1z", "proxyword", "y-secret"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    #[test]
    fn errors_in_a_stream_get_their_status_by_number_or_name() {
        let status = |error: serde_json::Value| {
            upstream().in_band(Reported::from_error(&error)).fault.status
        };
        assert_eq!(status(serde_json::json!({"code": 429, "message": "slow"})), 429);
        assert_eq!(status(serde_json::json!({"code": "429"})), 429);
        assert_eq!(status(serde_json::json!({"type": "rate_limit_error"})), 429);
        assert_eq!(status(serde_json::json!({"type": "overloaded_error"})), 503);
        assert_eq!(
            status(serde_json::json!({"code": "invalid_api_key", "type": "invalid_request_error"})),
            502
        );
        assert_eq!(status(serde_json::json!("boom")), 502);
    }

    #[test]
    fn a_missing_key_is_not_reported_as_wrong() {
        let nobody = Callee { key: None, ..upstream() };
        let fault = nobody.refusal(401, Reported::default(), None, &HeaderMap::new()).fault;
        assert_eq!(
            fault.message,
            "The upstream 'north' requires an API key, and this server has none for it (401)."
        );
    }

    #[test]
    fn every_status_has_its_scope() {
        let scope = |status, body: &str| {
            upstream()
                .refusal(status, Reported::from_body(body.as_bytes()), Some(7), &HeaderMap::new())
                .scope
        };
        let wait = Some(Duration::from_secs(7));
        assert_eq!(scope(400, ""), FailureScope::Request);
        assert_eq!(scope(401, ""), FailureScope::Credential);
        assert_eq!(scope(402, ""), FailureScope::Quota);
        assert_eq!(scope(403, ""), FailureScope::Unsupported);
        assert_eq!(
            scope(403, r#"{"error":{"code":"account_deactivated"}}"#),
            FailureScope::Credential
        );
        assert_eq!(
            scope(403, r#"{"error":{"message":"no model named account_deactivated"}}"#),
            FailureScope::Unsupported
        );
        let too_large = r#"{"error":{"message":"Request too large for m: Limit 30000, Requested 61337.","code":"rate_limit_exceeded"}}"#;
        assert_eq!(scope(429, too_large), FailureScope::Unsupported);
        assert_eq!(
            scope(
                402,
                r#"{"error":{"message":"This request requires more credits, or fewer max_tokens."}}"#
            ),
            FailureScope::Unsupported
        );
        assert_eq!(
            scope(400, r#"{"error":{"code":"context_length_exceeded"}}"#),
            FailureScope::Unsupported
        );
        assert_eq!(scope(404, ""), FailureScope::Unsupported);
        assert_eq!(scope(429, ""), FailureScope::RateLimited(wait));
        assert_eq!(scope(429, r#"{"error":{"code":"insufficient_quota"}}"#), FailureScope::Quota);
        assert_eq!(scope(503, ""), FailureScope::Upstream(wait));
        let headers =
            HeaderMap::from_iter([("x-should-retry".parse().unwrap(), "false".parse().unwrap())]);
        assert_eq!(
            upstream().refusal(500, Reported::default(), None, &headers).scope,
            FailureScope::Unsupported
        );
    }
}
