//! Gemini's `generateContent`: whole parts in events without a name, whose lines end in CRLF. Nothing comes after the last.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::answer::{Answer, Call, MODEL, SIGNATURE};
use super::super::said::Said;
use super::super::trouble;
use super::Speech;
use crate::upstream::Vendor;

/// An answer in candidates.
#[derive(Debug, Default)]
pub(super) struct Gemini {
    /// A call whose arguments may not be whole yet.
    call: Option<Call>,
    /// A seal for the next part.
    signature: Option<String>,
    has_called: bool,
}

impl Speech for Gemini {
    fn say(&mut self, answer: &Answer, said: &Said) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        if !matches!(said, Said::Arguments { .. } | Said::KeepAlive) {
            chunks.extend(self.take_call().map(|part| chunk(answer, &[part], None)));
        }
        match said {
            Said::Begin | Said::Usage(_) | Said::Refusal(_) | Said::Done => {}
            Said::Reasoning(piece) => chunks.push(chunk(answer, &[json!({"text": piece, "thought": true})], None)),
            Said::Signature(signature) => self.signature = Some(signature.clone()),
            Said::Text(piece) => {
                let part = self.sealed(json!({"text": piece}));
                chunks.push(chunk(answer, &[part], None));
            }
            Said::Call { index, id, name } => {
                self.call = Some(Call { index: *index, id: id.clone(), name: name.clone(), arguments: String::new() });
            }
            Said::Arguments { index, fragment } => {
                if let Some(call) = self.call.as_mut().filter(|call| call.index == *index) {
                    call.arguments.push_str(fragment);
                }
            }
            Said::Finish(_) if answer.finish() == "content_filter" && answer.is_empty() => chunks.push(blocked(answer)),
            Said::Finish(_) => {
                // A seal that nothing came after has a part of its own, without text.
                let seal = self.signature.is_some().then(|| self.sealed(json!({"text": ""})));
                chunks.push(chunk(answer, seal.as_slice(), Some(reason(answer))));
            }
            // The vendor's own client balances the braces to find the end of it.
            Said::Failure(trouble) => {
                let body = trouble::body(Vendor::Gemini, *trouble, trouble.status(Vendor::Gemini), None, None);
                return vec![Bytes::from(format!("{body:#}\n"))];
            }
            // It has no sign of life of its own. An empty line does no harm.
            Said::KeepAlive => return vec![Bytes::from_static(b"\r\n")],
        }
        chunks.iter().map(|chunk| self.frame(chunk)).collect()
    }

    fn document(&self, answer: &Answer) -> Value {
        if answer.finish() == "content_filter" && answer.is_empty() {
            return blocked(answer);
        }
        let mut writer = Self { signature: answer.signature.clone(), ..Self::default() };
        let mut parts = Vec::new();
        if !answer.reasoning.is_empty() {
            parts.push(json!({"text": answer.reasoning, "thought": true}));
        }
        if !answer.text.is_empty() {
            parts.push(writer.sealed(json!({"text": answer.text})));
        }
        for call in &answer.calls {
            writer.call = Some(call.clone());
            parts.extend(writer.take_call());
        }
        chunk(answer, &parts, Some(reason(answer)))
    }

    fn frame(&self, data: &Value) -> Bytes {
        Bytes::from(format!("data: {data}\r\n\r\n"))
    }
}

impl Gemini {
    /// The part of a call that is whole. The first call of an answer is sealed; Gemini 3 wants the seal back.
    fn take_call(&mut self) -> Option<Value> {
        let call = self.call.take()?;
        if !self.has_called {
            self.signature.get_or_insert_with(|| SIGNATURE.to_owned());
        }
        self.has_called = true;
        Some(self.sealed(json!({"functionCall": {"name": call.name, "args": call.object()}})))
    }

    fn sealed(&mut self, mut part: Value) -> Value {
        if let Some(signature) = self.signature.take() {
            part["thoughtSignature"] = json!(signature);
        }
        part
    }
}

fn chunk(answer: &Answer, parts: &[Value], reason: Option<&str>) -> Value {
    let mut candidate = Map::new();
    if !parts.is_empty() {
        candidate.insert("content".to_owned(), json!({"role": "model", "parts": parts}));
    } else if answer.refusal.is_empty() {
        candidate.insert("content".to_owned(), json!({"role": "model"}));
    }
    if let Some(reason) = reason {
        candidate.insert("finishReason".to_owned(), json!(reason));
        if !answer.refusal.is_empty() {
            candidate.insert("finishMessage".to_owned(), json!(answer.refusal));
        }
    }
    candidate.insert("index".to_owned(), json!(0));
    let mut chunk = json!({"candidates": [candidate]});
    if let Some(usage) = answer.usage {
        // The counts run: until the finish they say what was sent so far.
        let (spoken, thought) = (usage.output.saturating_sub(usage.reasoning), usage.reasoning);
        let spoken = if reason.is_some() { spoken } else { answer.pieces.min(spoken) };
        chunk["usageMetadata"] = json!({"promptTokenCount": usage.input, "candidatesTokenCount": spoken});
        if usage.cached > 0 {
            chunk["usageMetadata"]["cachedContentTokenCount"] = json!(usage.cached);
        }
        if thought > 0 {
            chunk["usageMetadata"]["thoughtsTokenCount"] = json!(thought);
        }
        chunk["usageMetadata"]["totalTokenCount"] = json!(usage.input + spoken + thought);
    }
    chunk["modelVersion"] = json!(MODEL);
    chunk["responseId"] = json!("lab");
    chunk
}

/// The prompt was refused: no candidates at all.
fn blocked(answer: &Answer) -> Value {
    let input = answer.cost().input;
    json!({
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": input, "totalTokenCount": input},
        "modelVersion": MODEL,
        "responseId": "lab",
    })
}

fn reason(answer: &Answer) -> &str {
    match answer.finish() {
        _ if !answer.refusal.is_empty() => "SAFETY",
        "stop" | "tool_calls" => "STOP",
        "length" => "MAX_TOKENS",
        "content_filter" => "SAFETY",
        other => other,
    }
}
