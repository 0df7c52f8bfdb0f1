//! Errors in OpenAI's shape, with their HTTP status.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// The `type` of an error: which party has to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The request is wrong; the caller has to change it.
    InvalidRequest,
    /// The caller has no valid credential.
    Authentication,
    /// The caller is authenticated but not permitted.
    Permission,
    /// The object does not exist, or not for this caller.
    NotFound,
    /// The request conflicts with another one.
    Conflict,
    /// Too many requests; `retry_after` may hold the time to wait.
    RateLimit,
    /// The upstream failed, was cut off or timed out.
    Upstream,
    /// Weir itself failed.
    Server,
}

impl FaultKind {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::Conflict => "conflict_error",
            Self::RateLimit => "rate_limit_error",
            Self::Upstream => "upstream_error",
            Self::Server => "server_error",
        }
    }
}

/// An error on its way to a client: `{"error":{"message","type","code","param"}}` and a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The HTTP status (RFC 9110 §15) of the error if no response has started.
    pub status: u16,
    /// Which party has to act.
    pub kind: FaultKind,
    /// A stable code for programs.
    pub code: String,
    /// A sentence for people. Never contains a prompt, output of a model or a key.
    pub message: String,
    /// The path of the field that is wrong, such as `input[0].content`.
    pub param: Option<String>,
    /// After how many seconds a retry makes sense (RFC 9110 §10.2.3).
    pub retry_after: Option<u64>,
}

impl Fault {
    /// An error of `kind` with its status.
    pub fn new(kind: FaultKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        let status = match kind {
            FaultKind::InvalidRequest => 400,
            FaultKind::Authentication => 401,
            FaultKind::Permission => 403,
            FaultKind::NotFound => 404,
            FaultKind::Conflict => 409,
            FaultKind::RateLimit => 429,
            FaultKind::Upstream => 502,
            FaultKind::Server => 500,
        };
        Self {
            status,
            kind,
            code: code.into(),
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    /// An invalid field: 400 with its path.
    pub fn invalid(code: &str, param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(FaultKind::InvalidRequest, code, message) }
    }

    /// The same error with another status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same error with the path of the field that caused it.
    #[must_use]
    pub fn with_param(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// The body of an HTTP response.
    pub fn body(&self) -> Value {
        json!({ "error": self.object() })
    }

    /// The object below `error`.
    pub fn object(&self) -> Value {
        json!({ "message": self.message, "type": self.kind.as_str(), "code": self.code, "param": self.param })
    }

    /// The payload of a canonical `error` event: the object, and the status and headers of the
    /// error, so that a dialect that has not sent its head can still use them
    /// (`ErrorPayload.headers` of Open Responses).
    pub fn payload(&self) -> Value {
        let mut object = match self.object() {
            Value::Object(object) => object,
            other => return other,
        };
        object.insert("status".into(), self.status.into());
        if let Some(seconds) = self.retry_after {
            let mut headers = Map::new();
            headers.insert("retry-after".into(), seconds.to_string().into());
            object.insert("headers".into(), headers.into());
        }
        object.into()
    }

    /// Reads a payload back; an unknown type becomes a server error, so no cause is lost.
    pub fn from_payload(payload: &Value) -> Self {
        let text = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
        let kind = match text("type").as_deref() {
            Some("invalid_request_error") => FaultKind::InvalidRequest,
            Some("authentication_error") => FaultKind::Authentication,
            Some("permission_error") => FaultKind::Permission,
            Some("not_found_error") => FaultKind::NotFound,
            Some("conflict_error") => FaultKind::Conflict,
            Some("rate_limit_error") => FaultKind::RateLimit,
            Some("upstream_error") => FaultKind::Upstream,
            _ => FaultKind::Server,
        };
        let fault = Self::new(
            kind,
            text("code").unwrap_or_else(|| "server_error".into()),
            text("message").unwrap_or_else(|| "the response failed".into()),
        );
        Self {
            status: payload
                .get("status")
                .and_then(Value::as_u64)
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(fault.status),
            param: text("param"),
            retry_after: payload
                .pointer("/headers/retry-after")
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok()),
            ..fault
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Fault {}

/// The `error` field of a failed response: code and message, as Open Responses requires it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct ResponseError {
    /// A stable code for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl From<&Fault> for ResponseError {
    fn from(fault: &Fault) -> Self {
        Self { code: fault.code.clone(), message: fault.message.clone() }
    }
}
