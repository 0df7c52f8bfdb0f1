//! Gemini's `streamGenerateContent`.

mod contents;
mod embeddings;
mod lines;
mod list;
mod model;
mod names;
mod refusal;
mod request;
mod stream;

use engine::provider::failure::ProviderFailure;
use engine::provider::models::ModelListing;
use engine::provider::passthrough::PassthroughRequest;
use engine::provider::request::ModelRequest;
use http::header::HeaderName;
use protocol::fault::Fault;
use protocol::passthrough::{Operation, Passthrough};
use protocol::request::Create;

use self::lines::LooseLines;
use self::stream::GeminiGrammar;
use super::body::BodyParser;
use super::fault::Callee;
use super::outgoing::{Outgoing, Refused};
use super::passthrough::{Passage, Unserved};
use super::reader::StreamParser;
use super::{Wire, shared};
use crate::config::{HostedTools, UpstreamConfig};
use crate::tools::Lifter;

/// The API's name in error messages.
const API: &str = "Gemini's API";

/// The wire of `POST /models/{model}:streamGenerateContent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GeminiWire {
    hosted_tools: HostedTools,
}

impl GeminiWire {
    /// The wire for the upstream `config`.
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        Self { hosted_tools: config.compat.hosted_tools }
    }
}

impl Wire for GeminiWire {
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault> {
        // The model list has names such as `models/…`; tuned models have another prefix.
        let (collection, model) =
            request.model().split_once('/').unwrap_or(("models", request.model()));
        let method = format!("{model}:streamGenerateContent");
        let outgoing =
            Outgoing::new(&[collection, &method], request::body(request, self.hosted_tools)?);
        Ok(Outgoing { query: vec![("alt", "sse".to_owned())], ..outgoing })
    }

    fn reader(&self, callee: Callee, lifter: Lifter) -> Box<dyn StreamParser> {
        Box::new(LooseLines::new(BodyParser::new(GeminiGrammar::default(), callee, lifter)))
    }

    fn refusal(&self, callee: &Callee, refused: &Refused<'_>) -> ProviderFailure {
        refusal::by_status(callee, refused)
    }

    fn key_field(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-goog-api-key"), "")
    }

    fn list(&self) -> Outgoing {
        // The largest page size.
        Outgoing { query: vec![("pageSize", "1000".to_owned())], ..Outgoing::document(&["models"]) }
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
            Operation::Completions | Operation::Moderations => Err(Unserved::Operation(API)),
        }
    }

    fn pass(&self, request: &PassthroughRequest) -> Result<Passage, Fault> {
        match request.request.operation {
            Operation::Embeddings => embeddings::pass(request),
            Operation::Completions | Operation::Moderations => {
                Err(shared::unsupported_parameter(API, request.request.operation.path()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use crate::sample;

    fn gemini() -> GeminiWire {
        GeminiWire::new(&UpstreamConfig::new(
            "north",
            Preset::Gemini,
            "https://north.example/v1beta",
        ))
    }

    #[test]
    fn the_model_is_in_the_path() {
        let path = |model: &str| {
            let create = Create { model: model.into(), ..sample::create() };
            gemini().ask(&sample::request(create, vec![sample::user("Hi")])).unwrap().path
        };
        assert_eq!(path("gemini-2.5-pro"), ["models", "gemini-2.5-pro:streamGenerateContent"]);
        assert_eq!(
            path("models/gemini-2.5-pro"),
            ["models", "gemini-2.5-pro:streamGenerateContent"]
        );
        assert_eq!(path("tunedModels/mine"), ["tunedModels", "mine:streamGenerateContent"]);
    }

    #[test]
    fn requests_ask_for_an_event_stream() {
        let outgoing =
            gemini().ask(&sample::request(sample::create(), vec![sample::user("Hi")])).unwrap();
        assert_eq!(
            (outgoing.query, outgoing.accept),
            (vec![("alt", "sse".to_owned())], "text/event-stream")
        );
        let list = gemini().list();
        assert_eq!(
            (list.path, list.query),
            (vec!["models".to_owned()], vec![("pageSize", "1000".to_owned())])
        );
        assert_eq!(gemini().key_field(), (HeaderName::from_static("x-goog-api-key"), ""));
    }
}
