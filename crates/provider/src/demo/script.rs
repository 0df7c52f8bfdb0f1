//! What the demo will say, step by step.

use std::time::Duration;

use engine::provider::event::{Finish, ModelEvent};
use protocol::fault::Fault;
use serde_json::Value;

use super::pieces::Pieces;
use super::scene::Scene;

/// A step of a response.
#[derive(Debug)]
pub(super) enum DemoStep {
    /// An event of the model.
    Say(ModelEvent),
    /// Silence until the caller leaves.
    Stall,
    /// An error in the stream.
    Fail(Fault),
    /// The end.
    Finish(Finish),
}

/// A response. If its steps end without a [`DemoStep::Finish`], the stream is cut off.
pub(super) struct DemoScript {
    /// The steps, generated as needed, since some responses are long.
    pub(super) steps: Box<dyn Iterator<Item = DemoStep> + Send>,
    /// The pause between words, if not the default.
    pub(super) pause: Option<Duration>,
}

impl DemoScript {
    /// These steps at the default speed.
    pub(super) fn new(steps: impl Iterator<Item = DemoStep> + Send + 'static) -> Self {
        Self { steps: Box::new(steps), pause: None }
    }

    /// A text, and then the end.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::new(say(text).chain([DemoStep::Finish(Finish::Stop)]))
    }
}

/// The steps of a text.
pub(super) fn say(text: impl Into<String>) -> impl Iterator<Item = DemoStep> + Send + 'static {
    Pieces::new(text).map(|text| DemoStep::Say(ModelEvent::Text { text, logprobs: Vec::new() }))
}

/// An object for callers that request any JSON.
pub(super) fn json_object(scene: &Scene) -> String {
    let outputs: Vec<&str> = scene.outputs.iter().map(|output| output.text.as_str()).collect();
    json_text(
        &serde_json::json!({ "model": super::MODEL, "said": scene.said, "messages": scene.messages, "outputs": outputs }),
    )
}

/// Pretty-printed JSON.
pub(super) fn json_text(value: &Value) -> String {
    format!("{value:#}")
}
