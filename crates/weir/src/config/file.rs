//! `weir.toml`: its location, and its settings and tables with their lines.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

use super::environment::{self, Environment};
use super::field::{Field, Table};
use super::problem::{Problem, ValueSource, did_you_mean};
use super::settings::FlagValues;
use super::table::{Definition, SETTINGS};
use super::upstream::fields;
use super::value::Raw;
use super::{limit, route};

/// A settings file before parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileText {
    /// Its name, as problems show it. Relative paths in the file are relative to its directory.
    pub(crate) name: PathBuf,
    /// Its contents.
    pub(crate) text: String,
}

/// The file that `--config` or `WEIR_CONFIG` names, else `./weir.toml`, else the user's; `None`
/// without any.
pub(super) fn find(
    flags: &FlagValues,
    environment: &Environment,
) -> Result<Option<FileText>, Problem> {
    if let Some(name) = flags.get("config") {
        return read(Path::new(name))
            .map(Some)
            .map_err(|message| Problem::new(ValueSource::Flag("config"), message));
    }
    if let Some(name) = environment.get("WEIR_CONFIG").filter(|name| !name.is_empty()) {
        let variable = || ValueSource::Variable("WEIR_CONFIG".to_owned());
        return read(Path::new(name))
            .map(Some)
            .map_err(|message| Problem::new(variable(), message));
    }
    for name in default_paths(environment) {
        let absent = |kind| matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory);
        if !fs::metadata(&name).is_err_and(|error| absent(error.kind())) {
            return read(&name)
                .map(Some)
                .map_err(|message| Problem::new(ValueSource::Default, message));
        }
    }
    Ok(None)
}

