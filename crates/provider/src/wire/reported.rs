//! Finds what an upstream says went wrong, in whatever shape it says so: one reader for the errors of all upstreams.

use serde_json::{Map, Value};

use super::json;

/// How deep objects, lists and JSON in texts are looked into. Relays wrap errors of relays.
const DEPTH: usize = 6;

/// A sentence in plain text that is longer is a page, or an echo of the request.
const LONGEST_LINE: usize = 500;

/// Under which names an error stands in something that is not the error itself, in lower case and without `_`.
const CONTAINERS: [&str; 9] = ["error", "errors", "err", "fault", "failure", "baseresp", "header", "response", "body"];

/// Under which names the sentence stands.
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

/// Under which names a status or a code stands.
const STATUSES: [&str; 6] = ["code", "status", "statuscode", "httpstatus", "httpcode", "errorcode"];

/// Codes that say that nothing went wrong.
const SUCCESS: [&str; 6] = ["", "0", "200", "ok", "success", "succeeded"];

/// An upstream's error as far as it could be read. All of it may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reported {
    pub(crate) message: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) param: Option<String>,
    /// A status inside the error, where the HTTP status said 200.
    pub(crate) status: Option<u16>,
}

impl Reported {
    /// Reads a whole error body: JSON of any shape, or the first line of a text.
    pub(crate) fn from_body(body: &[u8]) -> Self {
        match json::value(body) {
            Ok(value) => Self::from_error(&value),
            Err(_) => Self::from_text(body),
        }
    }

    /// Reads an error: an object, a list of them, or a text.
    pub(crate) fn from_error(error: &Value) -> Self {
        let mut reported = Self::default();
        reported.read(error, DEPTH);
        reported
    }

    /// The first line of a text that is a sentence for people. A page of HTML is none.
    pub(crate) fn from_text(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let line = text.trim_start_matches('\u{feff}').lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        if line.starts_with(['<', '{', '[']) {
            return Self::default();
        }
        let message: String = line.chars().take(LONGEST_LINE).collect();
        Self { message: (!message.is_empty()).then_some(message), ..Self::default() }
    }

    /// The error in a chunk or a document that holds nothing else: its status said 200, but it is no part of a response. `None`
    /// where nothing in it speaks of an error.
    pub(crate) fn in_document(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let mut names = fields.iter().map(|(name, value)| (plain(name), value));
        let is_error = names.any(|(name, value)| match name.as_str() {
            "error" | "errors" | "err" | "fault" => is_truthy(value),
            "object" | "type" | "status" if value.is_string() => value == "error" || value == "failed",
            "success" | "ok" => *value == Value::Bool(false),
            "baseresp" => value.get("status_code").is_some_and(|code| !is_success(code)),
            _ => false,
        });
        let reported = Self::from_error(value);
        let has_code = || fields.iter().any(|(name, value)| is_code(&plain(name), value) && !is_success(value));
        // An event of some type may well have details of something else.
        let is_event = || fields.get("type").and_then(Value::as_str).is_some_and(|kind| !kind.to_lowercase().contains("error"));
        let is_detail =
            || !is_event() && (fields.get("detail").is_some_and(is_truthy) || fields.get("message").is_some_and(Value::is_object));
        (is_error || (reported.message.is_some() && (has_code() || is_detail()))).then_some(reported)
    }

    /// Takes in what `value` says. What is deeper inside says more: relays wrap the errors of those they ask.
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

