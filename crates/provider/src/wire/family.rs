//! Whose of OpenAI's two APIs it is.

use reqwest::Url;

use crate::config::{Preset, UpstreamConfig};

/// Which of three families of servers it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// OpenAI itself: knows everything, and its reasoning models refuse the old names.
    OpenAi,
    /// OpenAI's models at Azure: the same API, but neither can read what the other has encrypted.
    Azure,
    /// Everything that speaks their language: it may know other names, and refuse what it does not know.
    Compatible,
}

impl Family {
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
    fn the_preset_or_the_address_says_it() {
        let family = |preset, base_url: &str| Family::of(&UpstreamConfig::new("north", preset, base_url));
        assert_eq!(family(Preset::OpenAi, "https://relay.example/v1"), Family::OpenAi);
        assert_eq!(family(Preset::Azure, "https://north.openai.azure.com/openai/v1"), Family::Azure);
        assert_eq!(family(Preset::Compatible, "https://eu.api.openai.com/v1"), Family::OpenAi);
        assert_eq!(family(Preset::Compatible, "https://api.openai.com.example.org/v1"), Family::Compatible);
        assert_eq!(family(Preset::Vllm, "http://127.0.0.1:8000/v1"), Family::Compatible);
    }
}
