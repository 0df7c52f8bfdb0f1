//! How each vendor says that something went wrong: the status, the body, and how long to wait.

use std::time::Duration;

use serde_json::{Value, json};

pub(super) use super::said::Trouble;
use super::vendor::Vendor;

impl Trouble {
    /// The status that a vendor answers it with.
    pub fn status(self, vendor: Vendor) -> u16 {
        match (self, vendor) {
            // Gemini takes a wrong key for a wrong request; only the details tell.
            (Self::Invalid | Self::ContextLength, _) | (Self::Key, Vendor::Gemini) => 400,
            (Self::Key, _) => 401,
            (Self::Money, Vendor::OpenAi | Vendor::Responses | Vendor::Gemini) | (Self::RateLimit, _) => 429,
            (Self::Money, _) => 402,
            (Self::Permission, _) => 403,
            (Self::NotFound, _) => 404,
            (Self::TooLarge, _) => 413,
            (Self::Overloaded, Vendor::Anthropic) => 529,
            (Self::Overloaded, _) => 503,
            (Self::Broken, _) => 500,
            (Self::Timeout, _) => 504,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Invalid => "The request is not valid.",
            Self::ContextLength => "The prompt is too long for the context of this model.",
            Self::Key => "The API key is not valid.",
            Self::Money => "You exceeded your current quota, please check your plan and billing details.",
            Self::Permission => "This key may not use this resource.",
            Self::NotFound => "There is no such model.",
            Self::TooLarge => "The request exceeds the maximum size.",
            Self::RateLimit => "Rate limit reached.",
            Self::Overloaded => "Overloaded",
            Self::Broken => "Internal server error",
            Self::Timeout => "The request timed out.",
        }
    }

    /// OpenAI's `type` and `code`.
    fn openai(self) -> (&'static str, Value) {
        match self {
            Self::Invalid | Self::Permission | Self::TooLarge => ("invalid_request_error", Value::Null),
            Self::ContextLength => ("invalid_request_error", json!("context_length_exceeded")),
            Self::Key => ("invalid_request_error", json!("invalid_api_key")),
            Self::Money => ("insufficient_quota", json!("insufficient_quota")),
            Self::NotFound => ("invalid_request_error", json!("model_not_found")),
            Self::RateLimit => ("requests", json!("rate_limit_exceeded")),
            Self::Overloaded | Self::Broken => ("server_error", Value::Null),
            Self::Timeout => ("server_error", json!("timeout")),
        }
    }

    fn anthropic(self) -> &'static str {
        match self {
            Self::Invalid | Self::ContextLength => "invalid_request_error",
            Self::Key => "authentication_error",
            Self::Money => "billing_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Overloaded => "overloaded_error",
            Self::Broken => "api_error",
            Self::Timeout => "timeout_error",
        }
    }

    fn gemini(self) -> &'static str {
        match self {
            Self::Invalid | Self::ContextLength | Self::Key | Self::TooLarge => "INVALID_ARGUMENT",
            Self::Permission => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::Money | Self::RateLimit => "RESOURCE_EXHAUSTED",
            Self::Overloaded => "UNAVAILABLE",
            Self::Broken => "INTERNAL",
            Self::Timeout => "DEADLINE_EXCEEDED",
        }
    }
}

/// The body of an error. `message` replaces the usual one.
pub(super) fn body(vendor: Vendor, trouble: Trouble, status: u16, wait: Option<Duration>, message: Option<&str>) -> Value {
    let mut message = message.unwrap_or(trouble.message()).to_owned();
    match vendor {
        Vendor::OpenAi | Vendor::Responses => {
            let (kind, code) = trouble.openai();
            json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
        }
        Vendor::Anthropic => {
            let error = json!({"type": trouble.anthropic(), "message": message});
            json!({"type": "error", "error": error, "request_id": "req_lab"})
        }
        Vendor::Gemini => {
            let mut details = Vec::new();
            if trouble == Trouble::Key {
                details.push(json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}));
            }
            if trouble == Trouble::Money {
                let violation = json!({"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "250"});
                details.push(json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}));
            }
            if let Some(wait) = wait {
                let seconds = wait.as_secs_f64();
                details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")}));
                message = format!("{message} Please retry in {seconds}s.");
            }
            let mut error = json!({"code": status, "message": message, "status": trouble.gemini()});
            if !details.is_empty() {
                error["details"] = json!(details);
            }
            json!({"error": error})
        }
        Vendor::Ollama => json!({"error": message}),
    }
}

/// The fields of an answer with an error: with the wait, where the vendor says it there.
pub(super) fn fields(vendor: Vendor, trouble: Trouble, wait: Option<Duration>) -> Vec<(String, String)> {
    let mut fields = vec![("content-type", "application/json".to_owned())];
    let retry_after = wait.map(|wait| ("retry-after", wait.as_secs_f64().ceil().to_string()));
    match vendor {
        Vendor::OpenAi | Vendor::Responses => {
            fields.push(("x-request-id", "req_lab".to_owned()));
            fields.extend(retry_after);
            fields.extend(wait.map(|wait| ("retry-after-ms", wait.as_millis().to_string())));
            // Money is not a rate, and the vendor says so.
            fields.extend((trouble == Trouble::Money).then(|| ("x-should-retry", "false".to_owned())));
        }
        Vendor::Anthropic => {
            fields.push(("request-id", "req_lab".to_owned()));
            fields.extend(retry_after);
        }
        // Gemini says it in the body; Ollama does not say it.
        Vendor::Gemini | Vendor::Ollama => {}
    }
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
