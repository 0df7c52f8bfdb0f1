//! A body of one JSON document.

use anyhow::{Context, Result, ensure};
use codec::json;
use serde_json::Value;

use crate::response::{BodyEnd, Response};

/// The document, whatever the status.
///
/// # Errors
/// The content type is not JSON, the body was cut, or it is not valid JSON.
pub async fn value(response: &mut Response) -> Result<Value> {
    response.ensure_media_type(json::CONTENT_TYPE)?;
    let (body, end) = response.collect().await?;
    ensure!(end == BodyEnd::Clean, "the body was cut after {} bytes", body.len());
    serde_json::from_slice(&body)
        .with_context(|| format!("not JSON: {:?}", String::from_utf8_lossy(&body)))
}
