//! `docs/reference/settings.md`, generated from the table, and the test that it is up to date.

use std::fs;
use std::path::Path;

use super::example::{of_table, tables};
use super::table::{Definition, SETTINGS};
use super::tests::TestResult;
use super::upstream::fields;
use super::{limit, route};

/// The variable that makes the test rewrite the document.
const WRITE: &str = "WEIR_WRITE_DOCUMENTS";

#[test]
fn the_settings_reference_is_up_to_date() -> TestResult {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/settings.md");
    let text = reference();
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &text)?;
    }
    let how = format!("write it again: {WRITE}=1 cargo test -p weir --lib config::reference");
    assert!(
        fs::read_to_string(&path)? == text,
        "docs/reference/settings.md is not what the table says; {how}"
    );
    Ok(())
}

fn reference() -> String {
    let mut parts = vec![HEAD.to_owned(), TABLE.to_owned()];
    parts.extend(rows(false));
    parts.push(UPSTREAM.to_owned());
    parts.extend(fields::KEYS.iter().map(key));
    parts.push(ROUTE.to_owned());
    parts.extend(route::KEYS.iter().map(key));
    parts.push(LIMIT.to_owned());
    parts.extend(limit::KEYS.iter().map(key));
    parts.push(ADVANCED.to_owned());
    parts.push(TABLE.to_owned());
    parts.extend(rows(true));
    parts.push(RESTART.to_owned());
    let restart = SETTINGS
        .iter()
        .filter(|definition| definition.needs_restart)
        .map(|definition| format!("`{}`", definition.path));
    parts.push(format!("{}.\n", restart.collect::<Vec<_>>().join(", ")));
    parts.concat()
}

/// The rows of the basic or of the advanced settings.
fn rows(is_advanced: bool) -> impl Iterator<Item = String> {
    tables()
        .into_iter()
        .flat_map(of_table)
        .filter(move |definition| definition.is_advanced == is_advanced)
        .map(row)
}

fn row(definition: &Definition) -> String {
    let flag = definition.flag.map(|flag| format!("`--{flag}`, ")).unwrap_or_default();
    let variables = definition
        .variables()
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let default = if definition.default.is_empty() {
        "–".to_owned()
    } else {
        format!("`{}`", definition.default)
    };
    format!(
        "| `{}` | {default} | {} | {flag}{variables} |\n",
        definition.path,
        definition.help.replace('\n', " ")
    )
}

/// A row for a key of an array of tables: an example and its purpose.
fn key((name, line): &(&str, &str)) -> String {
    let (value, help) = line.split_once(" # ").unwrap_or((line, ""));
    format!("| `{name}` | `{}` | {} |\n", value.trim(), help.trim())
}

const HEAD: &str = "\
<!-- Made from crates/weir/src/config/table.rs; do not edit. To write it again: WEIR_WRITE_DOCUMENTS=1 cargo test -p weir --lib config::reference -->
# Settings

```sh
weir config                         # every setting in force, and where it comes from; keys are hidden
weir config --example > weir.toml   # start a file with all defaults
```

Flags override environment variables, which override `weir.toml`, which overrides the defaults. Unknown keys are refused, and all errors are reported at once, each with its location.

The file is the one that `--config` or `WEIR_CONFIG` names, else `./weir.toml`, else the user's `weir/weir.toml` (`~/.config` on Linux).
A setting `server.heartbeat` is the key `heartbeat` in the table `[server]`. Durations: `500ms`, `30s`, `2m`, `1h`, `7d`. Bytes: `4096`, `64KiB`, `32MiB`. Lists in an environment variable are separated by commas.

## Usual settings

";

const TABLE: &str = "| Setting | Default | Meaning | Flag, environment |\n|---|---|---|---|\n";

const UPSTREAM: &str = "
## `[[upstream]]`

One table for each upstream; `name` and `kind` are enough. [How to use them](../how-to/upstreams.md).

| Key | Example | Meaning |
|---|---|---|
";

const ROUTE: &str = "
## `[[route]]`

One table for each model that several upstreams serve, or that has another name there.

| Key | Example | Meaning |
|---|---|---|
";

const LIMIT: &str = "
## `[[limit]]`

Limits of single API keys, in place of those in `[limits]`.

| Key | Example | Meaning |
|---|---|---|
";

const ADVANCED: &str = "
## Advanced settings

The defaults are right for nearly every server. Change one of these only to solve a problem that you have measured.

";

const RESTART: &str = "
## What needs a restart

All other settings take effect while the server runs ([how](../how-to/operations.md#changing-settings-while-it-runs)). These wait for the next start:
";