    /// A sentence, or JSON that was put into a text.
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
            let by_name =
                |wanted: &&str| fields.iter().find(|(name, value)| plain(name) == **wanted && is_truthy(value)).map(|(_, value)| value);
            names.iter().find_map(by_name)
        };
        self.words(fields);
        if let Some(sentence) = named(&SENTENCES) {
            self.read(sentence, depth);
        }
        // The error of whoever was asked in turn (OpenRouter).
        let raw = fields.get("metadata").and_then(|metadata| metadata.get("raw"));
        if let Some(inner) = named(&CONTAINERS).or(raw) {
            let before = self.message.take();
            self.read(inner, depth);
            self.message = self.message.take().or(before);
        }
    }

    /// Takes in kind, code, parameter and status, as far as these fields have them.
    fn words(&mut self, fields: &Map<String, Value>) {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        // `error` says that it is one, and nothing of it.
        self.kind = text("type").or_else(|| text("error_type")).filter(|kind| kind != "error").or(self.kind.take());
        self.code = text("code").filter(|code| code.parse::<u64>().is_err()).or(self.code.take());
        self.param = text("param").or(self.param.take());
        let status = |name: &&str| fields.iter().find(|(key, _)| plain(key) == **name).and_then(|(_, value)| read_status(value));
        self.status = STATUSES.iter().find_map(status).or(self.status);
    }

    /// The status its words stand for, where it gives no number.
    pub(super) fn guessed_status(&self) -> u16 {
        let words = [self.code.as_deref(), self.kind.as_deref()];
        let any = |needles: &[&str]| words.iter().flatten().any(|word| needles.iter().any(|needle| word.contains(needle)));
        if any(&["api_key", "authentication"]) {
            401
        } else if any(&["permission"]) {
            403
        } else if any(&["rate_limit"]) {
            429
        } else if any(&["overloaded", "unavailable"]) {
            503
        } else if any(&["timeout"]) {
            504
        } else if any(&["not_found"]) {
            404
        } else if any(&["invalid_request", "context_length", "BadRequest", "InvalidParameter"]) || self.is_about_context() {
            400
        } else {
            500
        }
    }

    /// Whether this request is too large for the model, the rate or the credit, where smaller ones are not.
    pub(super) fn is_about_size(&self) -> bool {
        let says = |needle: &str| self.message.as_ref().is_some_and(|message| message.contains(needle));
        self.code.as_deref() == Some("context_length_exceeded") || says("Request too large") || says("fewer max_tokens")
    }

    /// Whether the conversation is longer than the model can read, in the words of those who have no code for it.
    pub(super) fn is_about_context(&self) -> bool {
        const SAYS: [&str; 12] = [
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
        ];
        let is_code = self.code.as_deref().is_some_and(|code| code.contains("context_length") || code == "exceed_context_size_error");
        is_code
            || self
                .message
                .as_ref()
                .map(|message| message.to_lowercase())
                .is_some_and(|message| SAYS.iter().any(|says| message.contains(says)))
    }

    /// Whether the key's account is closed.
    pub(super) fn is_about_account(&self) -> bool {
        // Not the message: it may repeat what the caller has called the model.
        let words = [&self.code, &self.kind];
        let closed = ["deactivated", "suspended", "on_hold", "account_disabled"];
        words.into_iter().flatten().any(|word| closed.iter().any(|needle| word.contains(needle)))
    }

    /// Money is not a rate: waiting does not help.
    pub(super) fn is_about_money(&self) -> bool {
        let words = [self.code.as_deref(), self.kind.as_deref()];
        words
            .iter()
            .flatten()
            .any(|word| ["insufficient_quota", "insufficient_balance", "billing"].iter().any(|money| word.contains(money)))
    }
}

/// A field's name without case and `_`: `errorMessage` and `error_message` are one.
fn plain(name: &str) -> String {
    name.chars().filter(|character| *character != '_').map(|character| character.to_ascii_lowercase()).collect()
}

/// Whether an `error` field really reports one: some servers send `"error":null`, `""`, `[]` or an object of nulls with every
/// chunk.
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

/// Whether a field is a code: a number, or a word. A status in words (`processing`) may be that of anything.
fn is_code(name: &str, value: &Value) -> bool {
    STATUSES.contains(&name) && (value.is_number() || (value.is_string() && (name != "status" || read_status(value).is_some())))
}

fn is_success(value: &Value) -> bool {
    match value {
        Value::String(text) => SUCCESS.contains(&text.to_lowercase().as_str()),
        Value::Number(number) => number.as_u64().is_some_and(|number| number == 0 || (200..300).contains(&number)),
        _ => !is_truthy(value),
    }
}

