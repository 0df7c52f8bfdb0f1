//! The report as JSON. Its fields are documented in docs/how-to/probe.md; within a version of
//! `schema` fields are only added.

use std::time::Duration;

use serde_json::{Value, json};

use crate::check::CheckReport;
use crate::finding::Finding;
use crate::measure::Measured;
use crate::reader::StreamEnd;
use crate::report::{Report, SideReport, StreamReport};
use crate::stats::Summary;
use crate::threshold::{Judgement, Threshold};

const SCHEMA: u64 = 1;

/// The report, and what became of the thresholds.
pub fn document(report: &Report, thresholds: &[(Threshold, Judgement)]) -> Value {
    let is_kept = thresholds.iter().all(|(_, judgement)| *judgement == Judgement::Kept);
    json!({
        "schema": SCHEMA,
        "ok": report.is_clean() && is_kept,
        "verdict": report.sides.first().map(|side| side.verdict().name()),
        "sides": report.sides.iter().map(side).collect::<Vec<_>>(),
        "findings": report.findings().into_iter().map(finding).collect::<Vec<_>>(),
        "thresholds": thresholds.iter().map(threshold).collect::<Vec<_>>(),
        "measuring_machine": {
            "stalls": report.stalls.0,
            "longest_stall_ms": milliseconds(report.stalls.1),
        },
        "took_ms": milliseconds(report.took),
    })
}

fn side(side: &SideReport) -> Value {
    json!({
        "role": side.role.name(),
        "url": side.url,
        "api": side.dialect.name(),
        "model": side.model,
        "weir": side.is_weir,
        "calibrated_source": side.has_source,
        "clock_error_ms": side.clock_error.map(milliseconds),
        "verdict": side.verdict().name(),
        "phases": side.main_run().map(phases),
        "streams": side.streams.iter().map(stream).collect::<Vec<_>>(),
        "checks": side.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

fn phases(run: &Measured) -> Value {
    let tls = run.connecting.tls.as_ref();
    json!({
        "dns_ms": run.connecting.dns.map(milliseconds),
        "tcp_ms": milliseconds(run.connecting.tcp),
        "tls_ms": tls.map(|tls| milliseconds(tls.duration)),
        "tls_resumed": tls.map(|tls| tls.is_resumed),
        "head_ms": milliseconds(run.phases.head),
        "first_byte_ms": run.phases.first_byte.map(milliseconds),
        "first_event_ms": run.phases.first_event.map(milliseconds),
        "first_text_ms": run.phases.first_text.map(milliseconds),
        "end_ms": run.phases.end.map(milliseconds),
        "server_timing": run.headers.get("server-timing"),
        "model_ms": run.headers.get("openai-processing-ms").and_then(|text| text.parse::<f64>().ok()),
    })
}

fn stream(stream: &StreamReport) -> Value {
    let (events, bursts) = stream.events_and_bursts();
    json!({
        "kind": stream.kind.name(),
        "transport": stream.transport.name(),
        "verdict": stream.verdict.name(),
        "period_ms": stream.verdict.duration().map(milliseconds),
        "size_bytes": stream.verdict.size(),
        "refused": stream.refused.as_ref().map(ToString::to_string),
        "suspects": stream.suspects.iter().map(|suspect| json!({
            "hop": suspect.hop.name(),
            "named": suspect.is_named,
            "because": suspect.because.en,
            "because_zh": suspect.because.zh,
        })).collect::<Vec<_>>(),
        "events": events,
        "bursts": bursts,
        "gap": summary(&stream.gaps()),
        "delay": stream.delays().as_ref().map(summary),
        "runs": stream.runs.iter().map(run).collect::<Vec<_>>(),
    })
}

fn run(run: &Measured) -> Value {
    json!({
        "address": run.connecting.address.to_string(),
        "encoding": run.encoding(),
        "events": run.trace.arrivals.len(),
        "heartbeats": run.heartbeats,
        "bytes": run.trace.bytes(),
        "reads": run.trace.reads.len(),
        "end": match run.end {
            StreamEnd::Complete => "complete",
            StreamEnd::Closed => "closed",
            StreamEnd::Broken(_) => "broken",
            StreamEnd::Stopped => "stopped_by_probe",
            StreamEnd::Silent => "silent",
        },
        "arrivals_ms": run.trace.arrivals.iter().map(|arrival| milliseconds(arrival.at)).collect::<Vec<_>>(),
    })
}

fn check(check: &CheckReport) -> Value {
    json!({
        "check": check.check.name(),
        "made": check.is_made,
        "facts": check.facts,
        "lines": check.lines.iter().map(|line| json!({ "en": line.en, "zh": line.zh })).collect::<Vec<_>>(),
        "problems": check.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "code": finding.code,
        "level": finding.level.name(),
        "message": finding.text.en,
        "message_zh": finding.text.zh,
        "fixes": finding.fixes.iter().map(|fix| json!({
            "hop": fix.hop.name(),
            "place": fix.place,
            "lines": fix.lines,
            "note": fix.note.as_ref().map(|note| &note.en),
            "note_zh": fix.note.as_ref().map(|note| &note.zh),
        })).collect::<Vec<_>>(),
    })
}

fn threshold((threshold, judgement): &(Threshold, Judgement)) -> Value {
    let message = match judgement {
        Judgement::Kept => None,
        Judgement::Crossed(text) | Judgement::Unmeasured(text) => Some(text),
    };
    json!({
        "condition": threshold.written(),
        "crossed": *judgement != Judgement::Kept,
        "measured": !matches!(judgement, Judgement::Unmeasured(_)),
        "message": message.map(|text| &text.en),
        "message_zh": message.map(|text| &text.zh),
    })
}

fn summary(summary: &Summary) -> Value {
    json!({
        "samples": summary.samples,
        "excluded": summary.excluded,
        "p50_ms": summary.p50.map(milliseconds),
        "p90_ms": summary.p90.map(milliseconds),
        "p99_ms": summary.p99.map(milliseconds),
        "max_ms": summary.max.map(milliseconds),
    })
}

/// With three digits: microseconds.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
