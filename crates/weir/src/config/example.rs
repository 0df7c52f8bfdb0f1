//! `weir.example.toml`, made of the table: every setting with its default, commented out.

use super::table::{Definition, SETTINGS};
use super::{limit, route, upstream};

/// The text of the example.
pub(crate) fn example() -> String {
    let mut parts = vec![HEAD.to_owned()];
    let mut open = "";
    for definition in SETTINGS {
        let (table, key) = definition.table_and_key();
        if table != open {
            parts.push(format!("\n[{table}]\n"));
            open = table;
        }
        parts.push(entry(definition, key));
    }
    parts.push(UPSTREAMS.to_owned());
    let line = |(key, line): &(&str, &str)| format!("# {key} = {line}\n");
    parts.extend(upstream::KEYS.iter().map(line));
    parts.push(ROUTES.to_owned());
    parts.extend(route::KEYS.iter().map(line));
    parts.push(LIMITS.to_owned());
    parts.extend(limit::KEYS.iter().map(line));
    parts.concat()
}

const HEAD: &str = "\
# Settings of Weir, with their defaults: remove the # of those you change.
# Flags and variables of the environment outrank this file. `weir config` shows what is in force, and why.
# A running server reads it again when it changes, and on SIGHUP.
# It is read from --config, else WEIR_CONFIG, else ./weir.toml, else the user's weir/weir.toml (~/.config on Linux).
# Paths in it are meant from its directory. Durations: 500ms, 30s, 2m, 1h, 7d. Bytes: 4096, 64KiB, 32MiB.
";

const UPSTREAMS: &str = "
# Models of others, in order: the first upstream that serves a model gets it. See docs/upstreams.md.
# Variables of the environment add some: OPENAI_API_KEY and OPENAI_BASE_URL, ANTHROPIC_API_KEY, GEMINI_API_KEY, OLLAMA_HOST.
# [[upstream]]
";

const ROUTES: &str = "
# Models that several upstreams serve, or that have another name there.
# [[route]]
";

const LIMITS: &str = "
# Limits of single API keys, in place of those in [limits].
# [[limit]]
";

fn entry(definition: &Definition, key: &str) -> String {
    let help = definition.help.replace('\n', "\n# ");
    let names = definition.variables().join(" or ");
    let flag = definition.flag.map(|flag| format!(" or --{flag}")).unwrap_or_default();
    // Where something else decides, any value serves as an example.
    let typed = match definition.path {
        "data" => "/var/lib/weir",
        "store.bytes" => "8GiB",
        _ => definition.default,
    };
    let value = definition.kind.toml(typed);
    let restart = if definition.needs_restart { "; a change needs a restart" } else { "" };
    format!("\n# {help}\n# ({names}{flag}{restart})\n# {key} = {value}\n")
}
