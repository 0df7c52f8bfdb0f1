//! The errors of each vendor: status, body, and `Retry-After`.

use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::Vendor;

/// An error of a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VendorError {
    /// The request is invalid.
    Invalid,
    /// The prompt is longer than the model's context.
    ContextLength,
    /// The key is missing or unknown.
    InvalidKey,
    /// The quota or the credit is used up; waiting does not help.
    Quota,
    /// The key does not have the permission.
    Permission,
    /// The model does not exist.
    NotFound,
    /// The request is too large.
    TooLarge,
    /// Too many requests.
    RateLimit,
    /// The service is overloaded.
    Overloaded,
    /// An internal error of the service.
    Internal,
    /// The service timed out.
    Timeout,
}

impl VendorError {
    /// The vendor's status for it.
    pub fn status(self, vendor: Vendor) -> u16 {
        match (self, vendor) {
            // Gemini reports a wrong key as an invalid request; only the details differ.
            (Self::Invalid | Self::ContextLength, _) | (Self::InvalidKey, Vendor::Gemini) => 400,
            (Self::InvalidKey, _) => 401,
            (Self::Quota, Vendor::OpenAi | Vendor::Responses | Vendor::Gemini)
            | (Self::RateLimit, _) => 429,
            (Self::Quota, _) => 402,
            (Self::Permission, _) => 403,
            (Self::NotFound, _) => 404,
            (Self::TooLarge, _) => 413,
            (Self::Overloaded, Vendor::Anthropic) => 529,
            (Self::Overloaded, _) => 503,
            (Self::Internal, _) => 500,
            (Self::Timeout, _) => 504,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Invalid => "The request is not valid.",
            Self::ContextLength => "The prompt is too long for the context of this model.",
            Self::InvalidKey => "The API key is not valid.",
            Self::Quota => {
                "You exceeded your current quota, please check your plan and billing details."
            }
            Self::Permission => "This key may not use this resource.",
            Self::NotFound => "There is no such model.",
            Self::TooLarge => "The request exceeds the maximum size.",
            Self::RateLimit => "Rate limit reached.",
            Self::Overloaded => "Overloaded",
            Self::Internal => "Internal server error",
            Self::Timeout => "The request timed out.",
        }
    }

    /// OpenAI's `type` and `code`.
    fn openai(self) -> (&'static str, Value) {
        match self {
            Self::Invalid | Self::Permission | Self::TooLarge => {
                ("invalid_request_error", Value::Null)
            }
            Self::ContextLength => ("invalid_request_error", json!("context_length_exceeded")),
            Self::InvalidKey => ("invalid_request_error", json!("invalid_api_key")),
            Self::Quota => ("insufficient_quota", json!("insufficient_quota")),
            Self::NotFound => ("invalid_request_error", json!("model_not_found")),
            Self::RateLimit => ("requests", json!("rate_limit_exceeded")),
            Self::Overloaded | Self::Internal => ("server_error", Value::Null),
            Self::Timeout => ("server_error", json!("timeout")),
        }
    }

    fn anthropic(self) -> &'static str {
        match self {
            Self::Invalid | Self::ContextLength => "invalid_request_error",
            Self::InvalidKey => "authentication_error",
            Self::Quota => "billing_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Overloaded => "overloaded_error",
            Self::Internal => "api_error",
            Self::Timeout => "timeout_error",
        }
    }

    fn gemini(self) -> &'static str {
        match self {
            Self::Invalid | Self::ContextLength | Self::InvalidKey | Self::TooLarge => {
                "INVALID_ARGUMENT"
            }
            Self::Permission => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::Quota | Self::RateLimit => "RESOURCE_EXHAUSTED",
            Self::Overloaded => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
            Self::Timeout => "DEADLINE_EXCEEDED",
        }
    }
}

/// The body of an error response. `message` replaces the default.
pub(super) fn body(
    vendor: Vendor,
    error: VendorError,
    status: u16,
    wait: Option<Duration>,
    message: Option<&str>,
) -> Value {
    let mut message = message.unwrap_or(error.message()).to_owned();
    match vendor {
        Vendor::OpenAi | Vendor::Responses => {
            let (kind, code) = error.openai();
            json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
        }
        Vendor::Anthropic => {
            let error = json!({"type": error.anthropic(), "message": message});
            json!({"type": "error", "error": error, "request_id": "req_lab"})
        }
        Vendor::Gemini => {
            let mut details = Vec::new();
            if error == VendorError::InvalidKey {
                details.push(json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}));
            }
            if error == VendorError::Quota {
                let violation = json!({"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "250"});
                details.push(json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}));
            }
            if let Some(wait) = wait {
                let seconds = wait.as_secs_f64();
                details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")}));
                message = format!("{message} Please retry in {seconds}s.");
            }
            let mut error = json!({"code": status, "message": message, "status": error.gemini()});
            if !details.is_empty() {
                error["details"] = json!(details);
            }
            json!({"error": error})
        }
        Vendor::Ollama => json!({"error": message}),
    }
}

/// The header fields of an error response, with the wait if the vendor sends it there.
pub(super) fn fields(
    vendor: Vendor,
    error: VendorError,
    wait: Option<Duration>,
) -> Vec<(String, String)> {
    let mut fields = vec![("content-type", "application/json".to_owned())];
    let retry_after = wait.map(|wait| ("retry-after", wait.as_secs_f64().ceil().to_string()));
    match vendor {
        Vendor::OpenAi | Vendor::Responses => {
            fields.push(("x-request-id", "req_lab".to_owned()));
            fields.extend(retry_after);
            fields.extend(wait.map(|wait| ("retry-after-ms", wait.as_millis().to_string())));
            // The vendor tells its SDK not to retry.
            fields.extend(
                (error == VendorError::Quota).then(|| ("x-should-retry", "false".to_owned())),
            );
        }
        Vendor::Anthropic => {
            fields.push(("request-id", "req_lab".to_owned()));
            fields.extend(retry_after);
        }
        // Gemini sends the wait in the body, Ollama not at all.
        Vendor::Gemini | Vendor::Ollama => {}
    }
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
