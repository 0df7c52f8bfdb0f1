//! Examines an endpoint: recognises it, measures its streams, and makes the checks.

use std::time::Duration;

use anyhow::{Result, bail};
use client::{Trust, now};
use futures_util::future::join_all;
use serde_json::json;

use crate::check::{Check, CheckReport, connections, idle, resume, stop, truncation};
use crate::dialect::Dialect;
use crate::finding::{Finding, Level};
use crate::fix::{Cause, fix};
use crate::framing;
use crate::hop::suspects;
use crate::measure::{Measured, Meter, Outcome, Refused, Transport, accepted};
use crate::place::Place;
use crate::report::{Report, Role, SideReport, StreamKind, StreamReport};
use crate::stall::StallWatch;
use crate::subject::{Progress, SourceRequest, Subject, hops_of};
use crate::target::{Ask, recognise};
use crate::text::text;
use crate::verdict::{Known, Unjudged, Verdict, judge, judge_pair};
use crate::words;

/// The two paces of a calibrated source: enough events for a 99th percentile, large enough to fill
/// a buffer of 64 KiB, and twice as different as a jitter could make them.
const FAST: (u64, u64) = (110, 15);
const SLOW: (u64, u64) = (50, 45);
const EVENT_BYTES: usize = 620;

/// What is offered: the only coding that every server knows.
const COMPRESSED: &str = "gzip";
const PLAIN: &str = "identity";

/// What is to be examined.
#[derive(Clone)]
pub struct Plan {
    /// What clients use.
    pub edge: String,
    /// The server itself, to compare with.
    pub origin: Option<String>,
    /// Which certificates are accepted.
    pub trust: Trust,
    /// How the endpoint is asked.
    pub ask: Ask,
    /// The transports of a calibrated source.
    pub transports: Vec<Transport>,
    /// Who chose the transports: one that the user chose and that is refused is a problem.
    pub transports_chosen: Chosen,
    /// The checks.
    pub checks: Vec<Check>,
    /// Who chose them: some are not made unasked, as they cost something.
    pub checks_chosen: Chosen,
    /// The silences that are tried.
    pub silences: Vec<Duration>,
    /// How often the endpoint is asked.
    pub runs: usize,
    /// The longest wait for the next part of a response.
    pub timeout: Duration,
    /// How long one stream is read at most.
    pub longest: Duration,
}

/// Who chose something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The user.
    ByUser,
    /// The probe.
    ByDefault,
}

/// Examines it.
///
/// # Errors
/// It cannot be reached, or is nothing that streams.
pub async fn examine(plan: &Plan, progress: Progress<'_>) -> Result<Report> {
    let started = now();
    let watch = StallWatch::start();
    let mut sides = vec![side(plan, Role::Edge, &plan.edge, &watch, progress).await?];
    if let Some(origin) = &plan.origin {
        sides.push(side(plan, Role::Origin, origin, &watch, progress).await?);
    }
    let (comparison, lines) = compare(&sides);
    Ok(Report { sides, comparison, lines, stalls: watch.total(), took: started.elapsed() })
}

async fn side(
    plan: &Plan,
    role: Role,
    url: &str,
    watch: &StallWatch,
    progress: Progress<'_>,
) -> Result<SideReport> {
    let place = Place::read(url, &plan.trust, plan.timeout)?;
    let shown = place.shown();
    progress(&text!("{shown}: what it is", "{shown}：识别类型"));
    let target = recognise(&place, &plan.ask).await?;
    let meter = Meter { watch, longest: plan.longest };
    let subject = Subject { target: &target, ask: &plan.ask, meter, progress };
    let mut streams = Vec::new();
    if target.model.is_some() || !target.dialect.needs_model() || plan.ask.body.is_some() {
        streams.push(endpoint(&subject, plan).await?);
    }
    if subject.has_source() && plan.checks.contains(&Check::Buffering) {
        let seen = streams.first().and_then(|stream: &StreamReport| stream.runs.first()).cloned();
        streams.extend(sources(&subject, plan, seen.as_ref()).await?);
    }
    let checks = checks(&subject, plan, role, &streams).await?;
    let clock = target.weir.as_ref().and_then(|weir| weir.clock);
    Ok(SideReport {
        role,
        url: target.place.shown(),
        dialect: target.dialect,
        model: target.model.clone(),
        is_weir: target.weir.is_some(),
        has_source: clock.is_some(),
        clock_error: clock.map(|clock| clock.error),
        streams,
        checks,
    })
}

