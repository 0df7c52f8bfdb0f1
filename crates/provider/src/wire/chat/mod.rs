//! OpenAI's chat completions, and what others have made of them.

mod chunk;
mod request;
mod stream;

use engine::provider::passthrough::PassthroughRequest;
use engine::provider::{ModelListing, ModelRequest};
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::Create;
use reqwest::header::{AUTHORIZATION, HeaderName};

use self::request::Thoughts;
use self::stream::Chunks;
use super::body::Reading;
use super::family::Family;
use super::fault::{Callee, unknown_parameter};
use super::passthrough::openai::Dialect;
use super::passthrough::{Passage, Unserved};
use super::{Outgoing, Reader, Wire, list, shared};
use crate::config::{Preset, UpstreamConfig};

/// What this API is called in errors.
const API: &str = "The chat completions API";

/// The wire of `POST /chat/completions`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chat {
    family: Family,
    preset: Preset,
    dialect: Dialect,
}

impl Chat {
    /// The wire as the upstream of `config` speaks it.
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        Self { family: Family::of(config), preset: config.preset, dialect: Dialect::of(config) }
    }
}

/// What would ask other models than the settings allow, or buy more than the caller was given.
const OPENROUTERS_OWN: &[&str] = &["models", "route", "provider", "plugins"];

impl Chat {
    fn is_operators(self, parameter: &str) -> bool {
        self.preset == Preset::OpenRouter && OPENROUTERS_OWN.contains(&parameter)
    }

    fn thoughts(self) -> Thoughts {
        match self.preset {
            Preset::DeepSeek | Preset::Moonshot => Thoughts::WithCalls,
            Preset::Compatible
            | Preset::OpenAi
            | Preset::Azure
            | Preset::Anthropic
            | Preset::Gemini
            | Preset::Ollama
            | Preset::Qwen
            | Preset::OpenRouter
            | Preset::Vllm
            | Preset::LlamaCpp
            | Preset::LmStudio => Thoughts::Never,
        }
    }
}

impl Wire for Chat {
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault> {
        Ok(Outgoing::new(&["chat", "completions"], request::body(request, self.family, self.thoughts())?))
    }

    fn reader(&self, callee: Callee) -> Box<dyn Reader> {
        Box::new(Reading::new(Chunks::default(), callee))
    }

    fn key_field(&self) -> (HeaderName, &'static str) {
        match self.preset {
            Preset::Azure => (HeaderName::from_static("api-key"), ""),
            _ => (AUTHORIZATION, "Bearer "),
        }
    }

    fn list(&self) -> Outgoing {
        Outgoing::document(&["models"])
    }

    fn read_list(&self, body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
        list::read(body, name)
    }

    /// Servers differ in what they know and say it themselves; what Weir could not give back is known by none.
    fn knows(&self, parameter: &str) -> bool {
        !self.is_operators(parameter)
            && !["n", "functions", "function_call", "audio", "modalities", "messages", "stream_options"].contains(&parameter)
    }

    fn check(&self, create: &Create) -> Result<(), Fault> {
        shared::unlimited(create, API)?;
        shared::whole(create, API)
    }

    fn serves(&self, request: &Passthrough) -> Result<(), Unserved> {
        let operators = request.body.names().find(|name| self.is_operators(name));
        operators.map_or(Ok(()), |name| Err(unknown_parameter(&request.model, name).into()))
    }

    fn pass(&self, request: &PassthroughRequest) -> Result<Passage, Fault> {
        Ok(self.dialect.pass(request))
    }
}
