//! What every check is given: the endpoint, how it is asked, and how streams are measured.

use std::time::Duration;

use anyhow::Result;

use crate::dialect::Dialect;
use crate::hop::{Hop, Suspect, named};
use crate::measure::{Measured, Meter, Outcome, Transport};
use crate::place::Place;
use crate::target::{Ask, Target};
use crate::text::Text;

/// Shows what the probe does now.
pub type Progress<'a> = &'a dyn Fn(&Text);

/// An endpoint that is examined.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The endpoint.
    pub target: &'a Target,
    /// How it is asked.
    pub ask: &'a Ask,
    /// How streams are measured.
    pub meter: Meter<'a>,
    /// Shows what is done now.
    pub progress: Progress<'a>,
}

/// What a calibrated source is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceRequest {
    pub(crate) events: u64,
    pub(crate) interval: Duration,
    pub(crate) bytes: usize,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) cut_after: Option<u64>,
}

impl SourceRequest {
    pub(crate) fn new(events: u64, interval: Duration, bytes: usize) -> Self {
        Self { events, interval, bytes, heartbeat: None, cut_after: None }
    }

    fn query(&self) -> String {
        let heartbeat = self.heartbeat.map(|heartbeat| ("heartbeat_ms", heartbeat.as_millis()));
        let cut_after = self.cut_after.map(|events| ("cut_after", events.into()));
        let fields = [
            Some(("events", self.events.into())),
            Some(("interval_ms", self.interval.as_millis())),
            Some(("bytes", self.bytes as u128)),
            heartbeat,
            cut_after,
        ];
        let pairs = fields.into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("&")
    }
}

impl Subject<'_> {
    /// Whether the server has a calibrated source that this caller may use.
    pub(crate) fn has_source(&self) -> bool {
        self.target.weir.as_ref().is_some_and(|weir| weir.clock.is_some())
    }

    /// A path of the Weir, below its prefix.
    pub(crate) fn weir_path(&self, path: &str) -> Place {
        let prefix = self.target.weir.as_ref().map_or("", |weir| weir.prefix.as_str());
        self.target.place.with_path(&format!("{prefix}{path}"))
    }

    /// Measures the calibrated source.
    pub(crate) async fn source(
        &self,
        transport: Transport,
        wanted: SourceRequest,
        accept_encoding: &str,
    ) -> Result<Outcome> {
        let place = self.weir_path(&format!("/v1/lens/source?{}", wanted.query()));
        let clock = self.target.weir.as_ref().and_then(|weir| weir.clock);
        let (credentials, dialect) = (&self.ask.credentials, Dialect::Source);
        if transport == Transport::WebSocket {
            return self.meter.socket(&place, credentials, dialect, None, clock).await;
        }
        let accept = if transport == Transport::Ndjson {
            "application/x-ndjson"
        } else {
            "text/event-stream"
        };
        let fields = [("accept", accept), ("accept-encoding", accept_encoding)];
        let request = credentials.request(dialect, "GET", &place.target(), &fields);
        self.meter.stream(&place, &request, dialect, clock).await
    }
}

/// The hops that a head names, for repairs that no verdict asks for; all of them if it names none.
pub(crate) fn hops_of(measured: Option<&Measured>) -> Vec<Hop> {
    let named: Vec<Suspect> = measured.map(|measured| named(&measured.headers)).unwrap_or_default();
    if named.is_empty() {
        return Hop::ALL.to_vec();
    }
    named.into_iter().map(|suspect| suspect.hop).collect()
}