/// The stream of the endpoint itself.
async fn endpoint(subject: &Subject<'_>, plan: &Plan) -> Result<StreamReport> {
    let mut runs = Vec::new();
    for run in 1..=plan.runs.max(1) {
        let (shown, all) = (subject.target.place.shown(), plan.runs.max(1));
        (subject.progress)(&text!(
            "{shown}: stream {run} of {all}",
            "{shown}：第 {run}/{all} 个流"
        ));
        runs.push(*accepted(ask(subject, COMPRESSED).await?, &shown)?);
    }
    let verdicts: Vec<Verdict> =
        runs.iter().map(|run| judge(&run.trace, known(run, None))).collect();
    let worst = verdicts.iter().position(Verdict::is_problem).unwrap_or_default();
    let mut verdict = verdicts[worst];
    if is_doubtful(&verdict) && runs[worst].encoding().is_some() {
        (subject.progress)(&text!("once more without compression", "再测一次，不压缩"));
        let plain = ask(subject, PLAIN).await?;
        let plain = plain.map(|run| judge(&run.trace, known(&run, None)));
        verdict = uncompressed(verdict, plain.ok());
    }
    let sample = &runs[0];
    if sample.transport == Transport::Bytes && sample.headers.get("content-length").is_some() {
        let (shown, kind) = (subject.target.place.shown(), media_type(sample));
        bail!("{shown} is no stream: it has the content type {kind:?} and a content-length");
    }
    let mut report = stream_report(StreamKind::Endpoint, sample.transport, verdict, sample);
    report.runs = runs;
    Ok(report)
}

fn media_type(run: &Measured) -> &str {
    run.headers.get("content-type").unwrap_or_default()
}

async fn ask(subject: &Subject<'_>, accept_encoding: &str) -> Result<Outcome> {
    let target = subject.target;
    if target.place.is_websocket {
        let message = subject.ask.body.clone().or_else(|| socket_message(subject));
        let credentials = &subject.ask.credentials;
        return subject
            .meter
            .socket(&target.place, credentials, target.dialect, message.as_deref(), None)
            .await;
    }
    let request = target.request(subject.ask, accept_encoding);
    subject.meter.stream(&target.place, &request, target.dialect, None).await
}

/// The first message of a WebSocket whose API is known.
fn socket_message(subject: &Subject<'_>) -> Option<String> {
    let target = subject.target;
    if target.dialect != Dialect::Responses {
        return None;
    }
    let mut body = target.dialect.body(target.model.as_deref()?)?;
    body["type"] = json!("response.create");
    body.as_object_mut()?.remove("stream");
    Some(body.to_string())
}

/// The calibrated source on every transport, fast and slow.
async fn sources(
    subject: &Subject<'_>,
    plan: &Plan,
    seen: Option<&Measured>,
) -> Result<Vec<StreamReport>> {
    let names: Vec<&str> = plan.transports.iter().map(|transport| transport.title()).collect();
    let names = names.join(", ");
    (subject.progress)(&text!("calibrated source: {names}", "校准源：{names}"));
    let each = plan.transports.iter().map(|transport| source(subject, plan, *transport, seen));
    join_all(each).await.into_iter().collect()
}

