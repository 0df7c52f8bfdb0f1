//! Reads the body of `POST /v1/responses/compact`, and the item it gave when that comes back.

use serde_json::{Map, Value};

use super::{check_input, read_common};
use crate::compaction;
use crate::fault::Fault;
use crate::read::Node;
use crate::request::{Create, TextConfig, ToolChoice, ToolMode};

/// Reads the body of `POST /v1/responses/compact` (`CompactResponseMethodPublicBody`) as a request for a summary, which is
/// not stored. Clients send what they create with, so those fields are taken too; the ones that would make something else
/// than a plain text of the summary (tools, a schema, a limit) are left out.
///
/// # Errors
/// The first field that is wrong, by its path. A stream or a background answer, which there is none of.
pub fn read_compact(body: &Value) -> Result<Create, Fault> {
    let root = Node::root(body).object()?;
    let create = read_common(&root)?;
    check_input(&root, &create, "compact")?;
    for (field, is_wanted) in [("stream", create.stream), ("background", create.background)] {
        if is_wanted {
            return Err(Fault::invalid("unsupported_value", field, format!("A compaction is one JSON answer: '{field}' cannot be true.")));
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

/// Reads an `encrypted_content`.
pub(super) fn read_content(node: &Node<'_>) -> Result<String, Fault> {
    compaction::decode(&node.string()?).ok_or_else(|| {
        let message = format!("'{}' was not made by this server's /v1/responses/compact, or was changed since.", node.path());
        Fault::invalid("invalid_encrypted_content", node.path(), message)
    })
}
