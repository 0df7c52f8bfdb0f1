//! The lines of an export, version 1. A reader ignores unknown fields.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The format in the first line.
pub(super) const FORMAT: &str = "weir-store";

/// The version of everything below.
pub(super) const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExportLine {
    /// The first line.
    Header(ExportHeader),
    /// A response with its items and log. The one it continues comes before it.
    Answer(Box<ExportedResponse>),
    /// The head of a named conversation.
    Head(ExportedHead),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportHeader {
    pub(super) format: String,
    pub(super) version: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportedResponse {
    /// `None` if it was deleted and others continue it.
    pub(super) id: Option<String>,
    pub(super) owner: String,
    pub(super) state: ExportedState,
    pub(super) readable: bool,
    pub(super) parent: Option<String>,
    pub(super) head: Option<String>,
    pub(super) ended_at: Option<u64>,
    pub(super) place: Option<i64>,
    pub(super) claims: Vec<ExportedClaim>,
    pub(super) items: Vec<ExportedItem>,
    /// The `data` of its log's entries. `None` without a stored log.
    pub(super) events: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExportedState {
    Ended,
    Expired,
    Deleted,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportedItem {
    pub(super) id: String,
    pub(super) side: ExportedSide,
    pub(super) parent: Option<String>,
    /// `None` if its text was deleted.
    pub(super) json: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExportedSide {
    Input,
    Output,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportedClaim {
    pub(super) key: String,
    /// In hexadecimal digits.
    pub(super) request: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportedHead {
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) answer: String,
    pub(super) used_at: u64,
}
