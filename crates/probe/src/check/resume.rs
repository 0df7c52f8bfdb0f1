//! Whether a stream that was cut goes on where it was, without a gap and without a repetition: the
//! events before the cut and those after it must have the hash of the whole.

mod outcome;
mod ways;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Check, CheckReport};
use crate::dialect::Dialect;
use crate::measure::{Measured, Transport};
use crate::subject::Subject;
use crate::text::text;
use outcome::Resumed;
use ways::{Log, ResumeWay};

/// Resumes what was read before, over every protocol that claims to.
///
/// WebSockets are left out where they are not among the `usable` transports.
pub(crate) async fn run(
    subject: &Subject<'_>,
    seen: Option<&Measured>,
    usable: &[Transport],
) -> Result<CheckReport> {
    let Some(seen) = seen else {
        let why = text!("no stream was read", "没有读到任何流");
        return Ok(CheckReport::not_made(Check::Resume, why));
    };
    match subject.target.dialect {
        Dialect::Responses => responses(subject, seen, usable).await,
        Dialect::Plain => plain(subject, seen).await,
        Dialect::Chat
        | Dialect::Messages
        | Dialect::OllamaChat
        | Dialect::OllamaGenerate
        | Dialect::Gemini
        | Dialect::Source => {
            let title = subject.target.dialect.title();
            let why = text!(
                "{title} has no way to resume: a cut costs the whole response",
                "{title} 没有断线续传：断一次就要重新生成整个回答"
            );
            Ok(CheckReport::not_made(Check::Resume, why))
        }
    }
}

async fn responses(
    subject: &Subject<'_>,
    seen: &Measured,
    usable: &[Transport],
) -> Result<CheckReport> {
    let log = Log::of(seen);
    let (Some(id), true) = (seen.response_id(), log.len() >= 4) else {
        let why = text!("the response has no id or no sequence numbers", "响应没有 id 或没有序号");
        return Ok(CheckReport::not_made(Check::Resume, why));
    };
    (subject.progress)(&text!("resume: cut and continued", "续传：切断后继续"));
    let ways: &[ResumeWay] =
        if subject.target.weir.is_some() { &ResumeWay::ALL } else { &ResumeWay::ALL[..1] };
    let (mut facts, mut lines, mut findings) = (Map::new(), Vec::new(), Vec::new());
    let (mut exact, mut tried) = (Vec::new(), 0);
    for way in ways {
        if *way == ResumeWay::WebSocket && !usable.contains(&Transport::WebSocket) {
            continue;
        }
        let mut outcomes = Vec::new();
        for cut in log.cuts() {
            tried += 1;
            let outcome = log.compare(cut, way.resume(subject, &id, log.position(cut)).await);
            outcomes.push(way.judged(outcome));
        }
        let worst = outcomes.into_iter().max().unwrap_or(Resumed::Exact);
        facts.insert(way.name().to_owned(), worst.document());
        if worst == Resumed::Exact {
            exact.push(way.title());
        } else {
            findings.extend(worst.finding(&way.title().en));
        }
    }
    if !exact.is_empty() {
        let join = |texts: Vec<&str>, comma: &str| texts.join(comma);
        let en = join(exact.iter().map(|name| name.en.as_str()).collect(), ", ");
        let zh = join(exact.iter().map(|name| name.zh.as_str()).collect(), "、");
        let hash = log.hash(0);
        let short = &hash[..12];
        lines.push(text!(
            "{en}: exact at every cut ({tried} in all), SHA-256 {short}…",
            "{zh}：每个断点都精确续上（共 {tried} 次），SHA-256 {short}…"
        ));
    }
    facts.insert("sha256".to_owned(), json!(log.hash(0)));
    Ok(CheckReport::made(Check::Resume, Value::Object(facts), lines, findings))
}

async fn plain(subject: &Subject<'_>, seen: &Measured) -> Result<CheckReport> {
    let ids: Vec<_> = seen.events.iter().map(|event| event.fields.id.clone()).collect();
    if ids.len() < 4 || ids.iter().any(Option::is_none) {
        let why = text!(
            "its events have no id:, so it does not claim to resume",
            "事件没有 id:，因此它并未声称支持续传"
        );
        return Ok(CheckReport::not_made(Check::Resume, why));
    }
    (subject.progress)(&text!("resume: Last-Event-ID", "续传：Last-Event-ID"));
    let cut = ids.len() / 2;
    let last = ids[cut - 1].clone().unwrap_or_default();
    let resumed = ways::last_event_id(subject, &last).await;
    let log = Log::of_ids(seen);
    let outcome = log.compare_ids(cut, resumed);
    let facts = json!({ "last_event_id": outcome.document() });
    let (lines, findings) = match outcome.finding("Last-Event-ID") {
        None => (
            vec![text!(
                "Last-Event-ID: goes on exactly after the cut",
                "Last-Event-ID：从断点之后精确续上"
            )],
            Vec::new(),
        ),
        Some(finding) => (Vec::new(), vec![finding]),
    };
    Ok(CheckReport::made(Check::Resume, facts, lines, findings))
}

#[cfg(test)]
mod tests;
