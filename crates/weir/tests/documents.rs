//! Holds the documents to the code and to each other: links, paths, names, and the files that they list.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lab::report::advice::ADVICE;
use lens::ladder::words::Language;
use serde_json::Value;

/// The documents outside of `docs` whose links are followed.
const FRONT: &[&str] = &[
    "README.md",
    "README.zh.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "samples/README.md",
];

/// What a newcomer reads first must be short.
const LONGEST: &[(&str, usize)] =
    &[("README.md", 150), ("README.zh.md", 150), ("ARCHITECTURE.md", 250)];

/// The documents that name the tests of what they promise.
const REGISTERS: &[&str] = &["docs/reference/guarantee-tests.md", "docs/reference/security.md"];

/// The directories at the root in which a path of a document may start.
const ROOTS: &[&str] =
    &["crates/", "docs/", "tests/", "deploy/", "web/", "samples/", "scripts/", "fuzz/"];

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    let mut wrong = Vec::new();
    let documents = documents()?;
    for document in &documents {
        for link in links(&document.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let directory = document.path.parent().context("a document without a directory")?;
            let target = if path.is_empty() { document.path.clone() } else { directory.join(path) };
            if !target.exists() {
                wrong.push(format!("{}: {link}: no such file", document.name));
            } else if !anchor.is_empty() && !anchors(&fs::read_to_string(&target)?).contains(anchor)
            {
                wrong.push(format!("{}: {link}: no such heading", document.name));
            }
        }
    }
    ensure!(documents.len() > 20, "only {} documents were found", documents.len());
    check_none("links that lead nowhere", &wrong)
}

#[test]
fn the_index_names_every_document() -> Result<()> {
    let index = root().join("docs/README.md");
    let named: BTreeSet<PathBuf> = links(&fs::read_to_string(&index)?)
        .iter()
        .filter_map(|link| root().join("docs").join(link).canonicalize().ok())
        .collect();
    let mut wrong = Vec::new();
    for document in documents()?
        .iter()
        .filter(|document| document.name.starts_with("docs/") && document.name != "docs/README.md")
    {
        if !named.contains(&document.path.canonicalize()?) {
            wrong.push(document.name.clone());
        }
    }
    check_none("documents that docs/README.md does not list", &wrong)
}

#[test]
fn a_translation_has_the_headings_of_its_original() -> Result<()> {
    let mut wrong = Vec::new();
    let mut translations = 0;
    for document in documents()? {
        let Some(stem) = document.name.strip_suffix(".zh.md") else { continue };
        translations += 1;
        let original = fs::read_to_string(root().join(format!("{stem}.md")))
            .with_context(|| format!("{stem}.md"))?;
        let levels =
            |text: &str| headings(text).into_iter().map(|(level, _)| level).collect::<Vec<_>>();
        if levels(&original) != levels(&document.text) {
            wrong.push(format!(
                "{}: {:?}, and {:?} in English",
                document.name,
                levels(&document.text),
                levels(&original)
            ));
        }
    }
    ensure!(translations > 3, "only {translations} translations were found");
    check_none("translations with other headings than their originals", &wrong)
}

#[test]
fn the_front_pages_are_short() -> Result<()> {
    let mut wrong = Vec::new();
    for (name, most) in LONGEST {
        let lines = fs::read_to_string(root().join(name))?.lines().count();
        if lines > *most {
            wrong.push(format!("{name}: {lines} lines, and {most} are allowed"));
        }
    }
    check_none("front pages that are too long", &wrong)
}

#[test]
fn the_readmes_give_the_advice_of_the_report() -> Result<()> {
    for (name, language) in [("README.md", Language::English), ("README.zh.md", Language::Chinese)]
    {
        let text = fs::read_to_string(root().join(name))?;
        // Links are the README's own.
        let rows: Vec<String> =
            text.lines().filter(|line| line.starts_with("| ")).map(without_links).collect();
        for advice in ADVICE {
            let of = |(en, zh): (&'static str, &'static str)| language.pick(en, zh);
            let row =
                format!("| {} | {} | {} |", of(advice.have), of(advice.take), of(advice.because));
            ensure!(rows.contains(&row), "{name} lacks the row {row:?} of `weir compare`");
        }
    }
    Ok(())
}

/// With the text of each link in its place.
fn without_links(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, (text, (_, after)))) =
        rest.split_once('[').and_then(|(before, link)| {
            let (text, target) = link.split_once("](")?;
            Some((before, (text, target.split_once(')')?)))
        })
    {
        plain += before;
        plain += text;
        rest = after;
    }
    plain + rest
}

