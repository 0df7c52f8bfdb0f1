//! Whether a stream is framed as its API says: the bytes, then the events of each dialect.

mod chat;
mod messages;
mod responses;
pub mod stream;

use serde_json::Value;

use crate::decode::BodyFormat;
use crate::dialect::Dialect;
use crate::finding::Finding;
use crate::reader::{SeenEvent, StreamEnd};
use crate::scan::ByteScan;
use crate::text::text;
use stream::FramedStream;

/// Checks a stream.
pub fn check(stream: &FramedStream<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    head(stream, &mut findings);
    if let Some(scan) = stream.scan {
        bytes(stream, scan, &mut findings);
    }
    documents(stream, &mut findings);
    ending(stream, &mut findings);
    match stream.dialect {
        Dialect::Chat => chat::check(stream, &mut findings),
        Dialect::Responses => responses::check(stream, &mut findings),
        Dialect::Messages => messages::check(stream, &mut findings),
        Dialect::OllamaChat
        | Dialect::OllamaGenerate
        | Dialect::Gemini
        | Dialect::Source
        | Dialect::Plain => {}
    }
    findings
}

fn head(stream: &FramedStream<'_>, findings: &mut Vec<Finding>) {
    let Some(value) = stream.scan.map(|_| stream.headers.get("content-type").unwrap_or_default())
    else {
        return;
    };
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if stream.format != BodyFormat::Opaque && BodyFormat::of(media_type) != Some(stream.format) {
        let expected = match stream.format {
            BodyFormat::Sse => "text/event-stream",
            BodyFormat::Ndjson | BodyFormat::Opaque => "application/x-ndjson",
        };
        findings.push(Finding::problem(
            "content_type",
            text!(
                "The content type is {media_type:?}; clients and proxies expect {expected}.",
                "内容类型是 {media_type:?}，而客户端和代理期望 {expected}。"
            ),
        ));
    }
    if let Some(length) = stream.headers.get("content-length") {
        findings.push(Finding::problem(
            "content_length",
            text!(
                "The stream has content-length: {length}: something collected all of it before it sent the head.",
                "流式响应带有 content-length: {length}：有一跳在发送响应头之前收齐了全部内容。"
            ),
        ));
    }
    let control = stream.headers.all("cache-control").collect::<Vec<_>>().join(", ");
    if stream.format == BodyFormat::Sse && !control.contains("no-transform") {
        findings.push(Finding::note(
            "no_transform",
            text!(
                "There is no Cache-Control: no-transform, so a hop may compress the stream.",
                "没有 Cache-Control: no-transform，途中的代理可能会压缩这个流。"
            ),
        ));
    }
}

fn bytes(stream: &FramedStream<'_>, scan: &ByteScan, findings: &mut Vec<Finding>) {
    if scan.is_not_utf8 {
        findings.push(Finding::problem(
            "not_utf8",
            text!(
                "The body is not UTF-8: clients show replacement characters, or fail.",
                "响应体不是合法的 UTF-8：客户端会显示乱码或直接出错。"
            ),
        ));
    }
    if stream.is_whole() && scan.ends_inside_character() {
        findings.push(Finding::problem(
            "cut_character",
            text!("The body ends inside of a character.", "响应体在一个字符中间结束。"),
        ));
    }
    if scan.has_byte_order_mark {
        findings.push(Finding::note(
            "byte_order_mark",
            text!(
                "The body starts with a byte order mark, which some parsers take for a part of the first field.",
                "响应体以 BOM 开头，有些解析器会把它当成第一个字段的一部分。"
            ),
        ));
    }
    if scan.has_nul {
        findings
            .push(Finding::note("nul", text!("The body contains a NUL.", "响应体里有 NUL 字节。")));
    }
    if stream.is_whole() && stream.ends_inside_event {
        findings.push(Finding::problem(
            "unterminated_event",
            text!(
                "The last event lacks its blank line: browsers drop it.",
                "最后一个事件后面没有空行：浏览器会丢弃它。"
            ),
        ));
    }
    if matches!(stream.dialect, Dialect::Chat | Dialect::Responses)
        && stream
            .events
            .iter()
            .any(|event| event.fields.id.is_some() || event.fields.retry.is_some())
    {
        findings.push(Finding::problem(
            "id_or_retry",
            text!(
                "Events have id: or retry:, after which openai-python takes a blank line for an event and fails.",
                "事件里有 id: 或 retry:，openai-python 之后会把空行当成事件而出错。"
            ),
        ));
    }
}

fn documents(stream: &FramedStream<'_>, findings: &mut Vec<Finding>) {
    if stream.dialect == Dialect::Plain && stream.format != BodyFormat::Ndjson {
        return;
    }
    let is_document = |event: &&SeenEvent| {
        event.is_sentinel() || serde_json::from_slice::<Value>(&event.fields.data).is_ok()
    };
    let wrong = stream.events.iter().filter(|event| !is_document(event)).count();
    if wrong > 0 {
        let all = stream.events.len();
        findings.push(Finding::problem(
            "not_json",
            text!(
                "{wrong} of {all} events are not JSON: their SDK fails at them.",
                "{all} 个事件中有 {wrong} 个不是 JSON：SDK 解析时会出错。"
            ),
        ));
    }
}

fn ending(stream: &FramedStream<'_>, findings: &mut Vec<Finding>) {
    let dialect = stream.dialect;
    match stream.end {
        StreamEnd::Broken(_) => findings.push(Finding::problem(
            "broken_off",
            text!(
                "The body was broken off: the connection ended before the body did.",
                "响应体被中途切断：连接先于响应体结束。"
            ),
        )),
        StreamEnd::Silent => findings.push(Finding::problem(
            "silent",
            text!(
                "The stream fell silent, and the probe stopped waiting (--timeout).",
                "流一直没有新数据，探测已停止等待（--timeout）。"
            ),
        )),
        StreamEnd::Complete | StreamEnd::Closed | StreamEnd::Stopped => {}
    }
    if !stream.is_whole() || stream.events.is_empty() {
        return;
    }
    let terminal = stream.events.iter().rposition(|event| dialect.is_terminal(event) == Some(true));
    let knows = stream.events.iter().any(|event| dialect.is_terminal(event).is_some());
    let title = dialect.title();
    match terminal {
        None if knows => findings.push(Finding::problem(
            "no_terminal_event",
            text!(
                "The stream ended without the last event of {title}: a client cannot tell it from one that was cut.",
                "流结束了，却没有 {title} 的结束事件：客户端无法区分正常结束和被切断。"
            ),
        )),
        Some(index) => {
            // A Weir ends its Responses with the sentinel of Chat Completions too, which SDKs read.
            let later = stream.events.iter().skip(index + 1);
            let more = later.filter(|event| !event.is_sentinel()).count();
            if more > 0 {
                findings.push(Finding::problem(
                    "after_the_end",
                    text!(
                        "Something follows the event that says the response is over (events: {more}).",
                        "在表示结束的事件之后还有内容（{more} 个事件）。"
                    ),
                ));
            }
        }
        None => {}
    }
}

#[cfg(test)]
mod tests;
