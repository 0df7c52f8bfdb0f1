//! OpenAI's Chat Completions: chunks with one id, a finish reason, `[DONE]`.

use crate::finding::Finding;
use crate::text::text;

use super::stream::FramedStream;

pub(super) fn check(stream: &FramedStream<'_>, findings: &mut Vec<Finding>) {
    let mut ids: Vec<String> = Vec::new();
    let (mut has_finish, mut without_choices, mut has_error) = (false, 0, false);
    for (_, chunk) in stream.documents() {
        if let Some(id) = chunk["id"].as_str()
            && !ids.iter().any(|known| known == id)
        {
            ids.push(id.to_owned());
        }
        has_finish |= chunk["choices"][0]["finish_reason"].is_string();
        has_error |= chunk.get("error").is_some();
        without_choices +=
            usize::from(!chunk["choices"].is_array() && chunk.get("error").is_none());
    }
    if has_error {
        findings.push(Finding::problem(
            "error_event",
            text!("The stream contains an error.", "流里包含一个错误。"),
        ));
    }
    if without_choices > 0 {
        findings.push(Finding::problem(
            "no_choices",
            text!(
                "{without_choices} chunks have no 'choices', which SDKs read without looking.",
                "{without_choices} 个数据块没有 choices，而 SDK 会直接读取它。"
            ),
        ));
    }
    let count = ids.len();
    if count > 1 {
        findings.push(Finding::note(
            "many_ids",
            text!("The chunks have {count} different ids.", "数据块有 {count} 个不同的 id。"),
        ));
    }
    if stream.is_whole() && !has_finish && !has_error && !stream.events.is_empty() {
        findings.push(Finding::problem(
            "no_finish_reason",
            text!(
                "No chunk has a finish_reason: nothing says why the text ends.",
                "没有任何数据块带 finish_reason：不知道文本为何结束。"
            ),
        ));
    }
}
