//! How long a connection may be silent before something closes it, with heartbeats and without.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Check, CheckReport};
use crate::finding::Finding;
use crate::fix::{Cause, fix};
use crate::measure::{Measured, Meter, Outcome, Transport};
use crate::reader::StreamEnd;
use crate::subject::{SourceRequest, Subject, hops_of};
use crate::text::{Text, text};

/// How much longer than the silence a stream is awaited.
const PATIENCE: Duration = Duration::from_secs(5);

/// One silence that was tried.
struct Tried {
    silence: Duration,
    heartbeat: Option<Duration>,
    /// When the connection was cut, by which end; `None` if it survived.
    cut: Option<(Duration, StreamEnd)>,
}

/// Tries each silence, all of them at the same time.
pub(crate) async fn run(subject: &Subject<'_>, silences: &[Duration]) -> Result<CheckReport> {
    if !subject.has_source() {
        return Ok(CheckReport::not_made(
            Check::Idle,
            text!(
                "needs a stream that can be silent: a Weir has one (GET /v1/lens/source)",
                "需要一个能够保持静默的流：Weir 提供（GET /v1/lens/source）"
            ),
        ));
    }
    let longest = silences.iter().max().copied().unwrap_or_default();
    let seconds = longest.as_secs();
    (subject.progress)(&text!(
        "idle: silent connections, up to {seconds} s",
        "空闲：保持连接静默，最长 {seconds} 秒"
    ));
    let plain = silences.iter().map(|silence| (*silence, None));
    let beating = silences.iter().map(|silence| (*silence, Some(beat(*silence))));
    let each =
        plain.chain(beating).map(|(silence, heartbeat)| attempt(subject, silence, heartbeat));
    let mut tried = Vec::new();
    let mut sample = None;
    for outcome in join_all(each).await {
        let (result, measured) = outcome?;
        sample = sample.or(measured);
        tried.push(result);
    }
    Ok(report(&tried, sample.as_deref()))
}

/// A heartbeat that is a quarter of the silence, but none that would be a load.
fn beat(silence: Duration) -> Duration {
    (silence / 4).clamp(Duration::from_millis(250), Duration::from_secs(15))
}

async fn attempt(
    subject: &Subject<'_>,
    silence: Duration,
    heartbeat: Option<Duration>,
) -> Result<(Tried, Option<Box<Measured>>)> {
    let wanted = SourceRequest { heartbeat, ..SourceRequest::new(2, silence, 100) };
    let longest = silence + PATIENCE;
    let patient = subject.target.patient(longest);
    let subject =
        Subject { target: &patient, meter: Meter { longest, ..subject.meter }, ..*subject };
    let outcome: Outcome = subject.source(Transport::Sse, wanted, "identity").await?;
    Ok(match outcome {
        Ok(measured) => {
            let has_survived = measured.events.len() == 2;
            let at = measured.phases.end.unwrap_or_default();
            let cut = (!has_survived).then_some((at, measured.end));
            (Tried { silence, heartbeat, cut }, Some(measured))
        }
        // A gateway timeout before the first byte.
        Err(_refused) => {
            (Tried { silence, heartbeat, cut: Some((silence, StreamEnd::Complete)) }, None)
        }
    })
}

fn report(tried: &[Tried], sample: Option<&Measured>) -> CheckReport {
    let facts: Vec<Value> = tried
        .iter()
        .map(|tried| {
            json!({
                "silence_s": tried.silence.as_secs_f64(),
                "heartbeat_s": tried.heartbeat.map(|beat| beat.as_secs_f64()),
                "survived": tried.cut.is_none(),
                "cut_after_s": tried.cut.map(|(at, _)| at.as_secs_f64()),
                "looks_complete": tried.cut.map(|(_, end)| end == StreamEnd::Complete),
            })
        })
        .collect();
    let (mut lines, mut findings) = (Vec::new(), Vec::new());
    lines.push(summary(tried, false));
    lines.push(summary(tried, true));
    let first_cut = tried
        .iter()
        .filter(|tried| tried.heartbeat.is_none())
        .filter_map(|tried| tried.cut)
        .min_by_key(|(at, _)| *at);
    let beats_help =
        tried.iter().filter(|tried| tried.heartbeat.is_some()).all(|tried| tried.cut.is_none());
    if let Some((at, end)) = first_cut {
        let seconds = format!("{:.0}", at.as_secs_f64());
        let fixes = hops_of(sample).into_iter().filter_map(|hop| fix(Cause::IdleTimeout, hop));
        let code = if beats_help { "idle_timeout" } else { "idle_timeout_despite_heartbeats" };
        let finding = Finding::problem(
            code,
            text!(
                "A hop closes a stream on which nothing was sent for {seconds} s.",
                "某一跳会关闭静默 {seconds} 秒的流。"
            ),
        );
        findings.push(finding.fixed_by(fixes.collect()));
        if end == StreamEnd::Complete {
            findings.push(Finding::problem(
                "idle_cut_looks_complete",
                text!(
                    "It does so with a proper end of the body, so that clients take the part for the whole.",
                    "而且是以正常结束的方式关闭，客户端会把半截内容当成完整内容。"
                ),
            ));
        }
    }
    CheckReport::made(Check::Idle, json!(facts), lines, findings)
}

fn summary(tried: &[Tried], with_heartbeats: bool) -> Text {
    let of_kind = || tried.iter().filter(|tried| tried.heartbeat.is_some() == with_heartbeats);
    let list =
        |found: Vec<String>| if found.is_empty() { "-".to_owned() } else { found.join(", ") };
    let seconds = |duration: Duration| format!("{:.0}", duration.as_secs_f64());
    let survived = list(
        of_kind().filter(|tried| tried.cut.is_none()).map(|tried| seconds(tried.silence)).collect(),
    );
    let cut = list(of_kind().filter_map(|tried| tried.cut).map(|(at, _)| seconds(at)).collect());
    if with_heartbeats {
        text!(
            "with heartbeats: survived {survived} s; cut after {cut} s",
            "有心跳：撑过 {survived} 秒；在 {cut} 秒后被切断"
        )
    } else {
        text!(
            "silent: survived {survived} s; cut after {cut} s",
            "静默：撑过 {survived} 秒；在 {cut} 秒后被切断"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(silence: u64, heartbeat: bool, cut: Option<u64>) -> Tried {
        Tried {
            silence: Duration::from_secs(silence),
            heartbeat: heartbeat.then(|| Duration::from_secs(silence / 4)),
            cut: cut.map(|at| (Duration::from_secs(at), StreamEnd::Broken(None))),
        }
    }

    #[test]
    fn the_shortest_cut_is_reported() {
        let all = [
            tried(15, false, None),
            tried(120, false, Some(61)),
            tried(90, false, Some(60)),
            tried(120, true, None),
        ];
        let report = report(&all, None);
        assert_eq!(report.findings.len(), 1);
        assert!(report.findings[0].text.en.contains("60 s"), "{:?}", report.findings);
        assert_eq!(report.findings[0].code, "idle_timeout");
        assert!(
            report.findings[0].fixes.iter().any(|fix| fix.lines.contains("proxy_read_timeout"))
        );
        assert!(report.lines[0].en.contains("survived 15 s; cut after 61, 60 s"));
    }

    #[test]
    fn silence_that_nobody_minds_is_no_finding() {
        assert!(report(&[tried(15, false, None), tried(15, true, None)], None).findings.is_empty());
    }
}
