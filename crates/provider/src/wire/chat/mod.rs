//! OpenAI's chat completions and compatible APIs.

mod calls;
mod chunk;
mod delta;
mod request;
mod stream;
mod style;
mod template;

use engine::provider::models::ModelListing;
use engine::provider::passthrough::PassthroughRequest;
use engine::provider::request::ModelRequest;
use http::header::{AUTHORIZATION, HeaderName};
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::Create;

pub(super) use self::calls::is_empty_object;
use self::stream::ChatGrammar;
use self::style::ChatFeatures;
use super::body::BodyParser;
use super::family::ServerFamily;
use super::fault::{Callee, unknown_parameter};
use super::outgoing::Outgoing;
use super::passthrough::openai::OpenAiFeatures;
use super::passthrough::{Passage, Unserved};
use super::reader::StreamParser;
use super::{Wire, list};
use crate::config::{Preset, UpstreamConfig};
use crate::tools::Lifter;

/// The wire of `POST /chat/completions`.
#[derive(Clone, Debug)]
pub(crate) struct ChatWire {
    style: ChatFeatures,
    dialect: OpenAiFeatures,
}

impl ChatWire {
    /// The wire for the upstream `config`.
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        let style = ChatFeatures::new(
            ServerFamily::of(config),
            config.preset,
            &config.base_url,
            &config.compat,
        );
        Self { style, dialect: OpenAiFeatures::of(config) }
    }
}

impl Wire for ChatWire {
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault> {
        Ok(Outgoing::new(&["chat", "completions"], request::body(request, &self.style)?))
    }

    fn reader(&self, callee: Callee, lifter: Lifter) -> Box<dyn StreamParser> {
        Box::new(BodyParser::new(ChatGrammar::default(), callee, lifter))
    }

    fn key_field(&self) -> (HeaderName, &'static str) {
        match self.style.preset {
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

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        request::check(create, &self.style)
    }

    fn serves(&self, request: &Passthrough) -> Result<(), Unserved> {
        let operators = request.body.names().find(|name| request::is_operators(name, &self.style));
        operators.map_or(Ok(()), |name| Err(unknown_parameter(&request.model, name).into()))
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
    use crate::wire::outgoing::Refused;

    fn check(status: u16, body: &str, expected: (u16, &str, FailureScope)) {
        let wire = ChatWire::new(&UpstreamConfig::new(
            "north",
            Preset::Compatible,
            "https://north.example/v1",
        ));
        let refused = Refused { status, headers: &HeaderMap::new(), body: body.as_bytes() };
        let failure = wire.refusal(&Callee { name: "north".into(), ..Callee::default() }, &refused);
        assert_eq!((failure.fault.status, failure.scope), (expected.0, expected.2), "{body}");
        assert!(
            failure.fault.message.contains(expected.1) && failure.fault.message.contains("'north'"),
            "{}",
            failure.fault.message
        );
    }

    #[test]
    fn errors_in_every_format_keep_their_message() {
        let raw = r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"supports at most 1 image per prompt\"}}","provider_name":"North"}}}"#;
        check(400, raw, (400, "supports at most 1 image per prompt", FailureScope::Request));
        for body in [
            r#"{"errors":[{"message":"no such luck"}]}"#,
            r#"{"code":400,"msg":"no such luck"}"#,
            r#"{"error":{"error":{"message":"no such luck"}}}"#,
            r#"{"message":{"detail":[{"loc":["body"],"msg":"no such luck"}]}}"#,
            r#"{"object":"error","message":"no such luck","type":"BadRequestError","param":null,"code":400}"#,
            "no such luck\n",
        ] {
            check(400, body, (400, "no such luck", FailureScope::Request));
            check(502, body, (502, "no such luck", FailureScope::Upstream(None)));
        }
        let too_long = r#"{"object":"error","message":"prompt has 5000 tokens, the model takes 4096","code":400}"#;
        check(400, too_long, (400, "5000 tokens", FailureScope::Unsupported));
    }
}
