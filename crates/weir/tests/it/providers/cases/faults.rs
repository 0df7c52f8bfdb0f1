//! The faults: what fails at a vendor, and how the client is told.

use std::time::Duration;

use fakes::Vendor::{Anthropic, Gemini, Ollama};
use fakes::{Script, Step, Vendor, VendorError};

use super::{VendorCase, case};
use crate::providers::vendors::WaitLimit;
use crate::scenarios::content::ResponseContent;
use crate::scenarios::table::{ExpectedOutcome, ExpectedUsage};

/// Every fault of a vendor.
pub(super) fn of(vendor: Vendor) -> Vec<VendorCase> {
    refusals(vendor)
        .into_iter()
        .chain(in_band(vendor))
        .chain(breaks(vendor))
        .chain(silences())
        .collect()
}

/// A failure before any output.
fn before(name: &str, script: Script, status: u16, code: &'static str) -> VendorCase {
    case(
        name,
        script,
        ResponseContent::default(),
        ExpectedOutcome::Fails { status, code, after_output: false },
        ExpectedUsage::Unknown,
    )
}

/// A failure after some output.
fn after(name: &str, script: Script, status: u16, code: &'static str) -> VendorCase {
    case(
        name,
        script,
        ResponseContent::text("Once upon"),
        ExpectedOutcome::Fails { status, code, after_output: true },
        ExpectedUsage::Counted,
    )
}

fn begun() -> Script {
    Script::new().role().content("Once upon")
}

/// An error response in the vendor's format.
fn refusals(vendor: Vendor) -> Vec<VendorCase> {
    let refused =
        |name: &str, trouble, status, code| before(name, Script::refused_as(trouble), status, code);
    let wait = Duration::from_secs(7);
    vec![
        refused("400", VendorError::Invalid, 400, "upstream_invalid_request"),
        refused("400, too long", VendorError::ContextLength, 400, "context_length_exceeded"),
        refused("413", VendorError::TooLarge, 413, "upstream_invalid_request"),
        before(
            "422, too long",
            Script::refused(422, VendorError::ContextLength),
            422,
            "context_length_exceeded",
        ),
        before(
            "413, too long",
            Script::refused(413, VendorError::ContextLength),
            413,
            "context_length_exceeded",
        ),
        refused("401", VendorError::InvalidKey, 502, "upstream_authentication_failed"),
        refused("402", VendorError::Quota, 502, "upstream_quota_exhausted"),
        refused("403", VendorError::Permission, 502, "upstream_authentication_failed"),
        refused("404", VendorError::NotFound, 404, "model_not_found"),
        VendorCase {
            // Ollama cannot say how long.
            retry_after: (vendor != Ollama).then_some("7"),
            ..before(
                "429",
                Script::refused_for(429, VendorError::RateLimit, wait),
                429,
                "rate_limit_exceeded",
            )
        },
        refused("500", VendorError::Internal, 502, "upstream_error"),
        refused("503", VendorError::Overloaded, 503, "upstream_overloaded"),
        refused("504", VendorError::Timeout, 504, "upstream_timeout"),
    ]
}

/// An error in a stream with status 200.
fn in_band(vendor: Vendor) -> Vec<VendorCase> {
    // Ollama's errors have only a message.
    let rate =
        if vendor == Ollama { (502, "upstream_error") } else { (429, "rate_limit_exceeded") };
    // OpenAI has no separate code for an overload.
    let overloaded = if matches!(vendor, Anthropic | Gemini) {
        (503, "upstream_overloaded")
    } else {
        (502, "upstream_error")
    };
    let at_once = |trouble| Script::new().failure(trouble).end();
    vec![
        before("error in band at once", at_once(VendorError::Internal), 502, "upstream_error"),
        before("rate in band at once", at_once(VendorError::RateLimit), rate.0, rate.1),
        after("error in band", begun().failure(VendorError::Internal).end(), 502, "upstream_error"),
        after("rate in band", begun().failure(VendorError::RateLimit).end(), rate.0, rate.1),
        after(
            "overload in band",
            begun().failure(VendorError::Overloaded).end(),
            overloaded.0,
            overloaded.1,
        ),
    ]
}

/// Broken connections, and bytes that are not a response.
fn breaks(vendor: Vendor) -> Vec<VendorCase> {
    let garbage =
        if vendor == Ollama { "{\"message\":{oops\n" } else { "data: {\"choices\":[oops\n\n" };
    vec![
        before("FIN before the head", Script::new().step(Step::Fin), 502, "upstream_unreachable"),
        before("RST before the head", Script::new().rst(), 502, "upstream_unreachable"),
        before("FIN after the head", Script::new().head().fin(), 502, "upstream_cut"),
        before("RST after the head", Script::new().head().rst(), 502, "upstream_cut"),
        after("FIN", begun().fin(), 502, "upstream_cut"),
        after("RST", begun().rst(), 502, "upstream_cut"),
        before("end without a word", Script::new().head().end(), 502, "upstream_truncated"),
        after("end without a reason", begun().end(), 502, "upstream_truncated"),
        before("garbage at once", Script::new().raw(garbage).stall(), 502, "upstream_invalid_data"),
        after("garbage", begun().raw(garbage).stall(), 502, "upstream_invalid_data"),
        before(
            "page of HTML",
            Script::new().raw("<html>login</html>").end(),
            502,
            "upstream_invalid_data",
        ),
    ]
}

/// Nothing but keep-alives.
fn silences() -> Vec<VendorCase> {
    let first = before(
        "silence at once",
        Script::new().role().comment().stall(),
        504,
        "upstream_first_token_timeout",
    );
    let idle = after("silence", begun().comment().stall(), 504, "upstream_idle_timeout");
    vec![
        VendorCase { patience: WaitLimit::ShortFirstToken, ..first },
        VendorCase { patience: WaitLimit::ShortIdle, ..idle },
    ]
}
