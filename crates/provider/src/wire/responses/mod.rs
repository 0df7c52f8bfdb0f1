//! OpenAI's Responses API, and servers with Open Responses.

mod event;
mod request;
mod sealed;
mod stream;

use std::sync::Arc;

use engine::provider::models::ModelListing;
use engine::provider::passthrough::PassthroughRequest;
use engine::provider::request::ModelRequest;
use http::header::{AUTHORIZATION, HeaderName};
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::Create;

use self::stream::ResponsesGrammar;
use super::body::BodyParser;
use super::family::ServerFamily;
use super::fault::Callee;
use super::outgoing::Outgoing;
use super::passthrough::openai::OpenAiFeatures;
use super::passthrough::{Passage, Unserved};
use super::reader::StreamParser;
use super::{Wire, list};
use crate::config::{HostedTools, SystemMessages, UpstreamConfig};
use crate::tools::{Lifter, OfferedTools, UnknownTools};

/// The wire of `POST /responses`.
#[derive(Clone, Debug)]
pub(crate) struct ResponsesWire {
    family: ServerFamily,
    system_messages: SystemMessages,
    hosted_tools: HostedTools,
    /// The upstream's name: only it can decrypt its own encrypted content.
    name: Arc<str>,
    dialect: OpenAiFeatures,
}

impl ResponsesWire {
    /// The wire for the upstream `config`.
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        let family = ServerFamily::of(config);
        let system_messages = match family {
            ServerFamily::OpenAi | ServerFamily::Azure => SystemMessages::InPlace,
            ServerFamily::Compatible => SystemMessages::First,
        };
        let system_messages = config.compat.system_messages.unwrap_or(system_messages);
        Self {
            family,
            system_messages,
            hosted_tools: config.compat.hosted_tools,
            name: config.name.as_str().into(),
            dialect: OpenAiFeatures::of(config),
        }
    }
}

impl Wire for ResponsesWire {
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault> {
        Ok(Outgoing::new(
            &["responses"],
            request::body(request, self.family, self.system_messages, &self.name)?,
        ))
    }

    fn reader(&self, callee: Callee, lifter: Lifter) -> Box<dyn StreamParser> {
        Box::new(BodyParser::new(ResponsesGrammar::new(Arc::clone(&self.name)), callee, lifter))
    }

    /// All kinds of tools are supported, but a server that supports only functions may call a
    /// custom tool like one.
    fn lifter(&self, request: &ModelRequest, unknown: UnknownTools) -> Lifter {
        Lifter::new(&OfferedTools::declared(request), unknown)
    }

    fn key_field(&self) -> (HeaderName, &'static str) {
        match self.family {
            ServerFamily::OpenAi | ServerFamily::Compatible => (AUTHORIZATION, "Bearer "),
            ServerFamily::Azure => (HeaderName::from_static("api-key"), ""),
        }
    }

    fn list(&self) -> Outgoing {
        Outgoing::document(&["models"])
    }

    fn read_list(&self, body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
        list::read(body, name)
    }

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        request::check(create, self.family, self.hosted_tools)
    }

    fn serves(&self, _request: &Passthrough) -> Result<(), Unserved> {
        Ok(())
    }

    fn pass(&self, request: &PassthroughRequest) -> Result<Passage, Fault> {
        Ok(self.dialect.pass(request))
    }
}

#[cfg(test)]
mod tests {
    use engine::provider::failure::FailureScope;
    use http::header::HeaderMap;

    use super::*;
    use crate::config::Preset;
    use crate::wire::outgoing::Refused;

    fn wire(preset: Preset) -> ResponsesWire {
        ResponsesWire::new(&UpstreamConfig::new("north", preset, "https://north.example/v1"))
    }

    #[test]
    fn requests_ask_for_events_and_have_the_key_header() {
        let request =
            crate::sample::request(crate::sample::create(), vec![crate::sample::user("Hi")]);
        let outgoing = wire(Preset::OpenAi).ask(&request).unwrap();
        assert_eq!(
            (outgoing.path.join("/").as_str(), outgoing.accept),
            ("responses", "text/event-stream")
        );
        assert_eq!(wire(Preset::OpenAi).list().path, ["models"]);
        assert_eq!(wire(Preset::OpenAi).key_field(), (AUTHORIZATION, "Bearer "));
        assert_eq!(wire(Preset::Azure).key_field(), (HeaderName::from_static("api-key"), ""));
    }

    #[test]
    fn errors_keep_their_message_and_scope() {
        let check = |status, body: &[u8], expected: (FailureScope, u16, &str)| {
            let callee = Callee { name: "north".into(), ..Callee::default() };
            let failure = wire(Preset::OpenAi)
                .refusal(&callee, &Refused { status, headers: &HeaderMap::new(), body });
            assert_eq!(
                (failure.scope, failure.fault.status, failure.fault.code.as_str()),
                expected
            );
        };
        let body = include_bytes!("../../../fixtures/responses/error.json");
        check(400, body, (FailureScope::Request, 400, "unsupported_parameter"));
        check(401, b"", (FailureScope::Credential, 502, "upstream_authentication_failed"));
        check(
            404,
            br#"{"error":{"message":"no","code":"model_not_found"}}"#,
            (FailureScope::Unsupported, 404, "model_not_found"),
        );
        check(
            429,
            br#"{"error":{"message":"no","code":"insufficient_quota"}}"#,
            (FailureScope::Quota, 502, "upstream_quota_exhausted"),
        );
        check(429, b"", (FailureScope::RateLimited(None), 429, "rate_limit_exceeded"));
        check(503, b"", (FailureScope::Upstream(None), 503, "upstream_overloaded"));
    }
}