#[test]
fn the_readmes_name_the_command_that_ci_runs() -> Result<()> {
    let command = "\nscripts/test ";
    for name in ["README.md", "README.zh.md"] {
        let text = fs::read_to_string(root().join(name))?;
        ensure!(
            text.contains(command) && root().join("scripts/test").exists(),
            "{name} does not name scripts/test"
        );
    }
    Ok(())
}

#[test]
fn the_api_reference_has_every_path_and_no_other() -> Result<()> {
    let description: Value =
        serde_json::from_str(&fs::read_to_string(root().join("crates/server/src/openapi.json"))?)?;
    let mut described = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().context("no paths")? {
        let methods = operations
            .as_object()
            .context("no operations")?
            .keys()
            .filter(|key| is_method(&key.to_uppercase()));
        described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let text = fs::read_to_string(root().join("docs/reference/api.md"))?;
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeSet<String> = rows
        .filter_map(|row| row.split('`').nth(1))
        .filter(|name| is_operation(name))
        .map(str::to_owned)
        .collect();
    let difference = |from: &BTreeSet<String>, to: &BTreeSet<String>| {
        from.difference(to).cloned().collect::<Vec<_>>()
    };
    check_none(
        "operations that docs/reference/api.md lacks",
        &difference(&described, &documented),
    )?;
    check_none(
        "operations of docs/reference/api.md that openapi.json lacks",
        &difference(&documented, &described),
    )
}

#[test]
fn the_log_reference_lists_no_message_that_is_gone() -> Result<()> {
    let mut sources = String::new();
    for entry in fs::read_dir(root().join("crates"))? {
        let directory = entry?.path().join("src");
        if directory.exists() {
            collect(&directory, "rs", &mut |_, text| {
                sources.push_str(text);
                Ok(())
            })?;
        }
    }
    let text = fs::read_to_string(root().join("docs/reference/log.md"))?;
    let cells = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split(" | ").next());
    let messages: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    ensure!(messages.len() > 50, "only {} messages were found", messages.len());
    // What follows an ellipsis, or stands for a `{}`, is put in at run time.
    let is_there = |message: &str| {
        let mut before_a_value =
            message.match_indices(' ').map(|(space, _)| format!("{} {{", &message[..space]));
        sources.contains(message.trim_end_matches(['…', ' ', ',', ':']))
            || before_a_value.any(|start| sources.contains(&start))
    };
    let gone = messages.iter().filter(|message| !is_there(message));
    check_none(
        "messages of docs/reference/log.md that no source has",
        &gone.map(|message| (*message).to_owned()).collect::<Vec<_>>(),
    )
}

#[test]
fn the_guides_to_adding_something_list_files_that_exist() -> Result<()> {
    check_none("files that do not exist", &missing_paths(&guides()?))
}

#[test]
fn the_guides_to_adding_something_use_names_that_exist() -> Result<()> {
    let mut sources = String::new();
    collect(&root().join("crates"), "rs", &mut |_, text| {
        sources.push_str(text);
        Ok(())
    })?;
    let mut wrong = Vec::new();
    let mut pairs = 0;
    for guide in guides()? {
        let names = inline_code(&guide.text).into_iter().filter(|name| is_rust_name(name));
        let gone = names.filter(|name| !sources.contains(last_segment(name)));
        wrong.extend(gone.map(|name| format!("{}: {name}", guide.name)));
        for (name, path) in names_in_files(&guide.text) {
            let file = root().join(&path);
            if !file.is_file() {
                continue;
            }
            pairs += 1;
            if !fs::read_to_string(file)?.contains(last_segment(&name)) {
                wrong.push(format!("{}: {name} is not in {path}", guide.name));
            }
        }
    }
    ensure!(pairs >= 10, "only {pairs} names were found with their files");
    check_none("names that do not exist, or are in another file", &wrong)
}

#[test]
fn the_guarantees_name_tests_that_exist() -> Result<()> {
    let registers: Vec<Document> = documents()?
        .into_iter()
        .filter(|document| REGISTERS.contains(&document.name.as_str()))
        .collect();
    ensure!(registers.len() == REGISTERS.len(), "one of {REGISTERS:?} is missing");
    let mut functions = BTreeSet::new();
    collect(&root().join("crates"), "rs", &mut |_, text| {
        let names = text.split("fn ").skip(1).filter_map(|rest| {
            rest.split(|next: char| !(next.is_alphanumeric() || next == '_')).next()
        });
        functions.extend(names.map(str::to_owned));
        Ok(())
    })?;
    let mut wrong = missing_paths(&registers);
    for register in &registers {
        let named = inline_code(&register.text)
            .into_iter()
            .filter(|name| is_test_name(name) && !functions.contains(name));
        wrong.extend(named.map(|name| format!("{}: {name}", register.name)));
    }
    check_none("tests and files that do not exist", &wrong)
}

