//! Whether a request is what the vendor takes. The demands are those of the vendors' SDKs and documents, and of the errors
//! that their services are known to answer.

mod anthropic;
mod chat;
mod gemini;
mod key;
mod ollama;
mod passthrough;
mod responses;

use protocol::passthrough::Operation;
use serde_json::Value;

use super::said::Trouble;
use super::vendor::{Goal, Route, Vendor};
use crate::wire::Headers;

pub(super) use key::{key_of, misplaced_keys};

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Complaint {
    /// What the vendor answers.
    pub(super) trouble: Trouble,
    /// A sentence for people, in the vendor's words where they are known.
    pub(super) message: String,
    /// Whether a server that is merely compatible does not mind.
    pub(super) only_strict: bool,
}

/// A request as far as the checks look at it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) route: &'a Route,
    pub(super) query: &'a str,
    pub(super) headers: &'a Headers,
    pub(super) body: &'a Value,
}

/// The complaints about a request for an answer, in the order in which they were found. The first is what the vendor answers.
pub(super) fn check(asked: &Asked<'_>) -> Vec<Complaint> {
    let mut found = Found::default();
    media_types(asked, &mut found);
    if !asked.body.is_object() {
        found.invalid("The body is not a JSON object.");
        return found.0;
    }
    if let Goal::Passthrough { operation, .. } = &asked.route.goal {
        passthrough::check(asked, *operation, &mut found);
        return found.0;
    }
    match asked.route.vendor {
        Vendor::OpenAi => chat::check(asked, &mut found),
        Vendor::Responses => responses::check(asked.body, &mut found),
        Vendor::Anthropic => anthropic::check(asked, &mut found),
        Vendor::Gemini => gemini::check(asked, &mut found),
        Vendor::Ollama => ollama::check(asked.body, &mut found),
    }
    found.0
}

fn media_types(asked: &Asked<'_>, found: &mut Found) {
    let content_type = asked.headers.get("content-type").unwrap_or_default();
    if content_type.split(';').next().unwrap_or_default().trim() != "application/json" {
        found.strict(&format!("The content type is {content_type:?}, not application/json."));
    }
    // No vendor refuses a field `accept` that rules its answer out; but it says that the client did not mean what it asked.
    let Some(accept) = asked.headers.get("accept") else { return };
    let fits = |media_type: &str| accept.split(',').any(|range| range.split(';').next().unwrap_or_default().trim() == media_type);
    let is_chat = matches!(asked.route.goal, Goal::Answer { .. });
    let stream = if asked.route.vendor == Vendor::Ollama && is_chat { "application/x-ndjson" } else { "text/event-stream" };
    if !["*/*", "application/json", stream].into_iter().any(fits) {
        found.strict(&format!("The client accepts {accept:?} only."));
    }
}

/// Collects complaints.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<Complaint>);

impl Found {
    /// A request that every server refuses.
    fn invalid(&mut self, message: &str) {
        self.push(Trouble::Invalid, message, false);
    }

    /// A request that the vendor's own server refuses.
    fn strict(&mut self, message: &str) {
        self.push(Trouble::Invalid, message, true);
    }

    fn push(&mut self, trouble: Trouble, message: &str, only_strict: bool) {
        self.0.push(Complaint { trouble, message: message.to_owned(), only_strict });
    }

    /// Complains of each field that is not one of `known`, in the words that `say` makes of its name.
    fn unknown(&mut self, value: &Value, known: &[&str], say: impl Fn(&str) -> String) {
        for name in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
            if !known.contains(&name.as_str()) {
                self.strict(&say(name));
            }
        }
    }

    /// Complains of a field that must be a text with something in it.
    fn text(&mut self, body: &Value, name: &str, message: &str) {
        if body[name].as_str().is_none_or(str::is_empty) {
            self.invalid(message);
        }
    }
}

/// The elements of a list; none where it is no list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts at `name` in a list of objects.
fn texts<'a>(list: &'a [Value], name: &str) -> Vec<&'a str> {
    list.iter().filter_map(|value| value[name].as_str()).collect()
}

/// Whether a stream is asked for.
pub(super) fn is_stream(route: &Route, body: &Value) -> bool {
    match &route.goal {
        Goal::Answer { is_stream: Some(is_stream), .. } => *is_stream,
        // Ollama streams unless told not to.
        Goal::Answer { is_stream: None, .. } if route.vendor == Vendor::Ollama => body["stream"] != false,
        Goal::Answer { is_stream: None, .. } | Goal::Passthrough { operation: Operation::Completions, .. } => body["stream"] == true,
        Goal::Passthrough { .. } | Goal::Models => false,
    }
}

/// The model that a request names.
pub(super) fn model(route: &Route, body: &Value) -> Option<String> {
    let in_path = match &route.goal {
        Goal::Answer { model, .. } | Goal::Passthrough { model, .. } => model.clone(),
        Goal::Models => None,
    };
    in_path.or_else(|| body["model"].as_str().map(str::to_owned))
}
