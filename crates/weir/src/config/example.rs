//! `weir.example.toml`, generated from the table: every setting with its default, commented out.

use super::table::{Definition, SETTINGS};
use super::upstream::fields;
use super::{limit, route};

/// The text of the example. Within each table, advanced settings come last.
pub(crate) fn example() -> String {
    let mut parts = vec![HEAD.to_owned()];
    for table in tables() {
        if !table.is_empty() {
            parts.push(format!("\n[{table}]\n"));
        }
        let (advanced, usual): (Vec<_>, Vec<_>) =
            of_table(table).partition(|definition| definition.is_advanced);
        parts.extend(usual.into_iter().map(entry));
        if !advanced.is_empty() {
            parts.push(ADVANCED.to_owned());
        }
        parts.extend(advanced.into_iter().map(entry));
    }
    parts.push(UPSTREAMS.to_owned());
    let line = |(key, line): &(&str, &str)| format!("# {key} = {line}\n");
    parts.extend(fields::KEYS.iter().map(line));
    parts.push(ROUTES.to_owned());
    parts.extend(route::KEYS.iter().map(line));
    parts.push(LIMITS.to_owned());
    parts.extend(limit::KEYS.iter().map(line));
    parts.concat()
}

/// The tables of the file in order; the empty name is the top level.
pub(super) fn tables() -> Vec<&'static str> {
    let mut tables: Vec<&str> =
        SETTINGS.iter().map(|definition| definition.table_and_key().0).collect();
    tables.dedup();
    tables
}

/// The settings of a table.
pub(super) fn of_table(table: &str) -> impl Iterator<Item = &'static Definition> {
    SETTINGS.iter().filter(move |definition| definition.table_and_key().0 == table)
}

const HEAD: &str = "\
# Settings of Weir, with their defaults: remove the # of those you change.
# Flags and environment variables override this file. `weir config` shows what is in force, and why.
# A running server reads it again when it changes, and on SIGHUP.
# It is read from --config, else WEIR_CONFIG, else ./weir.toml, else the user's weir/weir.toml (~/.config on Linux).
# Paths are relative to its directory. Durations: 500ms, 30s, 2m, 1h, 7d. Bytes: 4096, 64KiB, 32MiB.
";

const ADVANCED: &str = "
# Advanced: the defaults are right for nearly every server.
";

const UPSTREAMS: &str = "
# Upstreams, in order: a model is served by the first one that has it. See docs/how-to/upstreams.md.
# Environment variables add some: OPENAI_API_KEY and OPENAI_BASE_URL, ANTHROPIC_API_KEY, GEMINI_API_KEY, OLLAMA_HOST.
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

fn entry(definition: &Definition) -> String {
    let help = definition.help.replace('\n', "\n# ");
    let names = definition.variables().join(" or ");
    let flag = definition.flag.map(|flag| format!(" or --{flag}")).unwrap_or_default();
    // A default that depends on the machine is shown as an example.
    let typed = match definition.path {
        "data" => "/var/lib/weir",
        "store.bytes" => "8GiB",
        _ => definition.default,
    };
    let (_, key) = definition.table_and_key();
    let value = definition.kind.toml(typed);
    let restart = if definition.needs_restart { "; a change needs a restart" } else { "" };
    format!("\n# {help}\n# ({names}{flag}{restart})\n# {key} = {value}\n")
}
