//! What the text rests on, in Open Responses' form.

use engine::provider::event::Word;
use serde_json::{Value, json};

use super::super::super::said::Said;
use super::super::super::shared::is_web_address;

/// Citations of the block of text that is being written. Anthropic gives every cited passage a block of its own.
#[derive(Debug, Default)]
pub(super) struct Citations {
    /// How many characters of text the content part has.
    written: usize,
    /// Where in it the block begins.
    start: usize,
    list: Vec<Value>,
}

impl Citations {
    /// Something else than text comes: the next text begins a new content part.
    pub(super) fn part(&mut self) {
        *self = Self::default();
    }

    /// A block of text begins.
    pub(super) fn begin(&mut self, citations: Vec<Value>) {
        self.start = self.written;
        self.list = citations;
    }

    /// More text was written.
    pub(super) fn wrote(&mut self, text: &str) {
        self.written += text.chars().count();
    }

    /// The block has one more.
    pub(super) fn add(&mut self, citation: Option<Value>) {
        self.list.extend(citation);
    }

    /// The block has ended: now it is known how far its citations reach.
    pub(super) fn end(&mut self, said: &mut Said) {
        for citation in std::mem::take(&mut self.list) {
            if let Some(annotation) = url_citation(&citation, self.start, self.written) {
                said.word(Word::Annotation(annotation));
            }
        }
    }
}

/// Open Responses knows citations of URLs only; passages of documents that the caller sent are left out.
fn url_citation(citation: &Value, start: usize, end: usize) -> Option<Value> {
    let text = |name: &str| citation.get(name)?.as_str().filter(|text| !text.is_empty());
    let url = text("url").or_else(|| text("source")).filter(|url| is_web_address(url))?;
    let title = text("title").unwrap_or(url);
    Some(json!({ "type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end }))
}
