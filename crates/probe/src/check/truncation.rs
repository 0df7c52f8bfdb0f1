//! Whether a client can tell a stream that was broken off from one that has ended.

use anyhow::Result;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

use super::{Check, CheckReport};
use crate::finding::Finding;
use crate::fix::{Cause, fix};
use crate::measure::{Measured, Transport};
use crate::reader::StreamEnd;
use crate::subject::{SourceRequest, Subject, hops_of};
use crate::text::text;

/// Breaks off a calibrated source; without one, tells by what the end of a stream shows.
pub(crate) async fn run(
    subject: &Subject<'_>,
    transports: &[Transport],
    seen: Option<&Measured>,
) -> Result<CheckReport> {
    if subject.has_source() {
        return broken_off(subject, transports).await;
    }
    Ok(seen.map_or_else(
        || {
            CheckReport::not_made(
                Check::Truncation,
                text!("no stream was read to its end", "没有读到任何流的结尾"),
            )
        },
        by_its_end,
    ))
}

async fn broken_off(subject: &Subject<'_>, transports: &[Transport]) -> Result<CheckReport> {
    (subject.progress)(&text!("truncation: a stream that breaks off", "截断：中途断开的流"));
    let interval = Duration::from_millis(20);
    let wanted = SourceRequest { cut_after: Some(10), ..SourceRequest::new(20, interval, 200) };
    let each = transports.iter().map(|transport| subject.source(*transport, wanted, "identity"));
    let (mut facts, mut lines, mut findings) = (serde_json::Map::new(), Vec::new(), Vec::new());
    let mut told = Vec::new();
    for (transport, outcome) in transports.iter().zip(join_all(each).await) {
        // A transport that is refused is reported where its streams are measured.
        let Ok(measured) = outcome? else { continue };
        let name = transport.title();
        let is_told = match measured.end {
            StreamEnd::Complete => {
                measured.transport == Transport::WebSocket && measured.close_code != Some(1000)
            }
            StreamEnd::Closed | StreamEnd::Stopped => false,
            StreamEnd::Broken(_) | StreamEnd::Silent => true,
        };
        facts.insert(transport.name().to_owned(), Value::Bool(is_told));
        if is_told {
            told.push(name);
            continue;
        }
        let fixes =
            hops_of(Some(&measured)).into_iter().filter_map(|hop| fix(Cause::Truncation, hop));
        let finding = Finding::problem(
            "truncation_hidden",
            text!(
                "{name}: a stream that the server breaks off reaches the client with a proper end: it takes the part for the whole.",
                "{name}：服务器中途断开的流，到客户端却像正常结束：半截内容会被当成完整内容。"
            ),
        );
        findings.push(finding.fixed_by(fixes.collect()));
    }
    if !told.is_empty() {
        let (en, zh) = (told.join(", "), told.join("、"));
        lines.push(text!(
            "{en}: a stream that breaks off looks broken off",
            "{zh}：中途断开的流能看出是断开的"
        ));
    }
    Ok(CheckReport::made(Check::Truncation, Value::Object(facts), lines, findings))
}

fn by_its_end(seen: &Measured) -> CheckReport {
    let has_terminal =
        seen.events.iter().any(|event| seen.dialect.is_terminal(event) == Some(true));
    let has_marked_end = seen.end == StreamEnd::Complete;
    let facts = json!({ "terminal_event": has_terminal, "marked_end": has_marked_end });
    if seen.end == StreamEnd::Stopped {
        let why = text!("the stream goes on; its end was not seen", "流仍在继续，没有看到它的结尾");
        return CheckReport::not_made(Check::Truncation, why);
    }
    let (mut lines, mut findings) = (Vec::new(), Vec::new());
    match (has_terminal, has_marked_end) {
        (true, true) => lines.push(text!(
            "a last event and HTTP's own end mark the end: a cut is told from it by both",
            "结尾既有结束事件，也有 HTTP 自己的结束标记：两者都能区分断开"
        )),
        (true, false) => lines.push(text!(
            "only the last event marks the end: a client that does not wait for it takes a cut for the end",
            "只有结束事件标记结尾：不等它的客户端会把断开当成结束"
        )),
        (false, true) => lines.push(text!(
            "only HTTP's own end marks the end: a hop that ends the body properly hides a cut",
            "只有 HTTP 自己的结束标记：如果某一跳正常收尾，断开就看不出来"
        )),
        (false, false) => findings.push(Finding::problem(
            "truncation_hidden",
            text!(
                "Nothing marks the end of this stream: a cut looks like the end.",
                "这个流没有任何结束标记：断开和结束看起来一样。"
            ),
        )),
    }
    CheckReport::made(Check::Truncation, facts, lines, findings)
}
