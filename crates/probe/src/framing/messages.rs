//! Anthropic's Messages: blocks that open and close, and a reason why the message ends.

use crate::finding::Finding;
use crate::text::text;

use super::stream::FramedStream;

pub(super) fn check(stream: &FramedStream<'_>, findings: &mut Vec<Finding>) {
    let (mut open, mut disorder, mut has_reason, mut misnamed) = (None::<u64>, 0, false, 0);
    let mut first = None;
    for (event, document) in stream.documents() {
        let kind = document["type"].as_str().unwrap_or_default();
        misnamed += usize::from(event.fields.name.as_deref() != Some(kind));
        if kind != "ping" {
            first.get_or_insert_with(|| kind.to_owned());
        }
        let index = document["index"].as_u64();
        match kind {
            "content_block_start" => {
                disorder += usize::from(open.is_some());
                open = index;
            }
            "content_block_delta" => disorder += usize::from(open != index),
            "content_block_stop" => {
                disorder += usize::from(open != index);
                open = None;
            }
            "message_delta" => has_reason |= document["delta"]["stop_reason"].is_string(),
            "error" => findings.push(Finding::problem(
                "error_event",
                text!("The stream contains an error.", "流里包含一个错误。"),
            )),
            _ => {}
        }
    }
    if first.is_some_and(|first| first != "message_start" && first != "error") {
        findings.push(Finding::problem(
            "no_start",
            text!("The first event is not message_start.", "第一个事件不是 message_start。"),
        ));
    }
    if disorder > 0 {
        findings.push(Finding::problem(
            "block_order",
            text!(
                "{disorder} events belong to a block that is not open.",
                "{disorder} 个事件属于一个没有打开的内容块。"
            ),
        ));
    }
    if misnamed > 0 {
        findings.push(Finding::problem(
            "event_name",
            text!(
                "{misnamed} events have a name that is not their type; the SDK skips those.",
                "{misnamed} 个事件的名称与它的 type 不一致，SDK 会跳过它们。"
            ),
        ));
    }
    if stream.is_whole() && !has_reason && !stream.events.is_empty() {
        findings.push(Finding::problem(
            "no_finish_reason",
            text!(
                "No message_delta has a stop_reason: nothing says why the text ends.",
                "没有任何 message_delta 带 stop_reason：不知道文本为何结束。"
            ),
        ));
    }
}
