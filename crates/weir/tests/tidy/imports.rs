//! Which file of a crate imports which, read from its `use` and `mod` declarations, and the circles
//! among them.
//!
//! It reads declarations only: a path in an expression, such as `module::function()`, is no import,
//! and neither is `mod module;`. Files and inline modules that are compiled for tests alone are
//! left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The path of a module below its crate's root: `["listen", "io"]`.
pub(crate) type Module = Vec<String>;

/// The modules of a crate that have a file, each with its imports.
pub(crate) struct Crate {
    modules: BTreeMap<Module, File>,
}

struct File {
    /// Its path below `src`, with `/`.
    name: String,
    declarations: Declarations,
}

/// What a file declares.
#[derive(Default)]
struct Declarations {
    /// Its child modules in files of their own.
    children: Vec<String>,
    /// The paths that it imports, one for each name.
    imports: Vec<Vec<String>>,
}

impl Crate {
    /// Reads the crate whose `lib.rs` or `main.rs` is in `source`.
    pub(crate) fn read(source: &Path) -> Result<Self> {
        let root = ["lib.rs", "main.rs"]
            .map(|name| source.join(name))
            .into_iter()
            .find(|path| path.exists());
        let mut waiting = vec![(
            Module::new(),
            root.with_context(|| format!("no crate in {}", source.display()))?,
        )];
        let mut modules = BTreeMap::new();
        while let Some((module, path)) = waiting.pop() {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let declarations = declarations(&text);
            for child in &declarations.children {
                let module = [module.as_slice(), std::slice::from_ref(child)].concat();
                waiting.extend(file_of(source, &module).map(|path| (module, path)));
            }
            let name = path.strip_prefix(source)?.to_string_lossy().replace('\\', "/");
            modules.insert(module, File { name, declarations });
        }
        Ok(Self { modules })
    }

    /// For each file the files that it imports, and itself never.
    pub(crate) fn files(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let edges = self.modules.iter().map(|(module, file)| {
            let imported = file
                .declarations
                .imports
                .iter()
                .filter_map(|import| self.modules.get(&self.target(module, import)?));
            let others = imported.map(|file| file.name.as_str()).filter(|name| *name != file.name);
            (file.name.as_str(), others.collect())
        });
        edges.collect()
    }

    /// For each module right below the root the others of them that it imports.
    pub(crate) fn layers(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut layers = BTreeMap::<&str, BTreeSet<String>>::new();
        for (module, file) in &self.modules {
            let Some(own) = module.first() else { continue };
            let targets = file
                .declarations
                .imports
                .iter()
                .filter_map(|import| self.target(module, import)?.into_iter().next());
            layers.entry(own).or_default().extend(targets.filter(|other| other != own));
        }
        layers
    }

    /// The deepest module with a file that an import names; `None` if it leads out of the crate.
    fn target(&self, from: &Module, import: &[String]) -> Option<Module> {
        let is_keyword = |name: &&String| matches!(name.as_str(), "crate" | "self" | "super");
        let keywords = import.iter().take_while(is_keyword).collect::<Vec<_>>();
        let ups = keywords.iter().filter(|name| name.as_str() == "super").count();
        let mut module = match keywords.first().map(|name| name.as_str()) {
            Some("crate") => Module::new(),
            Some(_) => from[..from.len().checked_sub(ups)?].to_vec(),
            // Since the edition of 2018 the first name may be one in scope: a child.
            None => from.clone(),
        };
        let rest = &import[keywords.len()..];
        if keywords.is_empty()
            && !self.modules.contains_key(&[module.as_slice(), &rest[..1]].concat())
        {
            return None;
        }
        for name in rest {
            module.push(name.clone());
            if !self.modules.contains_key(&module) {
                module.pop();
                break;
            }
        }
        Some(module)
    }
}

/// The file of a module: `a/b.rs` or `a/b/mod.rs`.
fn file_of(source: &Path, module: &Module) -> Option<PathBuf> {
    let path = module.iter().fold(source.to_path_buf(), |path, name| path.join(name));
    [path.with_extension("rs"), path.join("mod.rs")].into_iter().find(|path| path.exists())
}

