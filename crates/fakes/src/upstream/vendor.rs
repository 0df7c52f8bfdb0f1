//! The vendors' APIs, and which of them a request is for.

use std::net::SocketAddr;

use protocol::passthrough::Operation;

use client::http1::Headers;

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
    /// All vendors.
    pub const ALL: [Self; 5] =
        [Self::OpenAi, Self::Responses, Self::Anthropic, Self::Gemini, Self::Ollama];

    /// Its name in Weir's settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "chat",
            Self::Responses => "responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    /// The base URL in Weir's settings, for a server at `address`. The SDKs of Anthropic and Google
    /// add the version themselves and take the URL without it.
    pub(super) fn base_url(self, address: SocketAddr) -> String {
        let version = match self {
            Self::OpenAi | Self::Responses | Self::Anthropic => "/v1",
            Self::Gemini => "/v1beta",
            Self::Ollama => "",
        };
        format!("http://{address}{version}")
    }
}

/// The API and the kind of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) vendor: Vendor,
    pub(super) kind: RequestKind,
    /// OpenAI's APIs at Azure, with the key in `api-key`.
    pub(super) is_azure: bool,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// A response of a model.
    Response {
        /// The model, if it is in the path.
        model: Option<String>,
        /// Whether the path requests a stream; `None` if the body does.
        is_stream: Option<bool>,
    },
    /// An operation without a conversation.
    Passthrough {
        /// Which operation.
        operation: Operation,
        /// The model, if it is in the path.
        model: Option<String>,
    },
    /// The list of models.
    Models,
}

impl Route {
    /// Recognises a request by its path, without the query; `None` if it is unknown. The header
    /// fields distinguish the three lists at `/v1/models`.
    pub(super) fn of(method: &str, path: &str, headers: &Headers) -> Option<Self> {
        let route = |vendor, kind| Some(Self { vendor, kind, is_azure: false });
        let response = || RequestKind::Response { model: None, is_stream: None };
        let passthrough = |operation| RequestKind::Passthrough { operation, model: None };
        match (method, path) {
            ("POST", "/v1/chat/completions") => route(Vendor::OpenAi, response()),
            ("POST", "/v1/responses") => route(Vendor::Responses, response()),
            ("POST", "/v1/messages") => route(Vendor::Anthropic, response()),
            ("POST", "/api/chat") => route(Vendor::Ollama, response()),
            ("POST", "/v1/embeddings") => route(Vendor::OpenAi, passthrough(Operation::Embeddings)),
            ("POST", "/v1/completions") => {
                route(Vendor::OpenAi, passthrough(Operation::Completions))
            }
            ("POST", "/v1/moderations") => {
                route(Vendor::OpenAi, passthrough(Operation::Moderations))
            }
            ("POST", "/api/embed") => route(Vendor::Ollama, passthrough(Operation::Embeddings)),
            ("GET", "/v1/models") if headers.get("anthropic-version").is_some() => {
                route(Vendor::Anthropic, RequestKind::Models)
            }
            ("GET", "/v1/models") if headers.get("x-goog-api-key").is_some() => {
                route(Vendor::Gemini, RequestKind::Models)
            }
            ("GET", "/v1/models") => route(Vendor::OpenAi, RequestKind::Models),
            ("GET", "/v1beta/models") => route(Vendor::Gemini, RequestKind::Models),
            ("GET", "/api/tags") => route(Vendor::Ollama, RequestKind::Models),
            (_, _) => Self::with_name(method, path, headers),
        }
    }

    /// Recognises a path that contains a name.
    fn with_name(method: &str, path: &str, headers: &Headers) -> Option<Self> {
        // Google's SDK uses `v1` since its third version, and `v1beta` before.
        let named =
            path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"));
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
                let kind = RequestKind::Passthrough {
                    operation: Operation::Embeddings,
                    model: Some(model.to_owned()),
                };
                return Some(Self { vendor: Vendor::Gemini, kind, is_azure: false });
            }
            _ => return None,
        };
        let kind =
            RequestKind::Response { model: Some(model.to_owned()), is_stream: Some(is_stream) };
        Some(Self { vendor: Vendor::Gemini, kind, is_azure: false })
    }

    /// Azure's path with a version (`v1/…`), or the older one with the deployment.
    fn azure(method: &str, rest: &str, headers: &Headers) -> Option<Self> {
        if let Some(rest) = rest.strip_prefix("deployments/") {
            let (deployment, path) = rest.split_once('/')?;
            let model = Some(deployment.to_owned());
            let kind = match path {
                "chat/completions" => RequestKind::Response { model, is_stream: None },
                "embeddings" => {
                    RequestKind::Passthrough { operation: Operation::Embeddings, model }
                }
                "completions" => {
                    RequestKind::Passthrough { operation: Operation::Completions, model }
                }
                _ => return None,
            };
            return (method == "POST").then_some(Self {
                vendor: Vendor::OpenAi,
                kind,
                is_azure: true,
            });
        }
        let route = Self::of(method, &format!("/{rest}"), headers)?;
        matches!(route.vendor, Vendor::OpenAi | Vendor::Responses)
            .then_some(Self { is_azure: true, ..route })
    }
}
