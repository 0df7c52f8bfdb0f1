//! OpenAI's Responses: numbered events whose names are their types, and deltas that add up.

use std::collections::HashMap;

use serde_json::Value;

use crate::finding::Finding;
use crate::text::text;

use super::stream::FramedStream;

pub(super) fn check(stream: &FramedStream<'_>, findings: &mut Vec<Finding>) {
    let (mut expected, mut jumps, mut unnumbered, mut misnamed) = (None::<u64>, 0, 0, 0);
    let mut texts: HashMap<String, String> = HashMap::new();
    let mut differing = 0;
    for (event, document) in stream.documents() {
        match document["sequence_number"].as_u64() {
            Some(number) => {
                jumps += usize::from(expected.is_some_and(|expected| expected != number));
                expected = Some(number + 1);
            }
            // An error that is not a part of the log has no number.
            None => unnumbered += usize::from(document["type"] != "error"),
        }
        let kind = document["type"].as_str().unwrap_or_default();
        misnamed += usize::from(event.fields.name.as_deref().is_some_and(|name| name != kind));
        let part = format!("{}/{}", document["item_id"], document["content_index"]);
        match kind {
            "response.output_text.delta" => {
                let delta = document["delta"].as_str().unwrap_or_default();
                texts.entry(part).or_default().push_str(delta);
            }
            "response.output_text.done" => {
                differing += usize::from(differs(&texts, &part, &document));
            }
            _ => {}
        }
    }
    if jumps > 0 {
        findings.push(Finding::problem(
            "sequence_gap",
            text!(
                "The sequence numbers jump {jumps} times: events were lost, or came twice.",
                "序号有 {jumps} 次跳变：事件丢失或重复。"
            ),
        ));
    }
    if unnumbered > 0 {
        findings.push(Finding::note(
            "no_sequence_number",
            text!(
                "{unnumbered} events have no sequence_number, so a client cannot resume after them.",
                "{unnumbered} 个事件没有 sequence_number，客户端无法从它们之后续传。"
            ),
        ));
    }
    if misnamed > 0 {
        findings.push(Finding::problem(
            "event_name",
            text!(
                "{misnamed} events have a name that is not their type.",
                "{misnamed} 个事件的名称与它的 type 不一致。"
            ),
        ));
    }
    if differing > 0 {
        findings.push(Finding::problem(
            "text_differs",
            text!(
                "The deltas of {differing} texts do not add up to the whole that follows them.",
                "{differing} 段文本的增量拼起来与随后给出的全文不一致。"
            ),
        ));
    }
}

fn differs(texts: &HashMap<String, String>, part: &str, document: &Value) -> bool {
    // A stream that was resumed lacks the first deltas.
    texts.get(part).zip(document["text"].as_str()).is_some_and(|(sum, whole)| sum != whole)
}
