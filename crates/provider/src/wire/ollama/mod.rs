//! Ollama's own API.

mod completions;
mod embeddings;
mod list;
mod request;
mod stream;

use engine::provider::failure::ProviderFailure;
use engine::provider::models::ModelListing;
use engine::provider::passthrough::PassthroughRequest;
use engine::provider::request::ModelRequest;
use protocol::fault::Fault;
use protocol::passthrough::{Operation, Passthrough};
use protocol::request::Create;

use self::stream::OllamaGrammar;
use super::body::BodyParser;
use super::fault::{Callee, Reported};
use super::outgoing::{Outgoing, Refused};
use super::passthrough::{Passage, Unserved};
use super::reader::StreamParser;
use super::{Wire, retry_after, shared};
use crate::config::{HostedTools, SystemMessages, UpstreamConfig};
use crate::tools::Lifter;

/// The API's name in error messages.
const API: &str = "Ollama's API";

/// The wire of `POST /api/chat`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OllamaWire {
    hosted_tools: HostedTools,
    system_messages: SystemMessages,
}

impl OllamaWire {
    /// The wire for the upstream `config`.
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        let system_messages = config.compat.system_messages.unwrap_or(SystemMessages::First);
        Self { hosted_tools: config.compat.hosted_tools, system_messages }
    }
}

impl Wire for OllamaWire {
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault> {
        Ok(Outgoing {
            accept: "application/x-ndjson",
            ..Outgoing::new(
                &["api", "chat"],
                request::body(request, self.system_messages, self.hosted_tools)?,
            )
        })
    }

    fn reader(&self, callee: Callee, lifter: Lifter) -> Box<dyn StreamParser> {
        Box::new(BodyParser::new(OllamaGrammar::default(), callee, lifter))
    }

    fn refusal(&self, callee: &Callee, refused: &Refused<'_>) -> ProviderFailure {
        let mut reported = Reported::from_body(refused.body);
        match refused.status {
            404 => reported.message = reported.message.map(with_remedy),
            400 => reported.message = reported.message.map(embeddings::with_remedy),
            _ => {}
        }
        callee.refusal(
            refused.status,
            reported,
            retry_after::read(refused.headers),
            refused.headers,
        )
    }

    fn list(&self) -> Outgoing {
        Outgoing::document(&["api", "tags"])
    }

    fn read_list(&self, body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
        list::read(body, name)
    }

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        request::check(create, self.hosted_tools)
    }

    fn serves(&self, request: &Passthrough) -> Result<(), Unserved> {
        match request.operation {
            Operation::Embeddings => Ok(embeddings::check(request)?),
            Operation::Completions => Ok(completions::check(request)?),
            Operation::Moderations => Err(Unserved::Operation(API)),
        }
    }

    fn pass(&self, request: &PassthroughRequest) -> Result<Passage, Fault> {
        match request.request.operation {
            Operation::Embeddings => embeddings::pass(request),
            Operation::Completions => completions::pass(request),
            Operation::Moderations => {
                Err(shared::unsupported_parameter(API, request.request.operation.path()))
            }
        }
    }
}

/// Adds how to install a missing model, based on the message of older servers (`model 'x' not
/// found`).
fn with_remedy(message: String) -> String {
    let name = message.split(['\'', '"']).nth(1).filter(|name| !name.is_empty());
    match name {
        Some(name) if message.contains("not found") => {
            format!("{message} (on its machine, `ollama pull {name}` fetches it)")
        }
        Some(_) | None => message,
    }
}

#[cfg(test)]
mod tests {
    use engine::provider::failure::FailureScope;
    use http::header::HeaderMap;
    use protocol::fault::FaultKind;

    use super::*;
    use crate::config::Preset;

    fn ollama() -> OllamaWire {
        OllamaWire::new(&UpstreamConfig::new("north", Preset::Ollama, "http://127.0.0.1:11434"))
    }

    fn refusal(status: u16, body: &[u8]) -> ProviderFailure {
        let callee = Callee { name: "north".into(), ..Callee::default() };
        ollama().refusal(&callee, &Refused { status, headers: &HeaderMap::new(), body })
    }

    #[test]
    fn a_missing_model_is_reported_with_its_remedy() {
        let failure = refusal(404, include_bytes!("../../../fixtures/ollama/not_found.json"));
        assert_eq!(
            (failure.scope, failure.fault.kind, failure.fault.code.as_str()),
            (FailureScope::Unsupported, FaultKind::NotFound, "model_not_found")
        );
        assert_eq!(
            failure.fault.message,
            "model 'qwen3' not found (on its machine, `ollama pull qwen3` fetches it) (upstream 'north', status 404)"
        );
        assert_eq!(
            refusal(404, b"404 page not found").fault.message,
            "404 page not found (upstream 'north', status 404)"
        );
    }

    #[test]
    fn other_errors_keep_their_message_and_scope() {
        let check = |status, expected: (FailureScope, u16, &str)| {
            let failure = refusal(status, br#"{"error":"\"gemma3\" does not support tools"}"#);
            assert_eq!(
                (failure.scope, failure.fault.status, failure.fault.message.as_str()),
                expected
            );
        };
        check(
            400,
            (
                FailureScope::Request,
                400,
                "\"gemma3\" does not support tools (upstream 'north', status 400)",
            ),
        );
        check(
            429,
            (
                FailureScope::RateLimited(None),
                429,
                "\"gemma3\" does not support tools (upstream 'north', status 429)",
            ),
        );
        check(
            401,
            (
                FailureScope::Credential,
                502,
                "The upstream 'north' requires an API key, and this server has none for it (401).",
            ),
        );
        check(
            502,
            (
                FailureScope::Upstream(None),
                502,
                "The upstream 'north' failed (502): \"gemma3\" does not support tools",
            ),
        );
    }

    #[test]
    fn requests_ask_for_ndjson_under_the_api_path() {
        let request =
            crate::sample::request(crate::sample::create(), vec![crate::sample::user("Hi")]);
        let outgoing = ollama().ask(&request).unwrap();
        assert_eq!(
            (outgoing.path.join("/").as_str(), outgoing.accept),
            ("api/chat", "application/x-ndjson")
        );
        assert_eq!(ollama().list().path, ["api", "tags"]);
    }
}
