//! One event of a response, as a client reads it.

use bytes::Bytes;
use protocol::usage::{Usage, UsageSource};
use serde_json::Value;

/// An event with a sequence number.
#[derive(Clone, Debug)]
pub(crate) struct NumberedEvent {
    pub(crate) position: u64,
    pub(crate) value: Value,
    /// Its bytes, as stored in the log.
    pub(crate) data: Bytes,
}

/// A message from the server.
#[derive(Debug)]
pub(crate) enum ServerMessage {
    Event(Box<NumberedEvent>),
    /// An error without a number, after which nothing follows: its status, if any, and its message.
    Error(u16, String),
    /// A message that is not an event: `[DONE]`.
    Nothing,
}

/// The meaning of an event for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventMeaning<'a> {
    Text(&'a str),
    Refusal(&'a str),
    Reasoning(&'a str),
    /// The model calls this function, with these arguments.
    Call(&'a str, &'a str),
    /// The response has ended.
    End(ResponseEnd),
    Other,
}

/// How a response ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResponseEnd {
    Whole,
    Stopped,
    /// Incomplete, for this reason.
    Incomplete(String),
    Failed(String),
}

impl ServerMessage {
    /// Parses a message.
    pub(crate) fn read(data: Bytes) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(&data) else { return Self::Nothing };
        if let Some(position) = value["sequence_number"].as_u64() {
            return Self::Event(Box::new(NumberedEvent { position, value, data }));
        }
        if value["type"] != "error" && value["error"].is_null() {
            return Self::Nothing;
        }
        let said = value["error"]["message"].as_str().or_else(|| value["message"].as_str());
        let status = value["status"].as_u64().or_else(|| value["error"]["status"].as_u64());
        let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
        Self::Error(status, said.unwrap_or("the server could not continue").to_owned())
    }
}

impl NumberedEvent {
    /// The response's id, in the events that carry the whole response.
    pub(crate) fn response_id(&self) -> Option<&str> {
        self.value["response"]["id"].as_str()
    }

    /// The token usage, in the last event.
    pub(crate) fn usage(&self) -> Option<Usage> {
        serde_json::from_value(self.value["response"]["usage"].clone()).ok()
    }

    pub(crate) fn meaning(&self) -> EventMeaning<'_> {
        let delta = self.value["delta"].as_str().unwrap_or_default();
        match self.value["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" => EventMeaning::Text(delta),
            "response.refusal.delta" => EventMeaning::Refusal(delta),
            "response.reasoning.delta"
            | "response.reasoning_text.delta"
            | "response.reasoning_summary_text.delta" => EventMeaning::Reasoning(delta),
            "response.output_item.done" if self.value["item"]["type"] == "function_call" => {
                let text = |name: &str| self.value["item"][name].as_str().unwrap_or_default();
                EventMeaning::Call(text("name"), text("arguments"))
            }
            "response.completed" => EventMeaning::End(ResponseEnd::Whole),
            "response.failed" => {
                let message = self.value["response"]["error"]["message"].as_str();
                EventMeaning::End(ResponseEnd::Failed(
                    message.unwrap_or("the response failed").to_owned(),
                ))
            }
            "response.incomplete" if self.value["response"]["status"] == "cancelled" => {
                EventMeaning::End(ResponseEnd::Stopped)
            }
            "response.incomplete" => {
                let reason = self.value["response"]["incomplete_details"]["reason"].as_str();
                EventMeaning::End(ResponseEnd::Incomplete(
                    reason.unwrap_or("no reason was given").to_owned(),
                ))
            }
            _ => EventMeaning::Other,
        }
    }
}

/// Describes why a response is incomplete; an unknown reason is shown unchanged.
pub(crate) fn why(reason: &str) -> &str {
    match reason {
        "server_restarted" => "the server was restarted",
        "max_output_tokens" => "it reached its token limit",
        "content_filter" => "a content filter stopped it",
        "client_left" => "its last reader disconnected",
        "key_revoked" => "its key was revoked",
        other => other,
    }
}

/// `12 tokens in, 40 out (counted by Weir)`, or that the usage is unknown.
pub(crate) fn tokens(usage: Option<&Usage>) -> String {
    let Some(usage) = usage else { return "unknown".to_owned() };
    let detail = |count: u64, what: &str| {
        if count > 0 { format!(", {count} of them {what}") } else { String::new() }
    };
    let source = match usage.source {
        UsageSource::Provider => "as reported by the provider",
        UsageSource::Counted => "counted by Weir",
    };
    format!(
        "{} tokens in{}, {} out{} ({source})",
        usage.input_tokens,
        detail(usage.input_tokens_details.cached_tokens, "cached"),
        usage.output_tokens,
        detail(usage.output_tokens_details.reasoning_tokens, "reasoning")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(value: &Value) -> NumberedEvent {
        match ServerMessage::read(value.to_string().into()) {
            ServerMessage::Event(event) => *event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ends() {
        let end = |kind: &str, response: &Value| {
            event(&json!({ "type": kind, "sequence_number": 1, "response": response }))
        };
        let check = |event: NumberedEvent, expected: ResponseEnd| {
            assert_eq!(event.meaning(), EventMeaning::End(expected), "{event:?}");
        };
        check(end("response.completed", &json!({})), ResponseEnd::Whole);
        check(end("response.incomplete", &json!({ "status": "cancelled" })), ResponseEnd::Stopped);
        let reason = json!({ "status": "incomplete", "incomplete_details": { "reason": "max_output_tokens" } });
        check(
            end("response.incomplete", &reason),
            ResponseEnd::Incomplete("max_output_tokens".into()),
        );
        check(
            end("response.failed", &json!({ "error": { "message": "no" } })),
            ResponseEnd::Failed("no".into()),
        );
    }

    #[test]
    fn an_error_without_a_number_is_not_an_event() {
        let refused = json!({ "type": "error", "status": 404, "error": { "message": "not here" } });
        assert!(
            matches!(ServerMessage::read(refused.to_string().into()), ServerMessage::Error(404, message) if message == "not here")
        );
        assert!(matches!(ServerMessage::read("[DONE]".into()), ServerMessage::Nothing));
    }

    #[test]
    fn usage_names_its_source() {
        let usage = json!({ "input_tokens": 9, "input_tokens_details": { "cached_tokens": 4 }, "output_tokens": 3,
            "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 12, "source": "provider" });
        let event = event(
            &json!({ "type": "response.completed", "sequence_number": 1, "response": { "usage": usage } }),
        );
        assert_eq!(
            tokens(event.usage().as_ref()),
            "9 tokens in, 4 of them cached, 3 out (as reported by the provider)"
        );
        assert_eq!(tokens(None), "unknown");
    }
}
