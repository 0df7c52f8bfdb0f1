//! Gemini's `generateContent`: complete parts in unnamed events with CRLF line ends, and no event
//! that marks the end.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::encoder::ResponseEncoder;
use crate::upstream::event::ScriptEvent;
use crate::upstream::played::{Call, MODEL, PlayedResponse, SIGNATURE};
use crate::upstream::vendor::Vendor;
use crate::upstream::vendor_error;

/// Encodes candidates of `generateContent`.
#[derive(Debug, Default)]
pub(super) struct Gemini {
    /// A call whose arguments may be incomplete.
    call: Option<Call>,
    /// The signature for the next part.
    signature: Option<String>,
    has_called: bool,
}

impl ResponseEncoder for Gemini {
    fn encode(&mut self, response: &PlayedResponse, event: &ScriptEvent) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        if !matches!(event, ScriptEvent::Arguments { .. } | ScriptEvent::KeepAlive) {
            chunks.extend(self.take_call().map(|part| chunk(response, &[part], None)));
        }
        match event {
            ScriptEvent::Start
            | ScriptEvent::Usage(_)
            | ScriptEvent::Refusal(_)
            | ScriptEvent::Done => {}
            ScriptEvent::Reasoning(piece) => {
                chunks.push(chunk(response, &[json!({"text": piece, "thought": true})], None));
            }
            ScriptEvent::Signature(signature) => self.signature = Some(signature.clone()),
            ScriptEvent::Text(piece) => {
                let part = self.signed(json!({"text": piece}));
                chunks.push(chunk(response, &[part], None));
            }
            ScriptEvent::Call { index, id, name } => {
                self.call = Some(Call {
                    index: *index,
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                });
            }
            ScriptEvent::Arguments { index, fragment } => {
                if let Some(call) = self.call.as_mut().filter(|call| call.index == *index) {
                    call.arguments.push_str(fragment);
                }
            }
            ScriptEvent::Finish(_)
                if response.finish() == "content_filter" && response.is_empty() =>
            {
                chunks.push(blocked(response));
            }
            ScriptEvent::Finish(_) => {
                // A signature without a following part is sent in a part with empty text.
                let signed = self.signature.is_some().then(|| self.signed(json!({"text": ""})));
                chunks.push(chunk(response, signed.as_slice(), Some(reason(response))));
            }
            // As the vendor sends it: outside the framing. Its SDK finds the end by counting
            // braces.
            ScriptEvent::Failure(error) => {
                let body = vendor_error::body(
                    Vendor::Gemini,
                    *error,
                    error.status(Vendor::Gemini),
                    None,
                    None,
                );
                return vec![Bytes::from(format!("{body:#}\n"))];
            }
            // Gemini has no keep-alive. An empty line is ignored.
            ScriptEvent::KeepAlive => return vec![Bytes::from_static(b"\r\n")],
        }
        chunks.iter().map(|chunk| self.frame(chunk)).collect()
    }

    fn document(&self, response: &PlayedResponse) -> Value {
        if response.finish() == "content_filter" && response.is_empty() {
            return blocked(response);
        }
        let mut writer = Self { signature: response.signature.clone(), ..Self::default() };
        let mut parts = Vec::new();
        if !response.reasoning.is_empty() {
            parts.push(json!({"text": response.reasoning, "thought": true}));
        }
        if !response.text.is_empty() {
            parts.push(writer.signed(json!({"text": response.text})));
        }
        for call in &response.calls {
            writer.call = Some(call.clone());
            parts.extend(writer.take_call());
        }
        chunk(response, &parts, Some(reason(response)))
    }

    fn frame(&self, data: &Value) -> Bytes {
        Bytes::from(format!("data: {data}\r\n\r\n"))
    }
}

impl Gemini {
    /// The part of the completed call, if any. The first call of a response has a signature, which
    /// Gemini 3 requires back.
    fn take_call(&mut self) -> Option<Value> {
        let call = self.call.take()?;
        if !self.has_called {
            self.signature.get_or_insert_with(|| SIGNATURE.to_owned());
        }
        self.has_called = true;
        Some(self.signed(json!({"functionCall": {"name": call.name, "args": call.object()}})))
    }

    fn signed(&mut self, mut part: Value) -> Value {
        if let Some(signature) = self.signature.take() {
            part["thoughtSignature"] = json!(signature);
        }
        part
    }
}

fn chunk(response: &PlayedResponse, parts: &[Value], reason: Option<&str>) -> Value {
    let mut candidate = Map::new();
    if !parts.is_empty() {
        candidate.insert("content".to_owned(), json!({"role": "model", "parts": parts}));
    } else if response.refusal.is_empty() {
        candidate.insert("content".to_owned(), json!({"role": "model"}));
    }
    if let Some(reason) = reason {
        candidate.insert("finishReason".to_owned(), json!(reason));
        if !response.refusal.is_empty() {
            candidate.insert("finishMessage".to_owned(), json!(response.refusal));
        }
    }
    candidate.insert("index".to_owned(), json!(0));
    let mut chunk = json!({"candidates": [candidate]});
    if let Some(usage) = response.usage {
        // Before the finish the counts are those of what was sent so far.
        let (candidates, thoughts) =
            (usage.output.saturating_sub(usage.reasoning), usage.reasoning);
        let candidates =
            if reason.is_some() { candidates } else { response.pieces.min(candidates) };
        chunk["usageMetadata"] =
            json!({"promptTokenCount": usage.input, "candidatesTokenCount": candidates});
        if usage.cached > 0 {
            chunk["usageMetadata"]["cachedContentTokenCount"] = json!(usage.cached);
        }
        if thoughts > 0 {
            chunk["usageMetadata"]["thoughtsTokenCount"] = json!(thoughts);
        }
        chunk["usageMetadata"]["totalTokenCount"] = json!(usage.input + candidates + thoughts);
    }
    chunk["modelVersion"] = json!(MODEL);
    chunk["responseId"] = json!("lab");
    chunk
}

/// A blocked prompt: no candidates.
fn blocked(response: &PlayedResponse) -> Value {
    let input = response.usage_or_default().input;
    json!({
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": input, "totalTokenCount": input},
        "modelVersion": MODEL,
        "responseId": "lab",
    })
}

fn reason(response: &PlayedResponse) -> &str {
    match response.finish() {
        _ if !response.refusal.is_empty() => "SAFETY",
        "stop" | "tool_calls" => "STOP",
        "length" => "MAX_TOKENS",
        "content_filter" => "SAFETY",
        other => other,
    }
}
