//! The response that a script has played so far: the content of a response without streaming.

use serde_json::{Map, Value};

use super::event::{ScriptEvent, Usage};
use super::vendor_error::VendorError;

/// Prompt tokens where a format requires a number and the script has none.
pub(crate) const PROMPT_TOKENS: u64 = 9;

/// A signature of the reasoning for formats that always send one: base64, as Gemini requires.
pub(crate) const SIGNATURE: &str = "bGFiLXNpZ25hdHVyZQ==";

/// The model in every response, whatever the requested name: vendors do that with dated versions.
pub(crate) const MODEL: &str = "lab-model";

/// When every response was created.
pub(crate) const CREATED: u64 = 1_700_000_000;

/// A response so far.
#[derive(Debug, Default)]
pub(crate) struct PlayedResponse {
    pub(crate) reasoning: String,
    pub(crate) signature: Option<String>,
    pub(crate) text: String,
    pub(crate) refusal: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish: Option<String>,
    /// The usage that the script reports. It is known from the start, since some formats send it
    /// before the finish.
    pub(crate) usage: Option<Usage>,
    pub(crate) failure: Option<VendorError>,
    /// The number of pieces of reasoning, text, refusals and arguments; each counts as a token.
    pub(crate) pieces: u64,
}

/// A tool call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) index: usize,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Call {
    /// The arguments for formats that send an object; arguments that are not an object become an
    /// empty one.
    pub(crate) fn object(&self) -> Value {
        serde_json::from_str(&self.arguments)
            .ok()
            .filter(Value::is_object)
            .unwrap_or_else(|| Value::Object(Map::new()))
    }
}

impl PlayedResponse {
    /// Applies the next event.
    pub(crate) fn apply(&mut self, event: &ScriptEvent) {
        match event {
            ScriptEvent::Start
            | ScriptEvent::KeepAlive
            | ScriptEvent::Done
            | ScriptEvent::Usage(_) => return,
            ScriptEvent::Reasoning(piece) => self.reasoning.push_str(piece),
            ScriptEvent::Text(piece) => self.text.push_str(piece),
            ScriptEvent::Refusal(piece) => self.refusal.push_str(piece),
            ScriptEvent::Signature(signature) => self.signature = Some(signature.clone()),
            ScriptEvent::Call { index, id, name } => {
                self.calls.push(Call {
                    index: *index,
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                });
            }
            ScriptEvent::Arguments { index, fragment } => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.index == *index) {
                    call.arguments.push_str(fragment);
                }
            }
            ScriptEvent::Finish(reason) => self.finish = Some(reason.clone()),
            ScriptEvent::Failure(error) => self.failure = Some(*error),
        }
        self.pieces += u64::from(matches!(
            event,
            ScriptEvent::Reasoning(_)
                | ScriptEvent::Text(_)
                | ScriptEvent::Refusal(_)
                | ScriptEvent::Arguments { .. }
        ));
    }

    /// The finish reason, as in chat completions.
    pub(crate) fn finish(&self) -> &str {
        self.finish.as_deref().unwrap_or("stop")
    }

    /// Whether there is no content: a finish by the content filter is then about the prompt.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces == 0 && self.calls.is_empty()
    }

    /// The usage, for formats that require it.
    pub(crate) fn usage_or_default(&self) -> Usage {
        self.usage.unwrap_or(Usage {
            input: PROMPT_TOKENS,
            cached: 0,
            output: self.pieces,
            reasoning: 0,
        })
    }
}
