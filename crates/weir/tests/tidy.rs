//! Holds the repository to its plan: what clippy and cargo-deny cannot see, read from the files themselves.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/tolerated.rs"]
mod tolerated;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

use imports::{Crate, circles};

/// Which of our crates each may depend on: the map in `ARCHITECTURE.md`. The program may see all of them.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("codec", &[]),
    ("tokens", &[]),
    ("engine", &["protocol", "tokens"]),
    ("provider", &["codec", "engine", "protocol"]),
    ("store", &["engine", "protocol"]),
    ("server", &["codec", "engine", "lens", "protocol"]),
    ("traces", &["engine", "protocol"]),
    ("lens", &[]),
    ("client", &["codec"]),
    ("lab", &["client", "lens"]),
    ("probe", &["client", "codec"]),
    ("fakes", &["client", "codec", "protocol"]),
    ("peers", &[]),
];

/// The crate that sees all.
const PROGRAM: &str = "weir";

/// Longer files are not read, only searched.
const MAX_LINES: usize = 500;

/// Where tasks may be spawned: where the server's tasks are counted and awaited, and where those of clients are aborted.
const MAY_SPAWN: &[&str] = &["crates/engine/src/tasks.rs", "crates/client/src/runtime.rs"];

/// The test doubles, which only tests and benchmarks may depend on.
const TEST_DOUBLES: &str = "fakes";

/// The one place where code may be unsafe: system calls that no safe crate has.
const MAY_BE_UNSAFE: (&str, &str) = ("lens", "crates/lens/src/system/");

/// Names that were replaced and must not come back: each with its replacement, and the files that it is forbidden in.
const FORBIDDEN: &[Forbidden] = &[
    Forbidden { name: "rung", instead: "notified", within: "crates/" },
    Forbidden { name: "Said", instead: "ByteBreakdown", within: "crates/lens/" },
    Forbidden { name: "misunderstood", instead: "mark_unparsed", within: "crates/lens/" },
];

struct Forbidden {
    name: &'static str,
    instead: &'static str,
    within: &'static str,
}

#[test]
fn arrows_point_upward_only() -> Result<()> {
    let mut wrong = Vec::new();
    for (name, manifest) in manifests()? {
        if name == PROGRAM {
            continue;
        }
        let allowed = ARROWS.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
        let allowed = allowed.with_context(|| {
            format!("crates/{name} has no arrows here: say what it may depend on")
        })?;
        let used =
            dependencies(&manifest).into_iter().filter(|used| !allowed.contains(&used.as_str()));
        wrong.extend(used.map(|used| format!("{name} -> {used}")));
    }
    check_none("a dependency that the map in ARCHITECTURE.md does not have", &wrong)
}

#[test]
fn test_doubles_are_not_in_the_product() -> Result<()> {
    let manifests = manifests()?;
    ensure!(
        manifests.iter().any(|(name, _)| name == TEST_DOUBLES),
        "crates/{TEST_DOUBLES} was not found"
    );
    let depends = |(_, manifest): &&(String, Table)| {
        dependencies(manifest).iter().any(|used| used == TEST_DOUBLES)
    };
    let mut wrong: Vec<String> = manifests
        .iter()
        .filter(depends)
        .map(|(name, _)| format!("crates/{name}/Cargo.toml"))
        .collect();
    let path = format!("{TEST_DOUBLES}::");
    let names = |line: &str| {
        let starts = line.match_indices(&path).map(|(index, _)| &line[..index]);
        starts.into_iter().any(|before| {
            !before.ends_with(|character: char| character.is_alphanumeric() || character == '_')
        })
    };
    let others = rust_files()?
        .into_iter()
        .filter(|file| file.is_production() && !file.name.starts_with("crates/fakes/"));
    wrong.extend(others.flat_map(|file| file.lines_with(names)));
    check_none("test doubles outside tests and benchmarks", &wrong)
}

#[test]
fn files_import_each_other_in_no_new_circles() -> Result<()> {
    let mut wrong = Vec::new();
    let mut found = BTreeSet::new();
    for (name, _) in manifests()? {
        let read = Crate::read(&root().join("crates").join(&name).join("src"))?;
        let tolerated: BTreeSet<&str> = tolerated::CIRCLES
            .iter()
            .filter(|(owner, _)| *owner == name)
            .flat_map(|(_, files)| files.iter().copied())
            .collect();
        for circle in circles(&read.files()) {
            if !circle.is_subset(&tolerated) {
                wrong.push(format!(
                    "{name}: a circle that is not in tolerated::CIRCLES: {circle:?}"
                ));
            }
            found.extend(circle.into_iter().map(|file| (name.clone(), file.to_owned())));
        }
    }
    for (name, file) in tolerated::CIRCLES
        .iter()
        .flat_map(|(name, files)| files.iter().map(move |file| (*name, *file)))
    {
        if !found.contains(&(name.to_owned(), file.to_owned())) {
            wrong.push(format!(
                "{name}: {file} is in no circle any more; remove it from tolerated::CIRCLES"
            ));
        }
    }
    check_none("import circles; move what both need to a file of its own", &wrong)
}

