//! Whose API a request speaks, as its path says.

use std::net::SocketAddr;

use protocol::passthrough::Operation;

use crate::wire::Headers;

/// A vendor's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vendor {
    /// OpenAI's chat completions.
    OpenAi,
    /// OpenAI's Responses API.
    Responses,
    /// Anthropic's Messages API.
    Anthropic,
    /// Gemini's `generateContent` and `streamGenerateContent`.
    Gemini,
    /// Ollama's own `/api/chat`.
    Ollama,
}

impl Vendor {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::OpenAi, Self::Responses, Self::Anthropic, Self::Gemini, Self::Ollama];

    /// The word for it in settings, as Weir has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::OpenAi => "chat",
            Self::Responses => "responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    /// What its clients are configured with, below a server at `address`. Anthropic's and Google's own SDKs add the
    /// version by themselves, and want what stands before it.
    pub(super) fn base_url(self, address: SocketAddr) -> String {
        let version = match self {
            Self::OpenAi | Self::Responses | Self::Anthropic => "/v1",
            Self::Gemini => "/v1beta",
            Self::Ollama => "",
        };
        format!("http://{address}{version}")
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) vendor: Vendor,
    pub(super) goal: Goal,
    /// OpenAI's APIs at Azure: the key stands in `api-key`.
    pub(super) is_azure: bool,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// An answer of a model. Where the path names the model, here it is.
    Answer {
        /// The model in the path.
        model: Option<String>,
        /// Whether the path asks for a stream; `None` where the body says so.
        is_stream: Option<bool>,
    },
    /// What has no conversation. Where the path names the model, here it is.
    Passthrough {
        /// What is asked.
        operation: Operation,
        /// The model in the path.
        model: Option<String>,
    },
    /// The list of models.
    Models,
}

impl Route {
    /// Recognises a request; `path` is without its query. `None` if nobody has such a path. The fields tell the three lists
    /// at `/v1/models` apart.
    pub(super) fn of(method: &str, path: &str, headers: &Headers) -> Option<Self> {
        let route = |vendor, goal| Some(Self { vendor, goal, is_azure: false });
        let answer = || Goal::Answer { model: None, is_stream: None };
        let passthrough = |operation| Goal::Passthrough { operation, model: None };
        match (method, path) {
            ("POST", "/v1/chat/completions") => route(Vendor::OpenAi, answer()),
            ("POST", "/v1/responses") => route(Vendor::Responses, answer()),
            ("POST", "/v1/messages") => route(Vendor::Anthropic, answer()),
            ("POST", "/api/chat") => route(Vendor::Ollama, answer()),
            ("POST", "/v1/embeddings") => route(Vendor::OpenAi, passthrough(Operation::Embeddings)),
            ("POST", "/v1/completions") => route(Vendor::OpenAi, passthrough(Operation::Completions)),
            ("POST", "/v1/moderations") => route(Vendor::OpenAi, passthrough(Operation::Moderations)),
            ("POST", "/api/embed") => route(Vendor::Ollama, passthrough(Operation::Embeddings)),
            ("GET", "/v1/models") if headers.get("anthropic-version").is_some() => route(Vendor::Anthropic, Goal::Models),
            ("GET", "/v1/models") if headers.get("x-goog-api-key").is_some() => route(Vendor::Gemini, Goal::Models),
            ("GET", "/v1/models") => route(Vendor::OpenAi, Goal::Models),
            ("GET", "/v1beta/models") => route(Vendor::Gemini, Goal::Models),
            ("GET", "/api/tags") => route(Vendor::Ollama, Goal::Models),
            (_, _) => Self::with_names(method, path, headers),
        }
    }

    /// Recognises a path with a name in it.
    fn with_names(method: &str, path: &str, headers: &Headers) -> Option<Self> {
        // Google's SDK asks for `v1` since its third version, and for `v1beta` before.
        let named = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"));
        match named {
            Some(rest) if method == "POST" => Self::gemini(rest),
            Some(_) => None,
            None => Self::azure(method, path.strip_prefix("/openai/")?, headers),
        }
    }

    fn gemini(rest: &str) -> Option<Self> {
        let (model, verb) = rest.split_once(':')?;
        let is_stream = match verb {
            "streamGenerateContent" => true,
            "generateContent" => false,
            "batchEmbedContents" => {
                let goal = Goal::Passthrough { operation: Operation::Embeddings, model: Some(model.to_owned()) };
                return Some(Self { vendor: Vendor::Gemini, goal, is_azure: false });
            }
            _ => return None,
        };
        let goal = Goal::Answer { model: Some(model.to_owned()), is_stream: Some(is_stream) };
        Some(Self { vendor: Vendor::Gemini, goal, is_azure: false })
    }

    /// Azure's path with a version (`v1/…`), and the older one that names the deployment.
    fn azure(method: &str, rest: &str, headers: &Headers) -> Option<Self> {
        if let Some(rest) = rest.strip_prefix("deployments/") {
            let (deployment, path) = rest.split_once('/')?;
            let model = Some(deployment.to_owned());
            let goal = match path {
                "chat/completions" => Goal::Answer { model, is_stream: None },
                "embeddings" => Goal::Passthrough { operation: Operation::Embeddings, model },
                "completions" => Goal::Passthrough { operation: Operation::Completions, model },
                _ => return None,
            };
            return (method == "POST").then_some(Self { vendor: Vendor::OpenAi, goal, is_azure: true });
        }
        let route = Self::of(method, &format!("/{rest}"), headers)?;
        matches!(route.vendor, Vendor::OpenAi | Vendor::Responses).then_some(Self { is_azure: true, ..route })
    }
}