async fn source(
    subject: &Subject<'_>,
    plan: &Plan,
    transport: Transport,
    seen: Option<&Measured>,
) -> Result<StreamReport> {
    let (runs, mut verdict) = match pair(subject, transport, COMPRESSED).await? {
        Ok(measured) => measured,
        Err(refused) => return Ok(refusal(seen, plan, transport, refused)),
    };
    if is_doubtful(&verdict) && runs[0].encoding().is_some() {
        let plain = pair(subject, transport, PLAIN).await?;
        verdict = uncompressed(verdict, plain.ok().map(|(_, verdict)| verdict));
    }
    let mut report = stream_report(StreamKind::Source, transport, verdict, &runs[0]);
    if runs.iter().any(|run| !is_complete(run)) {
        let transport_title = transport.title();
        report.findings.push(Finding::problem(
            "events_lost",
            text!(
                "{transport_title}: events of the calibrated source were lost, repeated or out of order.",
                "{transport_title}：校准源的事件丢失、重复或乱序。"
            ),
        ));
    }
    report.runs = runs;
    Ok(report)
}

/// The source at both paces, and the verdict on them.
async fn pair(
    subject: &Subject<'_>,
    transport: Transport,
    accept_encoding: &str,
) -> Result<std::result::Result<(Vec<Measured>, Verdict), Refused>> {
    let mut runs = Vec::new();
    for (events, interval_ms) in [FAST, SLOW] {
        let interval = Duration::from_millis(interval_ms);
        let wanted = SourceRequest::new(events, interval, EVENT_BYTES);
        match subject.source(transport, wanted, accept_encoding).await? {
            Ok(measured) => runs.push(*measured),
            Err(refused) => return Ok(Err(refused)),
        }
    }
    let clock = subject.target.weir.as_ref().and_then(|weir| weir.clock);
    let error = clock.map(|clock| clock.error);
    let (fast, slow) = (&runs[0], &runs[1]);
    let verdict = judge_pair(&fast.trace, known(fast, error), &slow.trace, known(slow, error));
    Ok(Ok((runs, verdict)))
}

/// What is known of a stream before it is judged.
fn known(run: &Measured, clock_error: Option<Duration>) -> Known {
    let sent =
        |arrival: Option<&crate::trace::Arrival>| arrival.and_then(|arrival| arrival.sent_us);
    let (first, last) = (sent(run.trace.arrivals.first()), sent(run.trace.arrivals.last()));
    let sent_over = first.zip(last).map(|(first, last)| {
        Duration::from_micros(u64::try_from(last - first).unwrap_or_default())
    });
    Known { sent_over, has_length: run.headers.get("content-length").is_some(), clock_error }
}

/// Whether all events of a source have arrived, in order.
fn is_complete(run: &Measured) -> bool {
    let numbers: Vec<u64> = run
        .framed()
        .documents()
        .filter_map(|(_, document)| document["sequence_number"].as_u64())
        .collect();
    let is_ordered = numbers.iter().enumerate().all(|(index, number)| *number == index as u64);
    is_ordered
        && run.events.last().is_some_and(|event| Dialect::Source.is_terminal(event) == Some(true))
}

/// Whether compression may be the cause.
fn is_doubtful(verdict: &Verdict) -> bool {
    verdict.is_problem() || matches!(verdict, Verdict::Uneven { .. })
}

/// The verdict, if the same stream without compression has this one.
fn uncompressed(compressed: Verdict, plain: Option<Verdict>) -> Verdict {
    match plain {
        Some(plain) if plain.is_problem() => plain,
        Some(Verdict::Unknown(Unjudged::TooFewEvents | Unjudged::TooFast)) | None => compressed,
        Some(_) => Verdict::Compressed,
    }
}

fn stream_report(
    kind: StreamKind,
    transport: Transport,
    verdict: Verdict,
    sample: &Measured,
) -> StreamReport {
    let suspects = suspects(&sample.headers, &verdict);
    let what = words::stream(kind, transport);
    let findings = words::finding(&verdict, &what, &suspects).into_iter().collect();
    StreamReport { kind, transport, runs: Vec::new(), refused: None, verdict, suspects, findings }
}