#[test]
fn modules_of_the_server_import_no_higher_layer() -> Result<()> {
    let read = Crate::read(&root().join("crates/server/src"))?;
    let place = |module: &str| tolerated::LAYERS.iter().position(|layer| *layer == module);
    let mut wrong = Vec::new();
    let mut upward = BTreeSet::new();
    for (module, imported) in read.layers() {
        let Some(own) = place(module) else {
            wrong.push(format!("{module} has no place in tolerated::LAYERS"));
            continue;
        };
        let higher =
            imported.into_iter().filter(|other| place(other).is_some_and(|other| other > own));
        upward.extend(higher.map(|other| (module.to_owned(), other)));
    }
    let tolerated: BTreeSet<_> =
        tolerated::UPWARD.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    wrong.extend(
        upward
            .difference(&tolerated)
            .map(|(from, to)| format!("{from} imports {to}, which is a higher layer")),
    );
    let gone = tolerated.difference(&upward);
    wrong.extend(gone.map(|(from, to)| {
        format!("{from} does not import {to} any more; remove the pair from tolerated::UPWARD")
    }));
    check_none("layers of the server", &wrong)
}

#[test]
fn names_that_were_replaced_stay_away() -> Result<()> {
    let mut wrong = Vec::new();
    for file in rust_files()?.iter().filter(|file| file.is_production()) {
        for Forbidden { name, instead, .. } in
            FORBIDDEN.iter().filter(|forbidden| file.name.starts_with(forbidden.within))
        {
            let words = |line: &str| {
                line.split(|character: char| !(character.is_alphanumeric() || character == '_'))
                    .any(|word| word == *name)
            };
            wrong.extend(
                file.lines_with(words)
                    .into_iter()
                    .map(|line| format!("{line} (`{name}` is now `{instead}`)")),
            );
        }
    }
    check_none("a name that was replaced", &wrong)
}

#[test]
fn every_crate_obeys_the_lints_of_the_workspace() -> Result<()> {
    let root: Table = fs::read_to_string(root().join("Cargo.toml"))?.parse()?;
    let unsafe_code = at(&root, &["workspace", "lints", "rust", "unsafe_code"]);
    ensure!(unsafe_code.and_then(Value::as_str) == Some("forbid"), "unsafe code is not forbidden");
    // What is inherited cannot be loosened, so this crate has a copy of the lints, in which two differ.
    let mut copy =
        at(&root, &["workspace", "lints"]).and_then(Value::as_table).context("no lints")?.clone();
    insert(&mut copy, "rust", "unsafe_code")?;
    insert(&mut copy, "clippy", "undocumented_unsafe_blocks")?;
    let inherits = |name: &str, manifest: &Table| {
        if name == MAY_BE_UNSAFE.0 {
            return at(manifest, &["lints"]).and_then(Value::as_table) == Some(&copy);
        }
        at(manifest, &["lints", "workspace"]).and_then(Value::as_bool) == Some(true)
    };
    let wrong: Vec<String> = manifests()?
        .into_iter()
        .filter(|(name, manifest)| !inherits(name, manifest))
        .map(|(name, _)| name)
        .collect();
    check_none("no `[lints] workspace = true`", &wrong)
}

#[test]
fn every_file_says_what_it_is_for() -> Result<()> {
    let wrong: Vec<String> = rust_files()?
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.name)
        .collect();
    check_none("the first line is no `//!` sentence", &wrong)
}

#[test]
fn production_files_can_be_read() -> Result<()> {
    let long = rust_files()?
        .into_iter()
        .filter(|file| file.is_production() && file.text.lines().count() > MAX_LINES);
    let wrong: Vec<String> =
        long.map(|file| format!("{}: {} lines", file.name, file.text.lines().count())).collect();
    check_none("longer than 500 lines", &wrong)
}

#[test]
fn tasks_are_started_in_one_place() -> Result<()> {
    let spawns = |line: &str| {
        ["tokio::spawn", "task::spawn", "spawn_local", "spawn_blocking", "JoinSet"]
            .iter()
            .any(|word| line.contains(word))
    };
    let may = |file: &File| MAY_SPAWN.iter().any(|place| file.name.starts_with(place));
    let wrong: Vec<String> = rust_files()?
        .into_iter()
        .filter(|file| file.is_production() && !may(file))
        .flat_map(|file| file.lines_with(spawns))
        .collect();
    check_none("a task that nobody counts: use engine::tasks", &wrong)
}

