//! Translates citations to Open Responses annotations.

use engine::provider::event::ModelEvent;
use serde_json::{Value, json};

use super::super::super::parsed_output::ParsedOutput;
use super::super::super::shared::is_web_address;

/// Citations of the open text block. Anthropic starts a new block for every cited passage.
#[derive(Debug, Default)]
pub(super) struct Citations {
    /// The length of the content part's text so far, in characters.
    written: usize,
    /// Where the block starts in it.
    start: usize,
    list: Vec<Value>,
}

impl Citations {
    /// Other content follows: the next text starts a new content part.
    pub(super) fn part(&mut self) {
        *self = Self::default();
    }

    /// A text block starts.
    pub(super) fn start(&mut self, citations: Vec<Value>) {
        self.start = self.written;
        self.list = citations;
    }

    /// Counts text.
    pub(super) fn wrote(&mut self, text: &str) {
        self.written += text.chars().count();
    }

    /// Adds a citation to the block.
    pub(super) fn add(&mut self, citation: Option<Value>) {
        self.list.extend(citation);
    }

    /// The block ends, so that the range of its citations is known.
    pub(super) fn end(&mut self, said: &mut ParsedOutput) {
        for citation in std::mem::take(&mut self.list) {
            if let Some(annotation) = url_citation(&citation, self.start, self.written) {
                said.word(ModelEvent::Annotation(annotation));
            }
        }
    }
}

/// Open Responses has URL citations only; citations of documents that the caller sent are left out.
fn url_citation(citation: &Value, start: usize, end: usize) -> Option<Value> {
    let text = |name: &str| citation.get(name)?.as_str().filter(|text| !text.is_empty());
    let url = text("url").or_else(|| text("source")).filter(|url| is_web_address(url))?;
    let title = text("title").unwrap_or(url);
    Some(
        json!({ "type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end }),
    )
}
