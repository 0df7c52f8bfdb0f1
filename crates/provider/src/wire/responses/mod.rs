//! OpenAI's Responses API, and the servers that speak Open Responses.

mod event;
mod family;
mod request;
mod sealed;
mod stream;

use engine::provider::{ModelListing, ModelRequest};
use protocol::fault::Fault;
use protocol::request::Create;
use reqwest::header::{AUTHORIZATION, HeaderName};

use self::family::Family;
use self::stream::Events;
use super::body::Reading;
use super::fault::Callee;
use super::{Outgoing, Reader, Wire, list};
use crate::config::UpstreamConfig;

/// The wire of `POST /responses`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Responses {
    family: Family,
}

impl Responses {
    /// The wire as the upstream of `config` speaks it.
    pub(crate) fn new(config: &UpstreamConfig) -> Self {
        Self { family: Family::of(config) }
    }
}

impl Wire for Responses {
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault> {
        Ok(Outgoing::new(&["responses"], request::body(request, self.family)?))
    }

    fn reader(&self, callee: Callee) -> Box<dyn Reader> {
        Box::new(Reading::new(Events::new(self.family), callee))
    }

    fn key_field(&self) -> (HeaderName, &'static str) {
        match self.family {
            Family::OpenAi | Family::Compatible => (AUTHORIZATION, "Bearer "),
            Family::Azure => (HeaderName::from_static("api-key"), ""),
        }
    }

    fn list(&self) -> Outgoing {
        Outgoing::document(&["models"])
    }

    fn read_list(&self, body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
        list::read(body, name)
    }

    fn knows(&self, parameter: &str) -> bool {
        request::knows(parameter, self.family)
    }

    fn check(&self, create: &Create) -> Result<(), Fault> {
        request::check(create, self.family)
    }
}
