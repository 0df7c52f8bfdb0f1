//! Label values of metrics: each from a closed list, whatever an upstream or a caller sends.

use protocol::fault::Fault;
use protocol::response::ResponseStatus;

use super::cause::Cause;

/// Fault codes that are used as labels. Weir defines them; codes of upstreams are not among them.
const KINDS: &[&str] = &[
    "upstream_unreachable",
    "upstream_connect_timeout",
    "upstream_headers_timeout",
    "upstream_first_token_timeout",
    "upstream_idle_timeout",
    "upstream_keep_alive_timeout",
    "upstream_total_timeout",
    "upstream_queue_full",
    "upstream_unavailable",
    "upstream_timeout",
    "upstream_cut",
    "upstream_truncated",
    "upstream_invalid_data",
    "upstream_event_too_large",
    "upstream_response_too_large",
    "upstream_authentication_failed",
    "upstream_quota_exhausted",
    "upstream_invalid_request",
    "upstream_redirect",
    "upstream_overloaded",
    "upstream_error",
    "model_not_found",
    "rate_limit_exceeded",
    "tool_not_allowed",
    "tool_choice_unmet",
    "unsupported_value",
    "unsupported_operation",
    "demo_failure",
    "demo_refusal",
    "log_failed",
    "answer_too_large",
    "server_shutdown",
    "server_error",
];

/// OpenTelemetry's value for an error without a specific type.
const NAMELESS: &str = "_OTHER";

/// The kind of a fault: its code if Weir defines it, or else a kind by its status.
pub(crate) fn of_fault(fault: &Fault) -> &'static str {
    let known = KINDS.iter().find(|kind| **kind == fault.code);
    known.copied().unwrap_or(match fault.status {
        400 | 413 | 422 => "upstream_invalid_request",
        404 => "model_not_found",
        429 => "rate_limit_exceeded",
        _ => NAMELESS,
    })
}

/// Why a response was stopped.
pub(crate) fn of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Cancelled => "cancelled",
        Cause::ClientLeft => "client_left",
        Cause::Deleted => "deleted",
        Cause::KeyRevoked => "key_revoked",
        Cause::ServerShutdown => "server_shutdown",
        Cause::ServerRestarted => "server_restarted",
    }
}

/// How a response ended.
pub(crate) fn of_status(status: ResponseStatus) -> &'static str {
    match status {
        ResponseStatus::Queued => "queued",
        ResponseStatus::InProgress => "in_progress",
        ResponseStatus::Completed => "completed",
        ResponseStatus::Failed => "failed",
        ResponseStatus::Cancelled => "cancelled",
        ResponseStatus::Incomplete => "incomplete",
    }
}

/// Why a response ended early.
pub(crate) fn of_reason(reason: &str) -> &'static str {
    const REASONS: &[&str] = &[
        "max_output_tokens",
        "content_filter",
        "unknown_finish_reason",
        "cancelled",
        "client_left",
        "key_revoked",
        "server_restarted",
    ];
    REASONS.iter().find(|known| **known == reason).copied().unwrap_or(NAMELESS)
}

#[cfg(test)]
mod tests {
    use protocol::fault::FaultKind;

    use super::*;

    #[test]
    fn codes_of_upstreams_are_not_labels() {
        let of = |code: &str, status| {
            of_fault(&Fault::new(FaultKind::Upstream, code, "").with_status(status))
        };
        assert_eq!(of("upstream_cut", 502), "upstream_cut");
        assert_eq!(of("context_length_exceeded", 400), "upstream_invalid_request");
        assert_eq!(of("made_up_4711", 429), "rate_limit_exceeded");
        assert_eq!(of("made_up_4711", 502), NAMELESS);
        assert_eq!(of_reason("made up"), NAMELESS);
    }
}
