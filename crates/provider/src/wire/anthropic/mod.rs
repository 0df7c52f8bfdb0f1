//! Anthropic's Messages API.

mod fields;
mod list;
mod messages;
mod model;
mod refusal;
mod request;
mod stream;
mod thought;

use engine::provider::failure::ProviderFailure;
use engine::provider::models::ModelListing;
use engine::provider::passthrough::PassthroughRequest;
use engine::provider::request::ModelRequest;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::Create;

use self::stream::AnthropicGrammar;
use super::body::BodyParser;
use super::fault::Callee;
use super::outgoing::{Outgoing, Refused};
use super::passthrough::{Passage, Unserved};
use super::reader::StreamParser;
use super::{Wire, shared};
use crate::config::{HostedTools, UpstreamConfig};
use crate::tools::Lifter;

/// The API's name in error messages.
const API: &str = "Anthropic's Messages API";

/// The wire of `POST /messages`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnthropicWire {
    hosted_tools: HostedTools,
}

impl AnthropicWire {
    /// The wire for the upstream `config`.
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        Self { hosted_tools: config.compat.hosted_tools }
    }
}

impl Wire for AnthropicWire {
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault> {
        Ok(Outgoing {
            fields: version(),
            ..Outgoing::new(&["messages"], request::body(request, self.hosted_tools)?)
        })
    }

    fn reader(&self, callee: Callee, lifter: Lifter) -> Box<dyn StreamParser> {
        Box::new(BodyParser::new(AnthropicGrammar::default(), callee, lifter))
    }

    fn refusal(&self, callee: &Callee, refused: &Refused<'_>) -> ProviderFailure {
        refusal::by_status(callee, refused)
    }

    fn key_field(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-api-key"), "")
    }

    fn list(&self) -> Outgoing {
        // The largest page size; there are a few dozen models.
        let query = vec![("limit", "1000".to_owned())];
        Outgoing { query, fields: version(), ..Outgoing::document(&["models"]) }
    }

    fn read_list(&self, body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
        list::read(body, name)
    }

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        request::check(create, self.hosted_tools)
    }

    fn serves(&self, _request: &Passthrough) -> Result<(), Unserved> {
        Err(Unserved::Operation(API))
    }

    fn pass(&self, request: &PassthroughRequest) -> Result<Passage, Fault> {
        Err(shared::unsupported_parameter(API, request.request.operation.path()))
    }
}

/// The API version. The next one (2026-10-21) removes `temperature`, `top_p` and `top_k` for models
/// that had them, and most compatible servers do not support it.
fn version() -> HeaderMap {
    HeaderMap::from_iter([(
        HeaderName::from_static("anthropic-version"),
        HeaderValue::from_static("2023-06-01"),
    )])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use crate::sample;

    fn anthropic() -> AnthropicWire {
        AnthropicWire::new(&UpstreamConfig::new(
            "north",
            Preset::Anthropic,
            "https://north.example/v1",
        ))
    }

    #[test]
    fn requests_have_the_version_header() {
        let outgoing =
            anthropic().ask(&sample::request(sample::create(), vec![sample::user("Hi")])).unwrap();
        assert_eq!(
            (outgoing.path, outgoing.accept),
            (vec!["messages".to_owned()], "text/event-stream")
        );
        assert_eq!(outgoing.fields["anthropic-version"], "2023-06-01");
        let list = anthropic().list();
        assert_eq!(
            (list.path, list.query),
            (vec!["models".to_owned()], vec![("limit", "1000".to_owned())])
        );
        assert_eq!(list.fields["anthropic-version"], "2023-06-01");
        assert_eq!(anthropic().key_field(), (HeaderName::from_static("x-api-key"), ""));
    }
}
