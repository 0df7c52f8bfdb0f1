//! Verdicts in words.

use std::time::Duration;

use crate::check::Check;
use crate::dialect::Dialect;
use crate::finding::Finding;
use crate::fix::{Cause, all, fix};
use crate::hop::Suspect;
use crate::measure::Transport;
use crate::report::StreamKind;
use crate::text::{Text, bytes, milliseconds, text};
use crate::verdict::{Unjudged, Verdict};

/// An API's name.
pub(crate) fn api(dialect: Dialect) -> Text {
    match dialect {
        Dialect::Plain => text!("a plain stream", "普通流"),
        Dialect::Source => text!("Weir's calibrated source", "Weir 校准源"),
        Dialect::Chat
        | Dialect::Responses
        | Dialect::Messages
        | Dialect::OllamaChat
        | Dialect::OllamaGenerate
        | Dialect::Gemini => {
            let title = dialect.title();
            text!("{title}", "{title}")
        }
    }
}

/// A check's name.
pub(crate) fn check(check: Check) -> Text {
    match check {
        Check::Buffering => text!("buffering", "缓冲"),
        Check::Framing => text!("framing", "格式"),
        Check::Resume => text!("resume", "断线续传"),
        Check::Stop => text!("stop", "停止"),
        Check::Truncation => text!("truncation", "截断"),
        Check::Connections => text!("connections", "连接数"),
        Check::Idle => text!("idle", "空闲超时"),
    }
}

/// A stream as the subject of a sentence.
pub(crate) fn stream(kind: StreamKind, transport: Transport) -> Text {
    let transport = transport.title();
    match kind {
        StreamKind::Endpoint => text!("The endpoint ({transport})", "接口（{transport}）"),
        StreamKind::Source => text!("The calibrated source ({transport})", "校准源（{transport}）"),
    }
}

/// A verdict as a title.
pub(crate) fn title(verdict: &Verdict) -> Text {
    match verdict {
        Verdict::Steady => text!("steady", "平稳"),
        Verdict::Late { .. } => text!("steady, but late", "平稳，但整体延迟"),
        Verdict::ByTime { .. } => text!("coalesced by time", "按时间攒批"),
        Verdict::BySize { .. } => text!("coalesced by size", "按大小攒批"),
        Verdict::ToEnd => text!("buffered to the end", "缓冲到最后"),
        Verdict::Compressed => text!("compressed without flushing", "压缩且不刷新"),
        Verdict::Uneven { .. } => text!("uneven", "不均匀"),
        Verdict::Unknown(_) => text!("cannot be judged", "无法判断"),
    }
}

/// What a verdict means.
pub(crate) fn meaning(verdict: &Verdict) -> Text {
    match verdict {
        Verdict::Steady => text!("each event arrives when it is sent", "每个事件发出即到达"),
        Verdict::Late { by } => {
            let by = milliseconds(*by);
            text!("each event is {by} late", "每个事件都晚到 {by}")
        }
        Verdict::ByTime { period } => {
            let period = milliseconds(*period);
            text!(
                "events are collected and let through every {period}",
                "事件被攒起来，每 {period} 放行一次"
            )
        }
        Verdict::BySize { bytes: count } => {
            let count = bytes(*count as u64);
            text!(
                "events are collected until there are about {count}",
                "事件被攒到约 {count} 才放行"
            )
        }
        Verdict::ToEnd => text!(
            "everything is held back until the response has ended",
            "全部内容被扣住，直到回答结束才放行"
        ),
        Verdict::Compressed => text!(
            "a compressor holds events back; without compression they arrive one by one",
            "压缩器扣住了事件；不压缩时会逐个到达"
        ),
        Verdict::Uneven { most } => text!(
            "up to {most} events at a time, without a rule: the source sends so, or the line does",
            "一次最多到达 {most} 个事件，没有规律：是源头这样发的，或者线路所致"
        ),
        Verdict::Unknown(Unjudged::TooFewEvents) => text!(
            "too few events; ask for a longer response (--body)",
            "事件太少；请换一个更长的回答（--body）"
        ),
        Verdict::Unknown(Unjudged::TooFast) => text!(
            "all of it came at once, right after the request: too fast to tell a buffer from a fast source",
            "请求后立刻一次到齐：太快了，分不清是缓冲还是源头很快"
        ),
    }
}

/// The finding of a verdict, with the repair for each hop that may be the cause.
pub(crate) fn finding(verdict: &Verdict, what: &Text, suspects: &[Suspect]) -> Option<Finding> {
    let cause = Cause::of(verdict)?;
    let (title, meaning) = (title(verdict), meaning(verdict));
    let sentence = Text {
        en: format!("{} is {}: {}.", what.en, title.en, meaning.en),
        zh: format!("{}{}：{}。", what.zh, title.zh, meaning.zh),
    };
    let mut fixes: Vec<_> = suspects.iter().filter_map(|suspect| fix(cause, suspect.hop)).collect();
    if fixes.is_empty() {
        fixes = all(cause);
    }
    Some(Finding::problem(verdict.name(), sentence).fixed_by(fixes))
}

/// How an edge compares with its origin.
pub(crate) fn attribution(edge: &Verdict, origin: &Verdict, what: &Text) -> Option<Finding> {
    let (what, zh) = (&what.en, &what.zh);
    match (edge.is_problem(), origin.is_problem()) {
        (true, false) => Some(Finding::problem(
            "held_between",
            text!(
                "{what} is held back between the origin and the edge: the origin itself sends it steadily.",
                "{zh}是在源站和边缘之间被扣住的：源站本身发送平稳。"
            ),
        )),
        (true, true) => Some(Finding::problem(
            "held_at_origin",
            text!(
                "{what} is held back at the origin already: what stands before it is not the cause.",
                "{zh}在源站就已经被扣住：前面的代理不是原因。"
            ),
        )),
        (false, true) => Some(Finding::note(
            "held_at_origin_only",
            text!(
                "{what} is held back at the address that was named as origin, but not at the edge.",
                "{zh}在被指定为源站的地址上被扣住，而边缘没有。"
            ),
        )),
        (false, false) => None,
    }
}

/// How much longer the edge takes to the first event.
pub(crate) fn first_event(edge: Duration, origin: Duration) -> Text {
    let (edge_words, origin_words) = (milliseconds(edge), milliseconds(origin));
    text!(
        "first event: {edge_words} at the edge, {origin_words} at the origin",
        "首个事件：边缘 {edge_words}，源站 {origin_words}"
    )
}
