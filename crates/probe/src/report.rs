//! The whole report: every stream with its verdict, every check, every finding.

use std::time::Duration;

use crate::check::CheckReport;
use crate::dialect::Dialect;
use crate::finding::{Finding, Level};
use crate::hop::Suspect;
use crate::measure::{Measured, Refused, Transport};
use crate::stats::Summary;
use crate::text::Text;
use crate::verdict::Verdict;

/// Which address was examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What clients use.
    Edge,
    /// The server itself, without the hops between.
    Origin,
}

impl Role {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Origin => "origin",
        }
    }
}

/// What sends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// The endpoint itself.
    Endpoint,
    /// The calibrated source of a Weir, whose pace and sizes are known.
    Source,
}

impl StreamKind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Source => "source",
        }
    }
}

/// One kind of stream on one transport.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// What sends it.
    pub kind: StreamKind,
    /// How it travels.
    pub transport: Transport,
    /// The measurements; empty if it was refused.
    pub runs: Vec<Measured>,
    /// Why it was refused.
    pub refused: Option<Refused>,
    /// The verdict.
    pub verdict: Verdict,
    /// Which hops may be the cause, the likeliest first.
    pub suspects: Vec<Suspect>,
    /// What was found in it.
    pub findings: Vec<Finding>,
}

impl StreamReport {
    /// The pauses between events, of all runs.
    pub fn gaps(&self) -> Summary {
        let (mut samples, mut excluded) = (Vec::new(), 0);
        for run in &self.runs {
            let (gaps, left_out) = run.trace.gap_samples();
            samples.extend(gaps);
            excluded += left_out;
        }
        Summary::of(samples, excluded)
    }

    /// How long events were under way, of all runs; `None` without a clock of the source.
    pub fn delays(&self) -> Option<Summary> {
        let (mut samples, mut excluded) = (Vec::new(), 0);
        for run in &self.runs {
            let (delays, left_out) = run.trace.delay_samples()?;
            samples.extend(delays);
            excluded += left_out;
        }
        (!self.runs.is_empty()).then(|| Summary::of(samples, excluded))
    }

    /// The number of events, and of the bursts in which they arrived.
    pub fn events_and_bursts(&self) -> (usize, usize) {
        let events = self.runs.iter().map(|run| run.trace.arrivals.len()).sum();
        let with_events =
            |run: &Measured| run.trace.bursts().iter().filter(|burst| burst.events > 0).count();
        (events, self.runs.iter().map(with_events).sum())
    }
}

/// What was seen at one address.
#[derive(Clone, Debug)]
pub struct SideReport {
    /// Which address.
    pub role: Role,
    /// The address, without secrets.
    pub url: String,
    /// Its API.
    pub dialect: Dialect,
    /// The model that was asked.
    pub model: Option<String>,
    /// Whether it is a Weir.
    pub is_weir: bool,
    /// Whether it has a calibrated source that this caller may use.
    pub has_source: bool,
    /// How far the clocks of the server and of this machine may differ.
    pub clock_error: Option<Duration>,
    /// The streams.
    pub streams: Vec<StreamReport>,
    /// The checks.
    pub checks: Vec<CheckReport>,
}

impl SideReport {
    /// The stream of the endpoint, or else the first.
    pub fn main_stream(&self) -> Option<&StreamReport> {
        let of_endpoint = |stream: &&StreamReport| stream.kind == StreamKind::Endpoint;
        self.streams.iter().find(of_endpoint).or_else(|| self.streams.first())
    }

    /// The first measurement of the endpoint, which shows the phases.
    pub fn main_run(&self) -> Option<&Measured> {
        self.streams.iter().flat_map(|stream| &stream.runs).next()
    }

    /// The verdict on the path: the worst of those on streams that can be judged.
    pub fn verdict(&self) -> Verdict {
        let problem = self.streams.iter().find(|stream| stream.verdict.is_problem());
        // A calibrated source is judged with more certainty than a model.
        let judged = self
            .streams
            .iter()
            .rev()
            .find(|stream| stream.refused.is_none() && stream.verdict == Verdict::Steady);
        problem
            .or(judged)
            .or_else(|| self.main_stream())
            .map_or(Verdict::Unknown(crate::verdict::Unjudged::TooFewEvents), |stream| {
                stream.verdict
            })
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        let of_streams = self.streams.iter().flat_map(|stream| &stream.findings);
        of_streams.chain(self.checks.iter().flat_map(|check| &check.findings))
    }
}

/// The whole report.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was examined: the edge, and the origin if one was named.
    pub sides: Vec<SideReport>,
    /// What the comparison of both shows.
    pub comparison: Vec<Finding>,
    /// The comparison in words.
    pub lines: Vec<Text>,
    /// How often the measuring machine was stalled, and for how long at most.
    pub stalls: (usize, Duration),
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// All findings, the problems first.
    pub fn findings(&self) -> Vec<&Finding> {
        let mut all: Vec<&Finding> =
            self.sides.iter().flat_map(SideReport::findings).chain(&self.comparison).collect();
        all.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        all
    }

    /// Whether there is nothing that users would notice.
    pub fn is_clean(&self) -> bool {
        self.findings().iter().all(|finding| finding.level == Level::Note)
    }
}
