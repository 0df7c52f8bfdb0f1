//! The APIs that are known: how each is asked for a short stream, and which of its events carry
//! text or end it.

use client::Request;
use serde_json::{Value, json};

use crate::reader::SeenEvent;

/// What a model is asked: a response of a known length that costs little.
const PROMPT: &str = "Count from 1 to 80 in digits, separated by spaces. Write nothing else.";

/// An API whose streams are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's Chat Completions.
    Chat,
    /// OpenAI's Responses, and Open Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
    /// Ollama's `/api/chat`.
    OllamaChat,
    /// Ollama's `/api/generate`.
    OllamaGenerate,
    /// Gemini's `streamGenerateContent`.
    Gemini,
    /// The calibrated source of a Weir.
    Source,
    /// Anything else.
    Plain,
}

impl Dialect {
    /// The API that a path belongs to; `None` for a base URL.
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        let ends = |end: &str| path.ends_with(end);
        if ends("/chat/completions") {
            Some(Self::Chat)
        } else if ends("/responses") {
            Some(Self::Responses)
        } else if ends("/messages") {
            Some(Self::Messages)
        } else if ends("/api/chat") {
            Some(Self::OllamaChat)
        } else if ends("/api/generate") {
            Some(Self::OllamaGenerate)
        } else if ends(":streamGenerateContent") {
            Some(Self::Gemini)
        } else if ends("/lens/source") {
            Some(Self::Source)
        } else if path.is_empty() || path == "/v1" || ends("/v1") {
            None
        } else {
            Some(Self::Plain)
        }
    }

    /// Its name, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Chat => "OpenAI Chat Completions",
            Self::Responses => "OpenAI Responses",
            Self::Messages => "Anthropic Messages",
            Self::OllamaChat | Self::OllamaGenerate => "Ollama",
            Self::Gemini => "Gemini",
            Self::Source => "Weir's calibrated source",
            Self::Plain => "plain stream",
        }
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat_completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::OllamaChat => "ollama_chat",
            Self::OllamaGenerate => "ollama_generate",
            Self::Gemini => "gemini",
            Self::Source => "weir_source",
            Self::Plain => "plain",
        }
    }

    /// Whether its requests name a model.
    pub fn needs_model(self) -> bool {
        match self {
            Self::Chat
            | Self::Responses
            | Self::Messages
            | Self::OllamaChat
            | Self::OllamaGenerate => true,
            Self::Gemini | Self::Source | Self::Plain => false,
        }
    }

    /// A body that asks for a short stream; `None` if its requests have none.
    pub fn body(self, model: &str) -> Option<Value> {
        // The demo model of a Weir knows this command, and counts.
        let prompt = if model == "demo" { "/count 80" } else { PROMPT };
        let messages = json!([{ "role": "user", "content": prompt }]);
        match self {
            Self::Chat => Some(json!({ "model": model, "messages": messages, "stream": true })),
            Self::Responses => Some(json!({ "model": model, "input": prompt, "stream": true })),
            Self::Messages => Some(
                json!({ "model": model, "messages": messages, "max_tokens": 400, "stream": true }),
            ),
            Self::OllamaChat => {
                Some(json!({ "model": model, "messages": messages, "stream": true }))
            }
            Self::OllamaGenerate => {
                Some(json!({ "model": model, "prompt": prompt, "stream": true }))
            }
            Self::Gemini => Some(json!({ "contents": [{ "parts": [{ "text": prompt }] }] })),
            Self::Source | Self::Plain => None,
        }
    }

    /// The part of the model's text in an event.
    pub fn text(self, event: &Value) -> Option<&str> {
        let text = match self {
            Self::Chat => {
                let delta = &event["choices"][0]["delta"];
                return non_empty(&delta["content"])
                    .or_else(|| non_empty(&delta["reasoning_content"]))
                    .or_else(|| non_empty(&delta["refusal"]));
            }
            Self::Responses => {
                event["type"].as_str()?.strip_suffix(".delta")?;
                &event["delta"]
            }
            Self::Messages => {
                let delta = &event["delta"];
                return non_empty(&delta["text"]).or_else(|| non_empty(&delta["thinking"]));
            }
            Self::OllamaChat => {
                let message = &event["message"];
                return non_empty(&message["content"]).or_else(|| non_empty(&message["thinking"]));
            }
            Self::OllamaGenerate => &event["response"],
            Self::Gemini => &event["candidates"][0]["content"]["parts"][0]["text"],
            Self::Source | Self::Plain => return None,
        };
        non_empty(text)
    }

    /// Whether an event says that the response is over; `None` if this API has no such event.
    pub fn is_terminal(self, event: &SeenEvent) -> Option<bool> {
        let data = &event.fields.data;
        let value = || serde_json::from_slice::<Value>(data).unwrap_or_default();
        match self {
            Self::Chat => Some(event.is_sentinel()),
            Self::Responses => Some(matches!(
                value()["type"].as_str(),
                Some("response.completed" | "response.incomplete" | "response.failed")
            )),
            Self::Messages => Some(value()["type"] == "message_stop"),
            Self::OllamaChat | Self::OllamaGenerate => Some(value()["done"] == true),
            Self::Gemini => Some(value()["candidates"][0]["finishReason"].is_string()),
            Self::Source => Some(value()["last"] == true),
            Self::Plain => None,
        }
    }
}

