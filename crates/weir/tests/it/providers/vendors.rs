//! A server in front of a strict fake of every vendor.

use std::time::Duration;

use engine::provider::route::Timeouts;
use fakes::{RecordedRequest, Upstream, Vendor};
use provider::config::{Preset, UpstreamConfig, WireKind};

use crate::test_server::{TestServer, TestServerPlan, upstream_of};

/// The timeout where silence is the fault.
const SHORT: Duration = Duration::from_millis(300);

/// The timeouts of a model's upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WaitLimit {
    Usual,
    ShortFirstToken,
    ShortIdle,
}

impl WaitLimit {
    const ALL: [Self; 3] = [Self::Usual, Self::ShortFirstToken, Self::ShortIdle];

    fn timeouts(self) -> Timeouts {
        let usual = Timeouts::default();
        match self {
            Self::Usual => usual,
            Self::ShortFirstToken => Timeouts { first_token: SHORT, ..usual },
            Self::ShortIdle => Timeouts { idle: SHORT, ..usual },
        }
    }
}

/// The server and the fakes.
pub(super) struct VendorServers {
    pub(super) test_server: TestServer,
    fakes: Vec<Upstream>,
}

impl VendorServers {
    /// Opens a server with one model of each vendor, named by [`model`].
    pub(super) async fn open() -> Self {
        Self::open_with(TestServerPlan::default(), &[("text", WaitLimit::Usual)], |_| {}).await
    }

    /// Opens a server with models of these names for every vendor; `change` changes their upstreams' settings.
    pub(super) async fn open_with(
        mut plan: TestServerPlan,
        models: &[(&str, WaitLimit)],
        change: impl Fn(&mut UpstreamConfig),
    ) -> Self {
        let mut fakes = Vec::new();
        for vendor in Vendor::ALL {
            let fake = Upstream::start_as(vendor).await.unwrap();
            for patience in WaitLimit::ALL {
                let named = models.iter().filter(|(_, wanted)| *wanted == patience);
                let names: Vec<String> = named.map(|(name, _)| model(vendor, name)).collect();
                if names.is_empty() {
                    continue;
                }
                let usual = upstream_of(
                    &format!("{}-{patience:?}", vendor.name()),
                    fake.base_url(),
                    patience.timeouts(),
                );
                let (preset, wire) = speaks(vendor);
                let mut upstream = UpstreamConfig { models: names, preset, wire, ..usual };
                change(&mut upstream);
                plan.more_upstreams.push(upstream);
            }
            fakes.push(fake);
        }
        Self { test_server: TestServer::open_with(plan).await, fakes }
    }

    /// The fake of a vendor.
    pub(super) fn fake(&self, vendor: Vendor) -> &Upstream {
        let index = Vendor::ALL.iter().position(|other| *other == vendor).unwrap();
        &self.fakes[index]
    }

    /// The last request to a vendor.
    pub(super) fn last(&self, vendor: Vendor) -> RecordedRequest {
        self.fake(vendor).requests().pop().unwrap()
    }

    /// Ends the server. Requests that a vendor would have rejected, or leftovers of a response, fail the test.
    pub(super) async fn close(self) {
        self.test_server.quiet().await;
        for fake in &self.fakes {
            assert_eq!(fake.complaints(), Vec::<String>::new());
            client::soon(fake.wait_streams(0)).await.unwrap();
        }
        self.test_server.close().await;
    }
}

/// A vendor's model. Its name includes the generation that the wires derive from it.
pub(super) fn model(vendor: Vendor, name: &str) -> String {
    let family = match vendor {
        Vendor::OpenAi => "gpt-5-mini",
        Vendor::Responses => "o4",
        Vendor::Anthropic => "claude-sonnet-5",
        Vendor::Gemini => "gemini-3",
        Vendor::Ollama => "qwen3",
    };
    format!("{family}-{}", name.replace([' ', ','], "-"))
}

fn speaks(vendor: Vendor) -> (Preset, WireKind) {
    match vendor {
        Vendor::OpenAi => (Preset::OpenAi, WireKind::Chat),
        Vendor::Responses => (Preset::OpenAi, WireKind::Responses),
        Vendor::Anthropic => (Preset::Anthropic, WireKind::Anthropic),
        Vendor::Gemini => (Preset::Gemini, WireKind::Gemini),
        Vendor::Ollama => (Preset::Ollama, WireKind::Ollama),
    }
}
