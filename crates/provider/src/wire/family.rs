//! Distinguishes OpenAI, Azure and compatible servers.

use url::Url;

use crate::config::{Preset, UpstreamConfig};

/// The family of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerFamily {
    /// OpenAI: supports everything; its reasoning models reject the old names.
    OpenAi,
    /// OpenAI models on Azure: the same API, but they cannot decrypt each other's encrypted
    /// reasoning.
    Azure,
    /// Any compatible server: may use other names, and may reject unknown fields.
    Compatible,
}

impl ServerFamily {
    /// The family of an upstream.
    pub(super) fn of(config: &UpstreamConfig) -> Self {
        match config.preset {
            Preset::OpenAi => Self::OpenAi,
            Preset::Azure => Self::Azure,
            Preset::Compatible if is_openais(&config.base_url) => Self::OpenAi,
            Preset::Compatible
            | Preset::Anthropic
            | Preset::Gemini
            | Preset::Ollama
            | Preset::DeepSeek
            | Preset::Qwen
            | Preset::Moonshot
            | Preset::OpenRouter
            | Preset::Vllm
            | Preset::LlamaCpp
            | Preset::LmStudio => Self::Compatible,
        }
    }
}

fn is_openais(base_url: &str) -> bool {
    let url = Url::parse(base_url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    host == "api.openai.com" || host.ends_with(".api.openai.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preset_or_the_address_determines_the_family() {
        let family = |preset, base_url: &str| {
            ServerFamily::of(&UpstreamConfig::new("north", preset, base_url))
        };
        assert_eq!(family(Preset::OpenAi, "https://relay.example/v1"), ServerFamily::OpenAi);
        assert_eq!(
            family(Preset::Azure, "https://north.openai.azure.com/openai/v1"),
            ServerFamily::Azure
        );
        assert_eq!(
            family(Preset::Compatible, "https://eu.api.openai.com/v1"),
            ServerFamily::OpenAi
        );
        assert_eq!(
            family(Preset::Compatible, "https://api.openai.com.example.org/v1"),
            ServerFamily::Compatible
        );
        assert_eq!(family(Preset::Vllm, "http://127.0.0.1:8000/v1"), ServerFamily::Compatible);
    }
}
