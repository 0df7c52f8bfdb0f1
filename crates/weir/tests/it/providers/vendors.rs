//! A server with a strict fake of every vendor behind it.

use std::time::Duration;

use engine::provider::route::Timeouts;
use fakes::{RecordedRequest, Upstream, Vendor};
use provider::config::{Preset, UpstreamConfig, WireKind};

use crate::house::{House, Plan, upstream_of};

/// How long a silence is borne where it is the fault.
const SHORT: Duration = Duration::from_millis(300);

/// How long the upstream of a model is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Patience {
    Usual,
    ShortFirstToken,
    ShortIdle,
}

impl Patience {
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
pub(super) struct Vendors {
    pub(super) house: House,
    fakes: Vec<Upstream>,
}

impl Vendors {
    /// Opens a house with one model of each vendor, called by [`model`].
    pub(super) async fn open() -> Self {
        Self::open_with(Plan::default(), &[("text", Patience::Usual)], |_| {}).await
    }

    /// Opens a house that has models of these names of every vendor; their upstreams are `change`d from the usual.
    pub(super) async fn open_with(mut plan: Plan, models: &[(&str, Patience)], change: impl Fn(&mut UpstreamConfig)) -> Self {
        let mut fakes = Vec::new();
        for vendor in Vendor::ALL {
            let fake = Upstream::start_as(vendor).await.unwrap();
            for patience in Patience::ALL {
                let named = models.iter().filter(|(_, wanted)| *wanted == patience);
                let names: Vec<String> = named.map(|(name, _)| model(vendor, name)).collect();
                if names.is_empty() {
                    continue;
                }
                let usual = upstream_of(&format!("{}-{patience:?}", vendor.name()), fake.base_url(), patience.timeouts());
                let (preset, wire) = speaks(vendor);
                let mut upstream = UpstreamConfig { models: names, preset, wire, ..usual };
                change(&mut upstream);
                plan.more_upstreams.push(upstream);
            }
            fakes.push(fake);
        }
        Self { house: House::open_with(plan).await, fakes }
    }

    /// The fake of a vendor.
    pub(super) fn fake(&self, vendor: Vendor) -> &Upstream {
        let index = Vendor::ALL.iter().position(|other| *other == vendor).unwrap();
        &self.fakes[index]
    }

    /// What a vendor was last asked.
    pub(super) fn last(&self, vendor: Vendor) -> RecordedRequest {
        self.fake(vendor).requests().pop().unwrap()
    }

    /// Ends the server. What a vendor would have refused, or what is left of an answer, fails the test.
    pub(super) async fn close(self) {
        self.house.quiet().await;
        for fake in &self.fakes {
            assert_eq!(fake.complaints(), Vec::<String>::new());
            client::soon(fake.wait_streams(0)).await.unwrap();
        }
        self.house.close().await;
    }
}

/// A model of a vendor. Its name says of which generation it is, as the wires read it.
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
