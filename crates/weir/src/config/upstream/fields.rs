//! The keys of an `[[upstream]]`, and the values that have a fixed set.

use std::time::Duration;

use engine::provider::route::Timeouts;
use provider::config::Strategy;

/// The keys of an `[[upstream]]`, each with its line of the example.
pub(in crate::config) const KEYS: &[(&str, &str)] = &[
    ("name", r#""local"                          # for logs and routes; unique"#),
    (
        "kind",
        r#""ollama"                         # the vendor: openai, azure, anthropic, gemini, ollama, deepseek, qwen, moonshot, openrouter, vllm, llamacpp, lmstudio; else "compatible""#,
    ),
    (
        "wire",
        r#""chat"                           # its API, if not the usual one of its kind: chat, responses, anthropic, gemini or ollama"#,
    ),
    ("base_url", r#""http://localhost:11434/v1"  # up to and including /v1; a kind has a default"#),
    ("api_key_env", r#""LOCAL_API_KEY"           # the variable that holds its key; or:"#),
    (
        "api_key_file",
        r#""local.key"              # the file that holds it, or several, a line for each; or:"#,
    ),
    ("api_key", r#""sk-…"                        # the key itself. All three may be lists"#),
    ("key_weights", r#"["3", "1"]                # the share of each key; equal by default"#),
    (
        "key_strategy",
        r#""least_busy"             # which key is next: least_busy, round_robin, random or order"#,
    ),
    (
        "key_concurrency",
        r"0                             # how many responses may run on a key at once; 0: no limit",
    ),
    (
        "key_rest",
        r#""10m"                        # the longest time that a refused or rate-limited key rests; 0s: none does"#,
    ),
    (
        "breaker",
        r"5                                     # failures in a row after which nothing is sent there for a while; 0: never",
    ),
    ("queue", r"1000                                    # how many calls may wait for a free key"),
    ("queue_timeout", r#""30s"                   # how long they wait"#),
    (
        "models",
        r#"["qwen3", "gemma3"]            # what it serves; default: what it lists, and any name no other upstream serves"#,
    ),
    (
        "proxy",
        r#""socks5://user:password@proxy:1080"  # http://, https:// or socks5://; "none"; default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY"#,
    ),
    (
        "ca_file",
        r#""authority.pem"               # authorities to trust in addition to the system's"#,
    ),
    (
        "http2",
        r"false                                  # HTTP/2 if TLS offers it, and always without TLS",
    ),
    ("headers", r#"["X-Title: Weir"]             # sent with every request"#),
    (
        "body",
        r#"'{"top_k": 40}'                  # fields that are added to the body of every request, as JSON"#,
    ),
    (
        "stream_options",
        r"true                           # false: the upstream refuses `stream_options`, so its usage is counted",
    ),
    (
        "system_messages",
        r#""first"               # first: all in one, at the start; in_place: each where it is; a kind has a default"#,
    ),
    (
        "reasoning_history",
        r#""with_calls"         # which earlier reasoning goes back: never, with_calls (before tool calls) or always; a kind has a default"#,
    ),
    (
        "hosted_tools",
        r#""omit"                   # tools that the upstream would have to run (web_search…): omit, refuse or pass"#,
    ),
    (
        "unknown_tools",
        r#""pass"                  # calls of tools that were not offered: pass or refuse"#,
    ),
    ("connect_timeout", r#""10s"                 # default: [timeouts]"#),
    ("headers_timeout", r#""2m""#),
    ("first_token_timeout", r#""10m""#),
    ("idle_timeout", r#""2m""#),
    ("keep_alive_timeout", r#""10m""#),
    ("total_timeout", r#""0s""#),
];

/// The field of a timeout.
pub(super) type TimeoutField = fn(&mut Timeouts) -> &mut Duration;

/// Each timeout: its key, the setting of its default, its minimum, and its field.
pub(super) const TIMEOUTS: [(&str, &str, Duration, TimeoutField); 6] = [
    ("connect_timeout", "timeouts.connect", Duration::from_millis(1), |timeouts| {
        &mut timeouts.connect
    }),
    ("headers_timeout", "timeouts.headers", Duration::from_millis(1), |timeouts| {
        &mut timeouts.headers
    }),
    ("first_token_timeout", "timeouts.first_token", Duration::from_millis(1), |timeouts| {
        &mut timeouts.first_token
    }),
    ("idle_timeout", "timeouts.idle", Duration::from_millis(1), |timeouts| &mut timeouts.idle),
    ("keep_alive_timeout", "timeouts.keep_alive", Duration::from_millis(1), |timeouts| {
        &mut timeouts.keep_alive
    }),
    ("total_timeout", "timeouts.total", Duration::ZERO, |timeouts| &mut timeouts.total),
];

/// The names of the strategies for choosing a key.
pub(in crate::config) const STRATEGIES: &[(&str, Strategy)] = &[
    ("least_busy", Strategy::LeastBusy),
    ("round_robin", Strategy::RoundRobin),
    ("random", Strategy::Random),
    ("order", Strategy::Order),
];
