//! The response of `POST /v1/responses/compact`.

use serde::Serialize;

use crate::id::ResponseId;
use crate::item::Item;
use crate::usage::Usage;

/// A compacted conversation (Open Responses `CompactResource`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompactedConversation {
    /// The id of the response that is the summary, `resp_…`. It is not stored.
    pub id: ResponseId,
    /// Always `response.compaction`.
    pub object: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// The first items of a new chain.
    pub output: Vec<Item>,
    /// The token counts of the summary.
    pub usage: Option<Usage>,
}
