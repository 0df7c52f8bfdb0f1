//! Reads the body of `POST /v1/responses/compact`.

use serde_json::{Map, Value};

use super::request::{check_input, read_common};
use crate::fault::Fault;
use crate::read::RequestValue;
use crate::request::{Create, TextConfig, ToolChoice, ToolMode};

/// Reads the body of `POST /v1/responses/compact` (`CompactResponseMethodPublicBody`) as a request
/// for a summary, which is not stored. Clients send what they create with, so those fields are
/// taken too; the ones that would make something else than a plain text of the summary (tools, a
/// schema, a limit) are left out.
///
/// # Errors
/// The first field that is wrong, by its path. A stream or a background response, as there is
/// neither.
pub fn read_compact(body: &Value) -> Result<Create, Fault> {
    let root = RequestValue::root(body).object()?;
    let create = read_common(&root)?;
    check_input(&root, &create, "compact")?;
    for (field, is_wanted) in [("stream", create.stream), ("background", create.background)] {
        if is_wanted {
            return Err(Fault::invalid(
                "unsupported_value",
                field,
                format!("A compaction returns one JSON document: '{field}' cannot be true."),
            ));
        }
    }
    Ok(Create {
        tools: Vec::new(),
        tool_choice: ToolChoice::Mode(ToolMode::Auto),
        parallel_tool_calls: None,
        text: TextConfig::default(),
        top_logprobs: None,
        max_output_tokens: None,
        max_tool_calls: None,
        include: Vec::new(),
        metadata: Map::new(),
        store: false,
        ..create
    })
}