fn non_empty(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// What every request has: the credentials and the fields that the user gave.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The API key.
    pub key: Option<String>,
    /// More header fields, which replace those of the probe.
    pub headers: Vec<(String, String)>,
}

/// Shows no secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// The header fields of a request to an API.
    pub fn fields(&self, dialect: Dialect) -> Vec<(String, String)> {
        let mut fields = vec![(
            "user-agent".to_owned(),
            concat!("weir-probe/", env!("CARGO_PKG_VERSION")).to_owned(),
        )];
        if let Some(key) = &self.key {
            match dialect {
                Dialect::Messages => fields.push(("x-api-key".to_owned(), key.clone())),
                Dialect::Gemini => fields.push(("x-goog-api-key".to_owned(), key.clone())),
                Dialect::Chat
                | Dialect::Responses
                | Dialect::OllamaChat
                | Dialect::OllamaGenerate
                | Dialect::Source
                | Dialect::Plain => {
                    fields.push(("authorization".to_owned(), format!("Bearer {key}")));
                }
            }
        }
        if dialect == Dialect::Messages {
            fields.push(("anthropic-version".to_owned(), "2023-06-01".to_owned()));
        }
        for (name, value) in &self.headers {
            fields.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
            fields.push((name.to_ascii_lowercase(), value.clone()));
        }
        fields
    }

    /// A request with these fields; those that the user gave replace others of the same name.
    pub fn request(
        &self,
        dialect: Dialect,
        method: &str,
        target: &str,
        more: &[(&str, &str)],
    ) -> Request {
        let fields = self.fields(dialect);
        let mut request = Request::new(method, target);
        for (name, value) in more {
            if !self.headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name)) {
                request = request.header(name, value);
            }
        }
        for (name, value) in &fields {
            request = request.header(name, value);
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_apis() {
        let check = |path: &str, expected: Option<Dialect>| {
            assert_eq!(Dialect::of_path(path), expected, "{path}");
        };
        check("/", None);
        check("/v1/", None);
        check("/weir/v1", None);
        check("/v1/chat/completions", Some(Dialect::Chat));
        check("/v1/responses", Some(Dialect::Responses));
        check("/v1/messages", Some(Dialect::Messages));
        check("/api/chat", Some(Dialect::OllamaChat));
        check("/v1beta/models/g:streamGenerateContent", Some(Dialect::Gemini));
        check("/events", Some(Dialect::Plain));
    }

    #[test]
    fn texts_are_found() {
        let check = |dialect: Dialect, event: Value, expected: Option<&str>| {
            assert_eq!(dialect.text(&event), expected, "{event}");
        };
        check(Dialect::Chat, json!({"choices":[{"delta":{"content":"a"}}]}), Some("a"));
        check(
            Dialect::Chat,
            json!({"choices":[{"delta":{"role":"assistant","content":""}}]}),
            None,
        );
        check(
            Dialect::Responses,
            json!({"type":"response.output_text.delta","delta":"a"}),
            Some("a"),
        );
        check(Dialect::Responses, json!({"type":"response.created"}), None);
        check(
            Dialect::Messages,
            json!({"type":"content_block_delta","delta":{"text":"a"}}),
            Some("a"),
        );
        check(Dialect::OllamaChat, json!({"message":{"content":"a"}}), Some("a"));
    }

    #[test]
    fn fields_of_the_user_replace_those_of_the_probe() {
        let credentials = Credentials {
            key: Some("sk-1".into()),
            headers: vec![("Authorization".into(), "Basic x".into())],
        };
        let bytes = credentials
            .request(Dialect::Chat, "GET", "/", &[("accept", "text/event-stream")])
            .encode("h");
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("authorization: Basic x\r\n") && !text.contains("sk-1"), "{text}");
        assert!(!format!("{credentials:?}").contains("sk-1"));
        assert!(
            credentials
                .fields(Dialect::Messages)
                .iter()
                .any(|(name, _)| name == "anthropic-version")
        );
    }
}