fn declarations(text: &str) -> Declarations {
    let mut found = Declarations::default();
    let mut is_for_tests = false;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.split("//").next().unwrap_or_default().trim();
        let item = without_visibility(code);
        if code.starts_with("#[") || code.is_empty() {
            is_for_tests |= code.starts_with("#[cfg(") && code.contains("test");
            continue;
        }
        if let Some(name) = item.strip_prefix("mod ") {
            match name.strip_suffix(';') {
                Some(name) if !is_for_tests && name != "tests" => {
                    found.children.push(name.trim().to_owned());
                }
                // An inline module for tests ends with the brace that stands as far to the left as
                // it does.
                None if is_for_tests => {
                    let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
                    lines.by_ref().find(|line| *line == end);
                }
                Some(_) | None => {}
            }
        } else if let Some(tree) = item.strip_prefix("use ") {
            let mut tree = tree.to_owned();
            while !tree.contains(';') {
                let Some(line) = lines.next() else { break };
                tree.push_str(line.split("//").next().unwrap_or_default());
            }
            if !is_for_tests {
                let tree = tree.split(';').next().unwrap_or_default();
                leaves(&[], tree, &mut found.imports);
            }
        }
        is_for_tests = false;
    }
    found
}

fn without_visibility(code: &str) -> &str {
    let Some(rest) = code.strip_prefix("pub") else { return code };
    match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(')').map_or(code, |(_, item)| item.trim_start()),
        None => rest.trim_start(),
    }
}

/// The paths of a use tree: `a::{b, c::{self, d}}` has `a::b`, `a::c` and `a::c::d`.
fn leaves(before: &[String], tree: &str, paths: &mut Vec<Vec<String>>) {
    let (path, group) =
        tree.split_once('{').map_or((tree, None), |(path, group)| (path, Some(group)));
    let path = path.split(" as ").next().unwrap_or_default();
    let names = path.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    let mut whole: Vec<String> = before.iter().cloned().chain(names).collect();
    let Some(group) = group else {
        if !before.is_empty() && whole.last().is_some_and(|name| name == "self") {
            whole.pop();
        }
        if !whole.is_empty() {
            paths.push(whole);
        }
        return;
    };
    let (mut depth, mut start) = (0_usize, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    leaves(&whole, &group[start..at], paths);
                }
                start = at + 1;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

/// The circles: sets of files in which each leads to each other (strongly connected components of
/// more than one).
pub(crate) fn circles<'a>(
    imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|from| (*from, reachable(imports, from))).collect();
    let mut circles = Vec::<BTreeSet<&str>>::new();
    for (from, others) in &reached {
        if others.contains(from) && !circles.iter().any(|circle| circle.contains(from)) {
            circles.push(
                others.iter().copied().filter(|other| reached[other].contains(from)).collect(),
            );
        }
    }
    circles
}

/// What is imported from a file on, over any number of files.
fn reachable<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&str> = imports.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = waiting.pop() {
        if reached.insert(file) {
            waiting.extend(imports.get(file).into_iter().flatten().copied());
        }
    }
    reached
}

/// A `use` tree, a `mod` and a test module, as the files of the crates have them.
#[test]
fn declarations_are_read() {
    let text = "use super::{a::{self, B}, c as d};\npub(crate) use crate::e::F;\nmod g; // a comment\n#[cfg(test)]\nmod h;\n\n\
                #[cfg(test)]\nmod i {\n    use super::j;\n}\nuse k::{\n    L,\n    M,\n};\n";
    let found = declarations(text);
    assert_eq!(found.children, ["g"]);
    let imports: Vec<String> = found.imports.iter().map(|path| path.join("::")).collect();
    assert_eq!(imports, ["super::a", "super::a::B", "super::c", "crate::e::F", "k::L", "k::M"]);
}

#[test]
fn circles_are_found_and_trees_are_not() {
    let imports = BTreeMap::from([
        ("a", BTreeSet::from(["b"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::from(["a", "d"])),
        ("d", BTreeSet::from(["e"])),
        ("e", BTreeSet::new()),
    ]);
    assert_eq!(circles(&imports), [BTreeSet::from(["a", "b", "c"])]);
    let tree = BTreeMap::from([
        ("a", BTreeSet::from(["b", "c"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::new()),
    ]);
    assert!(circles(&tree).is_empty());
}
