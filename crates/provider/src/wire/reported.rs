//! Extracts the error from any upstream's response, whatever its format.

use serde_json::{Map, Value};

use super::json;

/// How deep objects, lists and JSON inside strings are searched. Relays wrap errors of relays.
const DEPTH: usize = 6;

/// A longer text line is a page, or an echo of the request.
const LONGEST_LINE: usize = 500;

/// Fields that contain an error inside something else, in lower case and without `_`.
const CONTAINERS: [&str; 9] =
    ["error", "errors", "err", "fault", "failure", "baseresp", "header", "response", "body"];

/// Fields that contain the message.
const SENTENCES: [&str; 14] = [
    "message",
    "msg",
    "errormessage",
    "errormsg",
    "errmsg",
    "statusmsg",
    "statusmessage",
    "errordescription",
    "detail",
    "details",
    "description",
    "title",
    "reason",
    "cause",
];

/// Fields that contain a status or code.
const STATUSES: [&str; 6] = ["code", "status", "statuscode", "httpstatus", "httpcode", "errorcode"];

/// Words that only say that something went wrong.
const LABELS: [&str; 6] = ["error", "err", "failed", "failure", "fail", "exception"];

/// Codes that mean success.
const SUCCESS: [&str; 6] = ["", "0", "200", "ok", "success", "succeeded"];

/// An upstream's error, as far as it could be read. Any of it may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reported {
    pub(crate) message: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) param: Option<String>,
    /// A status inside the error, if the HTTP status was 200.
    pub(crate) status: Option<u16>,
    /// A vendor's own numeric code.
    pub(crate) number: Option<u64>,
}

impl Reported {
    /// Reads an error response's body: JSON in any format, or the first line of a text.
    pub(crate) fn from_body(body: &[u8]) -> Self {
        match json::value(body) {
            Ok(value) => Self::from_error(&value),
            Err(_) => Self::from_text(body),
        }
    }

    /// Reads an error: an object, a list of them, or a string.
    pub(crate) fn from_error(error: &Value) -> Self {
        let mut reported = Self::default();
        reported.read(error, DEPTH);
        reported
    }

    /// The first line of a text, unless it is an HTML page.
    pub(crate) fn from_text(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let line = text
            .trim_start_matches('\u{feff}')
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default();
        if line.starts_with(['<', '{', '[']) {
            return Self::default();
        }
        let message: String = line.chars().take(LONGEST_LINE).collect();
        Self { message: (!message.is_empty()).then_some(message), ..Self::default() }
    }

    /// The error in a chunk or document that is not part of a response, with status 200. `None` if
    /// nothing in it indicates an error.
    pub(crate) fn in_document(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let mut names = fields.iter().map(|(name, value)| (plain(name), value));
        let is_error = names.any(|(name, value)| match name.as_str() {
            "error" | "errors" | "err" | "fault" => is_truthy(value),
            "object" | "type" | "status" if value.is_string() => {
                value == "error" || value == "failed"
            }
            "success" | "ok" => *value == Value::Bool(false),
            "baseresp" => is_failure(value),
            name => is_exception(name) && value.is_object(),
        });
        let has_code = || {
            fields.iter().any(|(name, value)| is_code(&plain(name), value) && !is_success(value))
        };
        // An event with a type may have details of something else.
        let is_event = || {
            fields
                .get("type")
                .and_then(Value::as_str)
                .is_some_and(|kind| !kind.to_lowercase().contains("error"))
        };
        let is_detail = || {
            !is_event()
                && (fields.get("detail").is_some_and(is_truthy)
                    || fields.get("message").is_some_and(Value::is_object))
        };
        // Most chunks have none of it, and reading an error looks everywhere.
        if !is_error && !has_code() && !is_detail() {
            return None;
        }
        let reported = Self::from_error(value);
        (is_error || reported.message.is_some()).then_some(reported)
    }

