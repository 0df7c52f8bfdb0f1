//! Scripts that the model's name chooses, for servers that no test has scripted.

use std::time::Duration;

use super::said::Trouble;
use super::script::Script;

/// The pause between the pieces of `slow`.
const SLOW: Duration = Duration::from_millis(50);

/// How long `error-429` says one should wait.
const WAIT: Duration = Duration::from_secs(7);

/// The names, in the order of the list of models.
pub const NAMES: &[&str] = &[
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

/// The script of a scenario; `None` if there is none of this name.
pub fn script(name: &str) -> Option<Script> {
    let begun = || Script::text(&["Hello", ", ", "world", "!"]).first(3);
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
        "length" => Script::new().role().contents(&["Once ", "upon"]).finish("length").usage(9, 2, 0).done(),
        "error-400" => Script::refused(400, Trouble::Invalid),
        "error-401" => Script::refused_as(Trouble::Key),
        "error-402" => Script::refused(402, Trouble::Money),
        "error-404" => Script::refused(404, Trouble::NotFound),
        "error-429" => Script::refused_for(429, Trouble::RateLimit, WAIT),
        "error-500" => Script::refused(500, Trouble::Broken),
        "error-overloaded" => Script::refused_as(Trouble::Overloaded),
        "error-in-band" => begun().failure(Trouble::Overloaded).end(),
        "cut" => begun().fin(),
        "reset" => begun().rst(),
        "unfinished" => begun().done(),
        "keep-alive" => Script::new().comment().role().comment().content("Hello").finish("stop").usage(9, 1, 0).done(),
        "byte-by-byte" => Script::text(&["H\u{e9}llo", ", ", "\u{4e16}\u{754c}"]).byte_by_byte(),
        "slow" => Script::text(&["Hello", ", ", "world", "!"]).paced(SLOW),
        "stall" => begun().stall(),
        _ => return None,
    })
}