/// The paths that [`find`] checks.
pub(super) fn candidates(flags: &FlagValues, environment: &Environment) -> Vec<PathBuf> {
    let named = flags.get("config").map(PathBuf::from);
    let named = named.or_else(|| {
        environment.get("WEIR_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from)
    });
    named.map_or_else(|| default_paths(environment), |name| vec![name])
}

/// The default paths of the file.
fn default_paths(environment: &Environment) -> Vec<PathBuf> {
    let users =
        environment::config_directory(environment).map(|directory| directory.join("weir.toml"));
    std::iter::once(PathBuf::from("weir.toml")).chain(users).collect()
}

fn read(name: &Path) -> Result<FileText, String> {
    let text = fs::read_to_string(name)
        .map_err(|error| format!("cannot read {}: {error}", name.display()))?;
    Ok(FileText { name: name.to_path_buf(), text })
}

/// The contents of a file.
#[derive(Default)]
pub(super) struct FileContents {
    pub(super) settings: Vec<(&'static Definition, Field)>,
    pub(super) upstreams: Vec<Table>,
    pub(super) routes: Vec<Table>,
    pub(super) limits: Vec<Table>,
    pub(super) problems: Vec<Problem>,
}

/// Parses a file. If it is not valid TOML, only its syntax errors are reported.
pub(super) fn parse(file: &FileText) -> FileContents {
    let name: Arc<str> = file.name.display().to_string().into();
    let mut parser = Parser { name, text: &file.text, contents: FileContents::default() };
    let (root, errors) = DeTable::parse_recoverable(&file.text);
    for error in &errors {
        let source = parser.source(error.span().map_or(0, |span| span.start));
        // Not its `Display`, which repeats the line, and so perhaps a key.
        parser.problem(source, error.message());
    }
    if errors.is_empty() {
        parser.root(root.get_ref());
    }
    parser.contents
}

/// The arrays of tables, and the keys of each.
const SEVERAL: [(&str, &[(&str, &str)]); 3] =
    [("upstream", fields::KEYS), ("route", route::KEYS), ("limit", limit::KEYS)];

struct Parser<'a> {
    name: Arc<str>,
    text: &'a str,
    contents: FileContents,
}

type Entry<'a> = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>);

impl Parser<'_> {
    fn root(&mut self, root: &DeTable<'_>) {
        for (key, value) in root {
            let name = key.get_ref().as_ref();
            let is_table = SETTINGS.iter().any(|definition| definition.table_and_key().0 == name);
            if let Some((name, known)) = SEVERAL.iter().find(|(several, _)| *several == name) {
                self.tables(name, known, value);
            } else if !is_table {
                self.setting("", (key, value));
            } else if let DeValue::Table(table) = value.get_ref() {
                table.iter().for_each(|entry| self.setting(name, entry));
            } else {
                self.problem_at(value, &format!("{name}: expected a table; write [{name}]"));
            }
        }
    }

    fn setting(&mut self, table: &str, (key, value): Entry<'_>) {
        let path = if table.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{table}.{}", key.get_ref())
        };
        if let Some(definition) = SETTINGS.iter().find(|definition| definition.is_at(&path)) {
            if self.contents.settings.iter().any(|(other, _)| other.path == definition.path) {
                return self.problem_at(
                    key,
                    &format!(
                        "{path}: the same setting under two names; its name is {}",
                        definition.path
                    ),
                );
            }
            let field = self.field(value);
            return self.contents.settings.push((definition, field));
        }
        let tables = SEVERAL
            .map(|(name, _)| name)
            .into_iter()
            .chain(SETTINGS.iter().map(|definition| definition.table_and_key().0));
        let known = SETTINGS
            .iter()
            .map(|definition| definition.path)
            .chain(tables.filter(|_| table.is_empty()));
        let near = did_you_mean(&path, '.', &known.collect::<Vec<_>>());
        self.problem_at(key, &format!("{path}: unknown setting{near}"));
    }

    fn tables(&mut self, name: &str, known: &[(&'static str, &str)], value: &Spanned<DeValue<'_>>) {
        let no_tables = format!("{name}: expected tables; write [[{name}]], once for each");
        let DeValue::Array(tables) = value.get_ref() else {
            return self.problem_at(value, &no_tables);
        };
        for table in tables {
            let DeValue::Table(entries) = table.get_ref() else {
                self.problem_at(table, &no_tables);
                continue;
            };
            let fields = self.fields(name, known, entries);
            let table = Table { source: self.source(table.span().start), fields };
            match name {
                "route" => self.contents.routes.push(table),
                "limit" => self.contents.limits.push(table),
                _ => self.contents.upstreams.push(table),
            }
        }
    }

    fn fields(
        &mut self,
        table: &str,
        known: &[(&'static str, &str)],
        entries: &DeTable<'_>,
    ) -> BTreeMap<&'static str, Field> {
        let mut fields = BTreeMap::new();
        let known: Vec<&'static str> = known.iter().map(|(known, _)| *known).collect();
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            if let Some(known) = known.iter().copied().find(|known| *known == name) {
                fields.insert(known, self.field(value));
            } else {
                self.problem_at(
                    key,
                    &format!("{table}.{name}: unknown setting{}", did_you_mean(name, '_', &known)),
                );
            }
        }
        fields
    }

    fn field(&self, value: &Spanned<DeValue<'_>>) -> Field {
        Field { source: self.source(value.span().start), raw: raw(value.get_ref()) }
    }

    fn source(&self, offset: usize) -> ValueSource {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        ValueSource::File {
            name: Arc::clone(&self.name),
            line,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn problem_at<T>(&mut self, spanned: &Spanned<T>, message: &str) {
        let source = self.source(spanned.span().start);
        self.problem(source, message);
    }

    fn problem(&mut self, source: ValueSource, message: &str) {
        self.contents.problems.push(Problem::new(source, message));
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => Raw::Number(decimal(number)),
        DeValue::Float(number) => Raw::Number(number.to_string()),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
        DeValue::Array(values) => {
            let texts = values.iter().map(|value| {
                if let DeValue::String(text) = value.get_ref() {
                    Some(text.to_string())
                } else {
                    None
                }
            });
            texts.collect::<Option<_>>().map_or(Raw::Other("a list of other things"), Raw::List)
        }
    }
}

/// TOML also has integers in bases 2, 8 and 16.
fn decimal(number: &DeInteger<'_>) -> String {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |value| value.to_string())
}