/// A document of ours.
struct Document {
    path: PathBuf,
    /// Its path below the root, with `/`.
    name: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documents() -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for name in FRONT {
        let path = root().join(name);
        let text = fs::read_to_string(&path).with_context(|| (*name).to_owned())?;
        documents.push(Document { path, name: (*name).to_owned(), text });
    }
    collect(&root().join("docs"), "md", &mut |path, text| {
        let name = path.strip_prefix(root())?.to_string_lossy().replace('\\', "/");
        documents.push(Document { path: path.to_owned(), name, text: text.to_owned() });
        Ok(())
    })?;
    Ok(documents)
}

/// Gives every file below `directory` with this extension to `each`.
fn collect(
    directory: &Path,
    extension: &str,
    each: &mut dyn FnMut(&Path, &str) -> Result<()>,
) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, extension, each)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            each(&path, &fs::read_to_string(&path)?)?;
        }
    }
    Ok(())
}

/// The lines of a text that are outside of fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The targets of all links and pictures.
fn links(text: &str) -> Vec<String> {
    let targets = prose(text).flat_map(|line| line.split("](").skip(1));
    targets.filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// What stands between backticks.
fn inline_code(text: &str) -> Vec<String> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The headings with their levels.
fn headings(text: &str) -> Vec<(usize, &str)> {
    let level = |line: &str| line.chars().take_while(|next| *next == '#').count();
    prose(text)
        .filter_map(|line| Some((level(line), line[level(line)..].strip_prefix(' ')?)))
        .filter(|(level, _)| *level > 0)
        .collect()
}

/// The anchors that GitHub gives to the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, heading) in headings(text) {
        let kept =
            heading.trim().chars().filter(|next| next.is_alphanumeric() || " -_".contains(*next));
        let slug = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let repeated = (1..).map(|number| format!("{slug}-{number}"));
        let free =
            std::iter::once(slug.clone()).chain(repeated).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// The guides to adding something, and the page that leads to them.
fn guides() -> Result<Vec<Document>> {
    let guides: Vec<Document> = documents()?
        .into_iter()
        .filter(|document| {
            document.name.starts_with("docs/adding/") || document.name == "ARCHITECTURE.md"
        })
        .collect();
    ensure!(guides.len() >= 8, "only {} guides were found", guides.len());
    Ok(guides)
}

/// Each name with its file, where a text says "`name` in `path`" or "`name` of `path`".
fn names_in_files(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for line in prose(text) {
        let pieces: Vec<&str> = line.split('`').collect();
        for window in pieces.windows(3).skip(1).step_by(2) {
            let [name, between, path] = window else { continue };
            let is_pair = [" in ", " of "].contains(between);
            if is_pair && is_identifier(name) && ROOTS.iter().any(|start| path.starts_with(start)) {
                pairs.push(((*name).to_owned(), (*path).to_owned()));
            }
        }
    }
    pairs
}

/// `name`, `Type` or `Type::name`
fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|next| next.is_ascii_alphanumeric() || "_:".contains(next))
}

/// A name that can only be one of Rust's: with a capital letter, or with `::`.
fn is_rust_name(text: &str) -> bool {
    is_identifier(text) && text.contains(|next: char| next.is_ascii_uppercase() || next == ':')
}

fn last_segment(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

/// The paths in the code of these documents that do not exist. A `<name>` in a path stands for a file that is to be made.
fn missing_paths(documents: &[Document]) -> Vec<String> {
    let mut wrong = Vec::new();
    for document in documents {
        let paths = inline_code(&document.text)
            .into_iter()
            .filter(|code| ROOTS.iter().any(|start| code.starts_with(start)));
        let concrete = paths.filter(|path| !path.contains(['<', ' ', '*']));
        wrong.extend(
            concrete
                .filter(|path| !root().join(path).exists())
                .map(|path| format!("{}: {path}", document.name)),
        );
    }
    wrong
}

fn is_method(text: &str) -> bool {
    ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"].contains(&text)
}

/// `GET /path`
fn is_operation(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(method, path)| is_method(method) && path.starts_with('/'))
}

/// A sentence in words joined by underscores, as our tests are called. Codes of errors are shorter.
fn is_test_name(text: &str) -> bool {
    text.matches('_').count() >= 4
        && text
            .chars()
            .all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_')
}

fn check_none(what: &str, wrong: &[String]) -> Result<()> {
    ensure!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
    Ok(())
}
