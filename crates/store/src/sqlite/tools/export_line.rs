//! The lines of an export, version 1. A reader skips fields it does not know.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the first line says.
pub(super) const FORMAT: &str = "weir-store";

/// The version of everything below.
pub(super) const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExportLine {
    /// The first one.
    Header(ExportHeader),
    /// An answer, with all that goes with it. What it continues stands above it.
    Answer(Box<ExportedResponse>),
    /// Where a named conversation stands.
    Head(ExportedHead),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportHeader {
    pub(super) format: String,
    pub(super) version: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportedResponse {
    /// `None` where it was deleted and others continue it.
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
    /// The `data` of its log's entries. `None` where no log is kept.
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
    /// `None` where its text was deleted.
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