    /// Reads the errors in `value`. Nested ones are more specific: relays wrap the errors of their
    /// upstreams.
    fn read(&mut self, value: &Value, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::String(text) => self.text(text, depth),
            Value::Array(list) => {
                if let Some(first) = list.iter().find(|entry| is_truthy(entry)) {
                    self.read(first, depth);
                }
            }
            Value::Object(fields) => self.object(fields, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A message, or JSON inside a string.
    fn text(&mut self, text: &str, depth: usize) {
        let text = text.trim();
        if text.starts_with(['{', '['])
            && let Ok(inner) = json::value(text.as_bytes())
        {
            return self.read(&inner, depth);
        }
        if !text.is_empty() {
            self.message = Some(text.to_owned());
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, depth: usize) {
        let named = |names: &[&str]| {
            let by_name = |wanted: &&str| {
                fields
                    .iter()
                    .find(|(name, value)| plain(name) == **wanted && is_truthy(value))
                    .map(|(_, value)| value)
            };
            names.iter().find_map(by_name)
        };
        self.words(fields);
        // A string is a message inside an error, or next to a code (FastChat).
        let is_inside = depth + 1 < DEPTH || fields.keys().any(|name| plain(name) == "errorcode");
        let text = || {
            fields
                .get("text")
                .filter(|text| is_inside && text.as_str().is_some_and(|text| !text.is_empty()))
        };
        if let Some(sentence) = named(&SENTENCES).or_else(text) {
            self.read(sentence, depth);
        }
        // The error of the upstream's own upstream (OpenRouter).
        let raw = fields.get("metadata").and_then(|metadata| metadata.get("raw"));
        let exception = || {
            fields
                .iter()
                .find(|(name, value)| is_exception(&plain(name)) && value.is_object())
                .map(|(_, value)| value)
        };
        if let Some(inner) = named(&CONTAINERS).or(raw).or_else(exception) {
            let before = self
                .message
                .take()
                .filter(|sentence| !LABELS.contains(&sentence.to_lowercase().as_str()));
            self.read(inner, depth);
            // Next to a message, a string in this field is a label: `Bad Request`,
            // `invalid_request`.
            let is_label =
                inner.as_str().is_some_and(|text| self.message.as_deref() == Some(text.trim()));
            self.message = if is_label {
                before.or(self.message.take())
            } else {
                self.message.take().or(before)
            };
        }
    }

    /// Reads type, code, parameter and status from these fields.
    fn words(&mut self, fields: &Map<String, Value>) {
        let text = |name: &str| {
            fields
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        // `error` is not specific.
        self.kind = text("type")
            .or_else(|| text("error_type"))
            .filter(|kind| kind != "error")
            .or(self.kind.take());
        self.code = text("code").filter(|code| code.parse::<u64>().is_err()).or(self.code.take());
        self.number = fields
            .get("code")
            .and_then(read_number)
            .filter(|number| *number >= 1000)
            .or(self.number);
        self.param = text("param").or(self.param.take());
        let status = |name: &&str| {
            fields
                .iter()
                .find(|(key, _)| plain(key) == **name)
                .and_then(|(_, value)| read_status(value))
        };
        self.status = STATUSES
            .iter()
            .find_map(status)
            .or_else(|| minimax_status(fields.get("status_code")?))
            .or(self.status);
    }

    /// The status implied by its type or code, if it has no number.
    pub(super) fn guessed_status(&self) -> u16 {
        const WORDS: [(u16, &[&str]); 8] = [
            (401, &["apikey", "authentication", "unauthorized", "invalidtoken"]),
            (403, &["permission", "accessdenied", "forbidden"]),
            (429, &["ratelimit", "throttl", "toomanyrequests"]),
            (503, &["overload", "unavailable"]),
            (504, &["timeout", "timedout"]),
            (404, &["notfound"]),
            (
                400,
                &[
                    "invalidrequest",
                    "contextlength",
                    "badrequest",
                    "invalidparameter",
                    "validation",
                ],
            ),
            (402, &["insufficientquota", "insufficientbalance", "arrearage"]),
        ];
        let words: Vec<String> =
            [&self.code, &self.kind].into_iter().flatten().map(|word| plain(word)).collect();
        let is_any = |needles: &[&str]| {
            words.iter().any(|word| needles.iter().any(|needle| word.contains(needle)))
        };
        match WORDS.iter().find(|(_, needles)| is_any(needles)) {
            Some((status, _)) => *status,
            None if self.is_about_context() => 400,
            None => 500,
        }
    }

    /// Whether the request exceeds a limit of the model, the rate or the credit that smaller
    /// requests do not.
    pub(super) fn is_about_size(&self) -> bool {
        let says =
            |needle: &str| self.message.as_ref().is_some_and(|message| message.contains(needle));
        self.code.as_deref() == Some("context_length_exceeded")
            || says("Request too large")
            || says("fewer max_tokens")
    }

    /// Whether the conversation exceeds the context window, for upstreams without a code for it.
    pub(super) fn is_about_context(&self) -> bool {
        const SAYS: [&str; 13] = [
            "maximum context length",
            "context length",
            "context window",
            "context size",
            "prompt is too long",
            "input is too long",
            "input length",
            "too many input tokens",
            "input token count",
            "exceeds the maximum number of tokens",
            "the model takes",
            "reduce the length of the messages",
            "exceeds the maximum allowed length",
        ];
        let is_code = self.code.as_deref().is_some_and(|code| {
            code.contains("context_length") || code == "exceed_context_size_error"
        });
        is_code
            || self
                .message
                .as_ref()
                .map(|message| message.to_lowercase())
                .is_some_and(|message| SAYS.iter().any(|says| message.contains(says)))
    }

    /// Whether the key's account is closed.
    pub(super) fn is_about_account(&self) -> bool {
        // Not the message: it may quote the caller's model name.
        let words = [&self.code, &self.kind];
        let closed = ["deactivated", "suspended", "on_hold", "account_disabled"];
        words.into_iter().flatten().any(|word| closed.iter().any(|needle| word.contains(needle)))
    }

    /// A missing credit is not a rate limit: waiting does not help.
    pub(super) fn is_about_money(&self) -> bool {
        // Zhipu's code for an account in arrears.
        let is_in_arrears = self.code.is_none() && self.number == Some(1113);
        let words = [self.code.as_deref(), self.kind.as_deref()];
        let money = ["insufficientquota", "insufficientbalance", "billing", "arrearage"];
        is_in_arrears
            || words
                .iter()
                .flatten()
                .any(|word| money.iter().any(|money| plain(word).contains(money)))
    }
}

/// A field name without case and `_`, so that `errorMessage` and `error_message` are the same.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|character| *character != '_')
        .map(|character| character.to_ascii_lowercase())
        .collect()
}

/// Whether an `error` field reports an error: some servers send `"error":null`, `""`, `[]` or an
/// object of nulls with every chunk.
pub(crate) fn is_truthy(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => list.iter().any(is_truthy),
        Value::Object(fields) => fields.values().any(is_truthy),
    }
}

/// Whether a field is an error code: a number, or a word. A status that is a word (`processing`)
/// may be unrelated.
fn is_code(name: &str, value: &Value) -> bool {
    STATUSES.contains(&name)
        && (value.is_number()
            || (value.is_string() && (name != "status" || read_status(value).is_some())))
}

fn is_success(value: &Value) -> bool {
    match value {
        Value::String(text) => SUCCESS.contains(&text.to_lowercase().as_str()),
        Value::Number(number) => {
            number.as_u64().is_some_and(|number| number == 0 || (200..300).contains(&number))
        }
        _ => !is_truthy(value),
    }
}

/// An HTTP status, or a code that starts with one (`42901`). If its first digits are not a known
/// status (`50505`), only the class counts.
fn read_status(value: &Value) -> Option<u16> {
    let number = read_number(value)?;
    let status = match number {
        400..=599 => number,
        40_000..=59_999 => match number / 100 {
            status @ (400..=404 | 408 | 409 | 413 | 422 | 429 | 500 | 502..=504 | 529) => status,
            status => status / 100 * 100,
        },
        _ => return None,
    };
    u16::try_from(status).ok()
}

fn read_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// The status for MiniMax's `status_code`, from its documentation.
fn minimax_status(code: &Value) -> Option<u16> {
    Some(match read_number(code)? {
        1002 | 1039 | 1041 | 2045 => 429,
        1004 | 2049 => 401,
        1008 | 2056 => 402,
        1026 | 1027 | 1042 | 2013 => 400,
        1000..=2999 => 500,
        _ => return None,
    })
}

/// Whether an error has a class name: Bedrock's `modelStreamErrorException`.
fn is_exception(name: &str) -> bool {
    name.ends_with("exception")
}

/// Whether MiniMax's `base_resp` reports a failure.
pub(super) fn is_failure(base_resp: &Value) -> bool {
    base_resp.get("status_code").is_some_and(|code| !is_success(code))
}

#[cfg(test)]
mod tests;
