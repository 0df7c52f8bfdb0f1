//! Presets: the defaults for each vendor.

/// The API an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireKind {
    /// OpenAI's chat completions and compatible APIs.
    Chat,
    /// OpenAI's Responses API.
    Responses,
    /// Anthropic's Messages API.
    Anthropic,
    /// Gemini's `streamGenerateContent`.
    Gemini,
    /// Ollama's own `/api/chat`.
    Ollama,
}

impl WireKind {
    /// Every variant with its name in the settings.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("chat", Self::Chat),
        ("responses", Self::Responses),
        ("anthropic", Self::Anthropic),
        ("gemini", Self::Gemini),
        ("ollama", Self::Ollama),
    ];
}

/// The vendor of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Preset {
    /// Any server with an OpenAI-compatible chat completions API.
    #[default]
    Compatible,
    /// OpenAI.
    OpenAi,
    /// OpenAI models on Azure: another key header, and a version in the query.
    Azure,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// Ollama.
    Ollama,
    /// DeepSeek.
    DeepSeek,
    /// Qwen, by Alibaba's Model Studio (`DashScope`).
    Qwen,
    /// Moonshot (Kimi).
    Moonshot,
    /// `OpenRouter`.
    OpenRouter,
    /// vLLM.
    Vllm,
    /// llama.cpp's server.
    LlamaCpp,
    /// LM Studio.
    LmStudio,
}

/// A preset's defaults.
struct Usual {
    preset: Preset,
    word: &'static str,
    wire: WireKind,
    base_url: Option<&'static str>,
    key_variable: Option<&'static str>,
    /// OpenTelemetry's `gen_ai.provider.name`, if it defines one.
    system: Option<&'static str>,
}

const USUAL: &[Usual] = &[
    usual(Preset::Compatible, "compatible", WireKind::Chat, None, None, None),
    usual(
        Preset::OpenAi,
        "openai",
        WireKind::Chat,
        Some("https://api.openai.com/v1"),
        Some("OPENAI_API_KEY"),
        Some("openai"),
    ),
    usual(
        Preset::Azure,
        "azure",
        WireKind::Chat,
        None,
        Some("AZURE_OPENAI_API_KEY"),
        Some("azure.ai.openai"),
    ),
    usual(
        Preset::Anthropic,
        "anthropic",
        WireKind::Anthropic,
        Some("https://api.anthropic.com/v1"),
        Some("ANTHROPIC_API_KEY"),
        Some("anthropic"),
    ),
    usual(
        Preset::Gemini,
        "gemini",
        WireKind::Gemini,
        Some("https://generativelanguage.googleapis.com/v1beta"),
        Some("GEMINI_API_KEY"),
        Some("gcp.gemini"),
    ),
    usual(Preset::Ollama, "ollama", WireKind::Ollama, Some("http://127.0.0.1:11434"), None, None),
    usual(
        Preset::DeepSeek,
        "deepseek",
        WireKind::Chat,
        Some("https://api.deepseek.com/v1"),
        Some("DEEPSEEK_API_KEY"),
        Some("deepseek"),
    ),
    usual(
        Preset::Qwen,
        "qwen",
        WireKind::Chat,
        Some("https://dashscope.aliyuncs.com/compatible-mode/v1"),
        Some("DASHSCOPE_API_KEY"),
        None,
    ),
    usual(
        Preset::Moonshot,
        "moonshot",
        WireKind::Chat,
        Some("https://api.moonshot.ai/v1"),
        Some("MOONSHOT_API_KEY"),
        Some("moonshot_ai"),
    ),
    usual(
        Preset::OpenRouter,
        "openrouter",
        WireKind::Chat,
        Some("https://openrouter.ai/api/v1"),
        Some("OPENROUTER_API_KEY"),
        None,
    ),
    usual(Preset::Vllm, "vllm", WireKind::Chat, Some("http://127.0.0.1:8000/v1"), None, None),
    usual(
        Preset::LlamaCpp,
        "llamacpp",
        WireKind::Chat,
        Some("http://127.0.0.1:8080/v1"),
        None,
        None,
    ),
    usual(
        Preset::LmStudio,
        "lmstudio",
        WireKind::Chat,
        Some("http://127.0.0.1:1234/v1"),
        None,
        None,
    ),
];

const fn usual(
    preset: Preset,
    word: &'static str,
    wire: WireKind,
    base_url: Option<&'static str>,
    key_variable: Option<&'static str>,
    system: Option<&'static str>,
) -> Usual {
    Usual { preset, word, wire, base_url, key_variable, system }
}

impl Preset {
    /// Every preset with its name in the settings.
    pub fn all() -> impl Iterator<Item = (&'static str, Self)> {
        USUAL.iter().map(|usual| (usual.word, usual.preset))
    }

    /// Its name in the settings.
    pub fn word(self) -> &'static str {
        self.usual().word
    }

    /// The API it uses by default.
    pub fn wire(self) -> WireKind {
        self.usual().wire
    }

    /// Its default base URL; `None` if every installation has its own.
    pub fn base_url(self) -> Option<&'static str> {
        self.usual().base_url
    }

    /// The environment variable that the vendor's own tools use for the key.
    pub fn key_variable(self) -> Option<&'static str> {
        self.usual().key_variable
    }

    /// Whether a model's name alone shows that this vendor serves it.
    pub(crate) fn is_own(self, model: &str) -> bool {
        match self {
            Self::Anthropic => model.starts_with("claude-"),
            Self::Gemini => model.starts_with("gemini-"),
            Self::OpenAi => ["gpt-", "text-embedding-3-", "omni-moderation-"]
                .iter()
                .any(|prefix| model.starts_with(prefix)),
            Self::DeepSeek => model.starts_with("deepseek-"),
            Self::Compatible
            | Self::Azure
            | Self::Ollama
            | Self::Qwen
            | Self::Moonshot
            | Self::OpenRouter
            | Self::Vllm
            | Self::LlamaCpp
            | Self::LmStudio => false,
        }
    }

    /// OpenTelemetry's name for it.
    pub(crate) fn system(self) -> Option<&'static str> {
        self.usual().system
    }

    fn usual(self) -> &'static Usual {
        // A test makes sure that every preset has a row; the fallback is never used.
        USUAL.iter().find(|usual| usual.preset == self).unwrap_or(&USUAL[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_its_own_row() {
        for (word, preset) in Preset::all() {
            assert_eq!(preset.word(), word);
        }
        let words: std::collections::HashSet<_> = Preset::all().map(|(word, _)| word).collect();
        assert_eq!(words.len(), USUAL.len());
        assert_eq!(Preset::Anthropic.wire(), WireKind::Anthropic);
    }
}