/// A status of HTTP, or a code that begins with one (`42901`). Of one that begins with no status in use (`50505`), only whose
/// fault it was is taken.
fn read_status(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(error: &Value, message: &str, status: Option<u16>) {
        let reported = Reported::from_error(error);
        assert_eq!((reported.message.as_deref(), reported.status), (Some(message), status), "{error}");
    }

    #[test]
    fn the_sentence_is_found_in_every_shape() {
        check(&json!({ "error": { "message": "m", "code": 429 } }), "m", Some(429));
        check(&json!({ "error": "m" }), "m", None);
        check(&json!([{ "error": { "message": "m", "status": "UNAVAILABLE", "code": 503 } }]), "m", Some(503));
        check(&json!({ "object": "error", "message": "m", "type": "BadRequestError", "param": null, "code": 400 }), "m", Some(400));
        check(&json!({ "code": 50505, "message": "m", "data": null }), "m", Some(500));
        check(&json!({ "code": 42901, "message": "m" }), "m", Some(429));
        check(&json!({ "code": "40013", "message": "m" }), "m", Some(400));
        check(&json!({ "code": 41234, "message": "m" }), "m", Some(400));
        check(&json!({ "errors": [{ "message": "m" }] }), "m", None);
        check(&json!({ "code": 400, "msg": "m" }), "m", Some(400));
        check(&json!({ "error": { "error": { "message": "m" } } }), "m", None);
        check(&json!({ "message": { "detail": [{ "loc": ["body"], "msg": "m" }] } }), "m", None);
        check(&json!({ "detail": "m" }), "m", None);
        check(&json!({ "base_resp": { "status_code": 1008, "status_msg": "m" } }), "m", None);
        check(&json!({ "error_code": 336_003, "error_msg": "m" }), "m", None);
        check(&json!({ "Response": { "Error": { "Code": "X", "Message": "m" } } }), "m", None);
        check(&json!({ "header": { "code": 10_013, "message": "m" } }), "m", None);
    }

    #[test]
    fn the_innermost_error_says_the_most() {
        let raw = "{\"error\":{\"message\":\"supports at most 1 image per prompt\"}}";
        let error =
            json!({ "error": { "message": "Provider returned error", "code": 400, "metadata": { "raw": raw, "provider_name": "North" } } });
        check(&error, "supports at most 1 image per prompt", Some(400));
        check(&json!({ "error": { "message": "{\"error\":{\"message\":\"inner\",\"code\":422}}" } }), "inner", Some(422));
        check(&json!({ "error": { "message": "outer", "metadata": { "raw": "" } } }), "outer", None);
    }

    #[test]
    fn a_chunk_is_an_error_only_if_it_says_so() {
        let is_error = |value: Value| Reported::in_document(&value).is_some();
        for error in [
            json!({ "object": "error", "message": "m" }),
            json!({ "code": 50505, "message": "m" }),
            json!({ "error": { "message": "m" } }),
            json!({ "detail": "m" }),
            json!({ "success": false, "message": "m" }),
            json!({ "base_resp": { "status_code": 1004, "status_msg": "m" } }),
            json!({ "status": 500, "message": "m" }),
            json!({ "type": "about:blank", "title": "m", "status": 400, "detail": "n" }),
            json!({ "type": "BadRequestError", "detail": "m" }),
            json!({ "code": "InvalidParameter", "message": "m" }),
        ] {
            assert!(is_error(error.clone()), "{error}");
        }
        for other in [
            json!({}),
            json!({ "error": null, "message": "hello" }),
            json!({ "error": [], "choices": [] }),
            json!({ "error": { "message": null } }),
            json!({ "base_resp": { "status_code": 0, "status_msg": "" } }),
            json!({ "code": 0, "message": "ok" }),
            json!({ "id": "x", "created": 1 }),
            json!({ "type": "ping", "status": "processing", "message": "still at it" }),
            json!({ "type": "progress", "detail": "loading the model" }),
        ] {
            assert!(!is_error(other.clone()), "{other}");
        }
    }

    #[test]
    fn text_has_a_first_line_and_html_has_none() {
        let message = |text: &str| Reported::from_body(text.as_bytes()).message;
        assert_eq!(message("\n upstream connect error \nmore").as_deref(), Some("upstream connect error"));
        assert_eq!(message("<html><title>502</title>"), None);
        assert_eq!(message(""), None);
        assert_eq!(message("\"overloaded\"").as_deref(), Some("overloaded"));
    }
}