/// A transport of the source that was refused.
fn refusal(
    seen: Option<&Measured>,
    plan: &Plan,
    transport: Transport,
    refused: Refused,
) -> StreamReport {
    let title = transport.title();
    let what = text!("{title} was refused with {refused}.", "{title} 被拒绝：{refused}。");
    let code = if transport == Transport::WebSocket { "websocket_refused" } else { "refused" };
    let mut finding = match plan.transports_chosen {
        Chosen::ByUser => Finding::problem(code, what),
        Chosen::ByDefault => Finding::note(code, what),
    };
    if transport == Transport::WebSocket {
        let fixes = hops_of(seen).into_iter().filter_map(|hop| fix(Cause::WebSocket, hop));
        finding = finding.fixed_by(fixes.collect());
    }
    StreamReport {
        kind: StreamKind::Source,
        transport,
        runs: Vec::new(),
        refused: Some(refused),
        verdict: Verdict::Unknown(Unjudged::TooFewEvents),
        suspects: Vec::new(),
        findings: vec![finding],
    }
}

async fn checks(
    subject: &Subject<'_>,
    plan: &Plan,
    role: Role,
    streams: &[StreamReport],
) -> Result<Vec<CheckReport>> {
    let mut reports = Vec::new();
    if role == Role::Origin {
        // What clients meet is the edge; the origin is there to compare streams with.
        return Ok(reports);
    }
    let seen = streams
        .iter()
        .filter(|stream| stream.kind == StreamKind::Endpoint)
        .flat_map(|stream| &stream.runs)
        .next();
    let is_refused = |transport: Transport| {
        streams.iter().any(|stream| stream.transport == transport && stream.refused.is_some())
    };
    let usable: Vec<Transport> =
        plan.transports.iter().copied().filter(|transport| !is_refused(*transport)).collect();
    for check in &plan.checks {
        match check {
            Check::Buffering => {}
            Check::Framing => reports.extend(seen.map(framed)),
            Check::Stop
                if plan.checks_chosen == Chosen::ByDefault && subject.target.weir.is_none() => {}
            Check::Resume => reports.push(resume::run(subject, seen, &usable).await?),
            Check::Stop => reports.push(stop::run(subject).await?),
            Check::Truncation => reports.push(truncation::run(subject, &usable, seen).await?),
            Check::Connections => reports.push(connections::run(subject, &plan.trust).await?),
            Check::Idle => reports.push(idle::run(subject, &plan.silences).await?),
        }
    }
    Ok(reports)
}

/// Whether the endpoint's stream is framed as its API says.
fn framed(seen: &Measured) -> CheckReport {
    let findings = framing::check(&seen.framed());
    let codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    let facts = json!({ "findings": codes, "events": seen.events.len() });
    let (count, api) = (seen.events.len(), words::api(seen.dialect));
    let (en, zh) = (api.en, api.zh);
    let is_good = findings.iter().all(|finding| finding.level == Level::Note);
    let lines = if is_good {
        vec![text!(
            "{count} events, framed as they should be ({en})",
            "{count} 个事件，格式正确（{zh}）"
        )]
    } else {
        Vec::new()
    };
    CheckReport::made(Check::Framing, facts, lines, findings)
}

/// Compares the same streams of both sides.
fn compare(sides: &[SideReport]) -> (Vec<Finding>, Vec<crate::text::Text>) {
    let [edge, origin] = sides else { return (Vec::new(), Vec::new()) };
    let (mut findings, mut lines) = (Vec::new(), Vec::new());
    for stream in &edge.streams {
        let same = origin
            .streams
            .iter()
            .find(|other| (other.kind, other.transport) == (stream.kind, stream.transport));
        let Some(other) = same else { continue };
        findings.extend(words::attribution(
            &stream.verdict,
            &other.verdict,
            &words::stream(stream.kind, stream.transport),
        ));
    }
    let first = |side: &SideReport| side.main_run()?.phases.first_event;
    if let Some((at_edge, at_origin)) = first(edge).zip(first(origin)) {
        lines.push(words::first_event(at_edge, at_origin));
    }
    (findings, lines)
}
