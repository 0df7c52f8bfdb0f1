//! What a script has said so far: what an answer that is no stream holds.

use serde_json::{Map, Value};

use super::said::{Said, Trouble, Usage};

/// Prompt tokens, where a wire demands a number and the script gives none.
pub(super) const PROMPT_TOKENS: u64 = 9;

/// A seal of the reasoning for wires that always send one: base64, as Gemini demands.
pub(super) const SIGNATURE: &str = "bGFiLXNpZ25hdHVyZQ==";

/// The name that the model gives itself, whatever it was asked by, as with dated versions of a model.
pub(super) const MODEL: &str = "lab-model";

/// When every answer was made.
pub(super) const CREATED: u64 = 1_700_000_000;

/// An answer as far as it is said.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) reasoning: String,
    pub(super) signature: Option<String>,
    pub(super) text: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<Call>,
    pub(super) finish: Option<String>,
    /// What the script will say of the cost. It is known from the start, since some wires say it before the finish.
    pub(super) usage: Option<Usage>,
    pub(super) failure: Option<Trouble>,
    /// Pieces of reasoning, text, refusals and arguments: each counts as a token.
    pub(super) pieces: u64,
}

/// A call of a tool.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl Call {
    /// The arguments for wires that send an object. They have no way to send what is none; it is an empty one there.
    pub(super) fn object(&self) -> Value {
        serde_json::from_str(&self.arguments).ok().filter(Value::is_object).unwrap_or_else(|| Value::Object(Map::new()))
    }
}

impl Answer {
    /// Hears the next thing said.
    pub(super) fn hear(&mut self, said: &Said) {
        match said {
            Said::Begin | Said::KeepAlive | Said::Done | Said::Usage(_) => return,
            Said::Reasoning(piece) => self.reasoning.push_str(piece),
            Said::Text(piece) => self.text.push_str(piece),
            Said::Refusal(piece) => self.refusal.push_str(piece),
            Said::Signature(signature) => self.signature = Some(signature.clone()),
            Said::Call { index, id, name } => {
                self.calls.push(Call { index: *index, id: id.clone(), name: name.clone(), arguments: String::new() });
            }
            Said::Arguments { index, fragment } => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.index == *index) {
                    call.arguments.push_str(fragment);
                }
            }
            Said::Finish(reason) => self.finish = Some(reason.clone()),
            Said::Failure(trouble) => self.failure = Some(*trouble),
        }
        self.pieces += u64::from(matches!(said, Said::Reasoning(_) | Said::Text(_) | Said::Refusal(_) | Said::Arguments { .. }));
    }

    /// Why it ended, in the words of chat completions.
    pub(super) fn finish(&self) -> &str {
        self.finish.as_deref().unwrap_or("stop")
    }

    /// Whether nothing of the answer was said: a finish for its content is then one of the prompt's.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces == 0 && self.calls.is_empty()
    }

    /// What it cost, for wires that demand a number.
    pub(super) fn cost(&self) -> Usage {
        self.usage.unwrap_or(Usage { input: PROMPT_TOKENS, cached: 0, output: self.pieces, reasoning: 0 })
    }
}
