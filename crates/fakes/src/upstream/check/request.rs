//! What a request asks for, from its path and its body.

use protocol::passthrough::Operation;
use serde_json::Value;

use crate::upstream::vendor::{RequestKind, Route, Vendor};

/// Whether the request is for a streamed response.
pub(crate) fn is_stream(route: &Route, body: &Value) -> bool {
    match &route.kind {
        RequestKind::Response { is_stream: Some(is_stream), .. } => *is_stream,
        // Ollama streams by default.
        RequestKind::Response { is_stream: None, .. } if route.vendor == Vendor::Ollama => {
            body["stream"] != false
        }
        RequestKind::Response { is_stream: None, .. }
        | RequestKind::Passthrough { operation: Operation::Completions, .. } => {
            body["stream"] == true
        }
        RequestKind::Passthrough { .. } | RequestKind::Models => false,
    }
}

/// The requested model.
pub(crate) fn model(route: &Route, body: &Value) -> Option<String> {
    let in_path = match &route.kind {
        RequestKind::Response { model, .. } | RequestKind::Passthrough { model, .. } => {
            model.clone()
        }
        RequestKind::Models => None,
    };
    in_path.or_else(|| body["model"].as_str().map(str::to_owned))
}
