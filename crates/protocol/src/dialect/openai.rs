//! What OpenAI's dialects share: the shape of an error's body, and the sentinel of a stream.

use super::message::Partial;
use crate::fault::Fault;

/// The last data of a stream over Server-Sent Events. SDKs stop reading at it.
pub const DONE: &str = "[DONE]";

/// `{"error":…}`, with the partial response beside it.
pub fn error_body(fault: &Fault, partial: Option<Partial>) -> String {
    let mut body = fault.body().to_string();
    if let Some(Partial { field, json }) = partial
        && let Ok(json) = std::str::from_utf8(&json)
        && body.pop() == Some('}')
    {
        body = format!("{body},\"{field}\":{json}}}");
    }
    body
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::fault::FaultKind;

    #[test]
    fn partial_output_is_beside_the_error() {
        let fault = Fault::new(FaultKind::Upstream, "upstream_error", "no");
        let error =
            r#"{"message":"no","type":"upstream_error","code":"upstream_error","param":null}"#;
        assert_eq!(error_body(&fault, None), format!("{{\"error\":{error}}}"));
        let partial = Partial { field: "response", json: Bytes::from_static(b"{\"id\":1}") };
        assert_eq!(
            error_body(&fault, Some(partial)),
            format!("{{\"error\":{error},\"response\":{{\"id\":1}}}}")
        );
    }
}
