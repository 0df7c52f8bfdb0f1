//! Checks whether the vendor would accept a request. The rules are those of the vendors' SDKs and
//! documentation, and of the errors that their services are known to return.

pub(crate) mod findings;
pub(crate) mod key;
pub(crate) mod request;

mod anthropic;
mod chat;
mod gemini;
mod ollama;
mod passthrough;
mod responses;

use super::vendor::{RequestKind, Vendor};
use findings::{CheckedRequest, Complaint, Findings};

/// The complaints about a request, in the order of the checks. The vendor returns the first.
pub(super) fn check(checked: &CheckedRequest<'_>) -> Vec<Complaint> {
    let mut found = Findings::default();
    media_types(checked, &mut found);
    if !checked.body.is_object() {
        found.invalid("The body is not a JSON object.");
        return found.0;
    }
    if let RequestKind::Passthrough { operation, .. } = &checked.route.kind {
        passthrough::check(checked, *operation, &mut found);
        return found.0;
    }
    match checked.route.vendor {
        Vendor::OpenAi => chat::check(checked, &mut found),
        Vendor::Responses => responses::check(checked.body, &mut found),
        Vendor::Anthropic => anthropic::check(checked, &mut found),
        Vendor::Gemini => gemini::check(checked, &mut found),
        Vendor::Ollama => ollama::check(checked.body, &mut found),
    }
    found.0
}

fn media_types(checked: &CheckedRequest<'_>, found: &mut Findings) {
    let content_type = checked.headers.get("content-type").unwrap_or_default();
    if content_type.split(';').next().unwrap_or_default().trim() != "application/json" {
        found.strict(&format!("The content type is {content_type:?}, not application/json."));
    }
    // No vendor refuses an `Accept` that excludes its response, but such a request is a mistake of
    // the client.
    let Some(accept) = checked.headers.get("accept") else { return };
    let fits = |media_type: &str| {
        accept
            .split(',')
            .any(|range| range.split(';').next().unwrap_or_default().trim() == media_type)
    };
    let is_chat = matches!(checked.route.kind, RequestKind::Response { .. });
    let stream = if checked.route.vendor == Vendor::Ollama && is_chat {
        "application/x-ndjson"
    } else {
        "text/event-stream"
    };
    if !["*/*", "application/json", stream].into_iter().any(fits) {
        found.strict(&format!("The client accepts {accept:?} only."));
    }
}
