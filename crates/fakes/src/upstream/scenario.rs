//! Scripts chosen by the model's name, for `weir-fakes`.

use std::time::Duration;

use super::script::Script;
use super::vendor_error::VendorError;

/// The pause between the pieces of `slow`.
const SLOW: Duration = Duration::from_millis(50);

/// The `Retry-After` of `error-429`.
const WAIT: Duration = Duration::from_secs(7);

/// The names of the scenarios, in the order of the list of models.
pub const SCENARIOS: &[&str] = &[
    "text",
    "reasoning",
    "tool",
    "tools",
    "refusal",
    "blocked",
    "length",
    "error-400",
    "error-401",
    "error-402",
    "error-404",
    "error-429",
    "error-500",
    "error-overloaded",
    "error-in-band",
    "cut",
    "reset",
    "unfinished",
    "keep-alive",
    "byte-by-byte",
    "slow",
    "stall",
];

/// The script of a scenario; `None` if the name is unknown.
pub fn scenario(name: &str) -> Option<Script> {
    let start = || Script::text(&["Hello", ", ", "world", "!"]).first(3);
    Some(match name {
        "text" => Script::text(&["Hello", ", ", "world", "!"]),
        "reasoning" => Script::reasoning(&["Let me ", "think."], &["It is ", "four."]),
        "tool" => Script::tool_call("get_weather", "call_1", &["{\"city\":", "\"Paris\"}"]),
        "tools" => Script::new()
            .role()
            .content("I look. ")
            .call(0, "call_1", "get_weather", &["{\"city\":", "\"Paris\"}"])
            .call(1, "call_2", "get_weather", &["{\"city\":", "\"Rome\"}"])
            .finish("tool_calls")
            .usage(9, 5, 0)
            .done(),
        "refusal" => Script::refusal(&["I cannot ", "help with that."]),
        "blocked" => Script::blocked(),
        "length" => {
            Script::new().role().contents(&["Once ", "upon"]).finish("length").usage(9, 2, 0).done()
        }
        "error-400" => Script::refused(400, VendorError::Invalid),
        "error-401" => Script::refused_as(VendorError::InvalidKey),
        "error-402" => Script::refused(402, VendorError::Quota),
        "error-404" => Script::refused(404, VendorError::NotFound),
        "error-429" => Script::refused_for(429, VendorError::RateLimit, WAIT),
        "error-500" => Script::refused(500, VendorError::Internal),
        "error-overloaded" => Script::refused_as(VendorError::Overloaded),
        "error-in-band" => start().failure(VendorError::Overloaded).end(),
        "cut" => start().fin(),
        "reset" => start().rst(),
        "unfinished" => start().done(),
        "keep-alive" => Script::new()
            .comment()
            .role()
            .comment()
            .content("Hello")
            .finish("stop")
            .usage(9, 1, 0)
            .done(),
        "byte-by-byte" => Script::text(&["H\u{e9}llo", ", ", "\u{4e16}\u{754c}"]).byte_by_byte(),
        "slow" => Script::text(&["Hello", ", ", "world", "!"]).paced(SLOW),
        "stall" => start().stall(),
        _ => return None,
    })
}