#[test]
fn nothing_is_unsafe() -> Result<()> {
    let is_unsafe = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        // A word of Content-Security-Policy, `unsafe-inline`, is none of Rust's.
        code.split(|character: char| !(character.is_alphanumeric() || "_-".contains(character)))
            .any(|word| word == "unsafe")
    };
    let may = |file: &File| file.name.starts_with(MAY_BE_UNSAFE.1);
    let wrong: Vec<String> = rust_files()?
        .into_iter()
        .filter(|file| file.is_production() && !may(file))
        .flat_map(|file| file.lines_with(is_unsafe))
        .collect();
    check_none("unsafe", &wrong)
}

#[test]
fn both_readmes_have_the_same_headings() -> Result<()> {
    let (english, chinese) = (root().join("README.md"), root().join("README.zh.md"));
    if !english.exists() && !chinese.exists() {
        return Ok(());
    }
    let (english, chinese) =
        (headings(&fs::read_to_string(english)?), headings(&fs::read_to_string(chinese)?));
    ensure!(
        english == chinese,
        "levels of headings differ: {english:?} in English, {chinese:?} in Chinese"
    );
    Ok(())
}

#[test]
fn the_lock_file_of_npm_names_no_mirror() -> Result<()> {
    let lock = fs::read_to_string(root().join("tests/browser/package-lock.json"))?;
    ensure!(!lock.contains("\"resolved\""), "package-lock.json names the registry of one machine");
    Ok(())
}

/// A Rust file of ours.
struct File {
    /// Its path below the root, with `/`.
    name: String,
    text: String,
}

impl File {
    /// Whether it is part of what is shipped, rather than a test or a benchmark.
    fn is_production(&self) -> bool {
        self.name.contains("/src/")
            && !self.name.ends_with("tests.rs")
            && !self.name.contains("/tests/")
    }

    /// The lines of code, comments left out, that `is_wanted`, with their places.
    fn lines_with(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.text.lines().enumerate();
        let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
        code.filter(|(_, line)| is_wanted(line))
            .map(|(index, line)| format!("{}:{}: {}", self.name, index + 1, line.trim()))
            .collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The manifests of all crates, by directory.
fn manifests() -> Result<Vec<(String, Table)>> {
    let mut manifests = Vec::new();
    for entry in fs::read_dir(root().join("crates"))? {
        let entry = entry?;
        let path = entry.path().join("Cargo.toml");
        if path.exists() {
            let manifest =
                fs::read_to_string(&path)?.parse().with_context(|| path.display().to_string())?;
            manifests.push((entry.file_name().to_string_lossy().into_owned(), manifest));
        }
    }
    ensure!(manifests.len() > ARROWS.len(), "only {} crates were found", manifests.len());
    Ok(manifests)
}

/// Which of our crates a manifest names, tests excepted.
fn dependencies(manifest: &Table) -> Vec<String> {
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    let tables = std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")]);
    let named = tables.flatten().filter_map(Value::as_table).flatten().map(|(name, value)| {
        let package = value.get("package").and_then(Value::as_str).unwrap_or(name);
        package.strip_prefix("weir-").unwrap_or(package).to_owned()
    });
    named.filter(|name| name == PROGRAM || ARROWS.iter().any(|(ours, _)| ours == name)).collect()
}

/// Denies a lint in a table of lints.
fn insert(lints: &mut Table, tool: &str, lint: &str) -> Result<()> {
    let tool = lints.get_mut(tool).and_then(Value::as_table_mut).context("no such tool")?;
    tool.insert(lint.to_owned(), Value::from("deny"));
    Ok(())
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, name| value.get(*name))
}

fn rust_files() -> Result<Vec<File>> {
    let root = root();
    let mut files = Vec::new();
    collect(&root.join("crates"), &root, &mut files)?;
    ensure!(files.len() > 50, "only {} files were found", files.len());
    Ok(files)
}

fn collect(directory: &Path, root: &Path, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, root, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            files.push(File { name, text: fs::read_to_string(&path)? });
        }
    }
    Ok(())
}

/// The levels of a text's headings. A `#` inside a fence is a comment of a shell.
fn headings(text: &str) -> Vec<usize> {
    let mut is_code = false;
    let mut levels = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let level = line.chars().take_while(|character| *character == '#').count();
        if !is_code && level > 0 && line[level..].starts_with(' ') {
            levels.push(level);
        }
    }
    levels
}

fn check_none(what: &str, wrong: &[String]) -> Result<()> {
    ensure!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
    Ok(())
}
