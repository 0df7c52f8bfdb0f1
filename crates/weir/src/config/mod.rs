//! The settings: flags, then the environment, then `weir.toml`, then defaults, each parsed once
//! into its type.
//!
//! All problems are reported together, each with its location. Only [`load`] does I/O.

pub(crate) mod example;
pub(crate) mod problem;
pub(crate) mod settings;

mod environment;
mod field;
mod file;
mod limit;
mod route;
mod sources;
mod table;
mod tls;
mod traces;
mod upstream;
mod value;

#[cfg(test)]
mod reference;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::Path;

pub(crate) use environment::{API_KEY, Environment};
pub(crate) use file::FileText;
pub(crate) use sources::{FileStamp, FileVersion, mark};
pub(crate) use tls::TlsConfig;
pub(crate) use upstream::values::without_password;

use self::traces::TraceReader;
use field::Field;
use file::FileContents;
use limit::LimitReader;
use problem::{Problem, Problems, ValueSource};
use route::RouteReader;
use settings::{DataLocation, FlagValues, InForce, Settings};
use sources::Sources;
use table::{Definition, Draft, SETTINGS};
use upstream::reader::UpstreamReader;
use value::Raw;

/// The sources of settings.
pub(crate) struct ConfigSources<'a> {
    pub(crate) flags: &'a FlagValues,
    pub(crate) environment: &'a Environment,
    pub(crate) file: Option<&'a FileText>,
    /// Reads a file that a setting names, such as an `api_key_file`.
    pub(crate) read: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// The result of reading settings.
pub(crate) struct Loaded {
    /// The settings, or all problems in them.
    pub(crate) settings: Result<Settings, Problems>,
    /// The files they depend on, including those that do not exist yet.
    pub(crate) sources: Vec<FileVersion>,
}

/// The settings of this process: reads its environment, its settings file, and the key files it
/// names.
pub(crate) fn load(flags: &FlagValues) -> Loaded {
    let environment = environment::of_process();
    let sources = Sources::default();
    for file in file::candidates(flags, &environment) {
        sources.note(&file);
    }
    let (file, unreadable) = match file::find(flags, &environment) {
        Ok(file) => (file, None),
        Err(problem) => (None, Some(problem)),
    };
    let inputs = ConfigSources {
        flags,
        environment: &environment,
        file: file.as_ref(),
        read: &|path| sources.read(path),
    };
    let (settings, mut problems) = collect(&inputs);
    problems.extend(unreadable);
    Loaded {
        settings: Problems::of(problems).map_or(Ok(settings), Err),
        sources: sources.into_versions(),
    }
}

/// Whether a change of this setting takes effect only after a restart.
pub(crate) fn needs_restart(path: &str) -> bool {
    SETTINGS.iter().any(|definition| definition.path == path && definition.needs_restart)
}

/// Whether the default of this setting suits nearly every server.
pub(crate) fn is_advanced(path: &str) -> bool {
    SETTINGS.iter().any(|definition| definition.path == path && definition.is_advanced)
}

/// The flags that are settings, for the test that the command line has them all.
#[cfg(test)]
pub(crate) fn flag_names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter_map(|definition| definition.flag)
}

/// The settings from these sources.
#[cfg(test)]
pub(crate) fn settle(inputs: &ConfigSources<'_>) -> Result<Settings, Problems> {
    let (settings, problems) = collect(inputs);
    Problems::of(problems).map_or(Ok(settings), Err)
}

fn collect(inputs: &ConfigSources<'_>) -> (Settings, Vec<Problem>) {
    let base = inputs.file.and_then(|file| file.name.parent()).unwrap_or(Path::new(""));
    let FileContents { settings, upstreams: tables, routes: route_tables, limits, mut problems } =
        inputs.file.map(file::parse).unwrap_or_default();
    let mut collector =
        SettingsCollector { draft: Draft::default(), in_force: defaults(), problems: Vec::new() };
    for definition in SETTINGS.iter().filter(|definition| !definition.default.is_empty()) {
        collector.put(definition, typed(ValueSource::Default, definition.default), base);
    }
    for (definition, field) in settings {
        collector.put(definition, field, base);
    }
    for (definition, name, text) in environment::settings(inputs.environment, &mut problems) {
        collector.put(definition, typed(ValueSource::Variable(name), &text), Path::new(""));
    }
    for definition in SETTINGS {
        if let Some((flag, text)) =
            definition.flag.and_then(|flag| inputs.flags.get_key_value(flag))
        {
            collector.put(definition, typed(ValueSource::Flag(flag), text), Path::new(""));
        }
    }
    let data = collector.data(inputs.environment);
    collector.settle_size(&data);
    collector.check_sizes();
    let tls = collector.tls();

    let SettingsCollector { mut draft, mut in_force, problems: more } = collector;
    problems.extend(more);
    let mut reading = LimitReader {
        shares: &mut draft.engine.shares,
        in_force: &mut in_force,
        problems: &mut problems,
    };
    for table in &limits {
        reading.add(table);
    }
    let mut upstreams = UpstreamReader {
        environment: inputs.environment,
        read: inputs.read,
        base,
        timeouts: draft.timeouts,
        configs: Vec::new(),
        in_force: &mut in_force,
        problems: &mut problems,
    };
    for table in &tables {
        upstreams.add(table);
    }
    let mut notes = upstreams.add_from_environment(&tables);
    upstreams.check_not_ourselves(draft.server.listen);
    let upstreams = upstreams.configs;
    let mut routes = RouteReader {
        upstreams: &upstreams,
        may_have_demo: draft.demo_enabled != Some(false),
        configs: Vec::new(),
        in_force: &mut in_force,
        problems: &mut problems,
    };
    for table in &route_tables {
        routes.add(table);
    }
    let is_demo_used = upstreams.is_empty() || routes.has_demo();
    let routes = routes.configs;
    let demo = provider::config::DemoConfig {
        enabled: draft.demo_enabled.unwrap_or(is_demo_used),
        ..draft.demo
    };
    let provider = provider::Config { demo, upstreams, routes, retries: draft.retries };
    if !provider.demo.enabled && provider.upstreams.is_empty() {
        notes.push("there is no model: demo.enabled is false and there is no upstream".to_owned());
    }
    let Draft { server, engine, durability, shutdown, log, traces, .. } = draft;
    let source = in_force
        .iter()
        .find(|row| row.path == traces::ENDPOINT)
        .map_or(ValueSource::Default, |row| row.source.clone());
    let mut reading =
        TraceReader { environment: inputs.environment, problems: &mut problems, notes: &mut notes };
    let (traces, theirs) = reading.settle(traces, &source);
    if let (Some(config), Some(name)) = (&traces, theirs) {
        note(
            &mut in_force,
            traces::ENDPOINT,
            config.endpoint.clone(),
            Some(ValueSource::Variable(name.to_owned())),
        );
    }
    let file = inputs.file.map(|file| file.name.clone());
    let settings = Settings {
        server,
        engine,
        provider,
        tls,
        data,
        shutdown,
        durability,
        log,
        traces,
        file,
        in_force,
        notes,
    };
    (settings, problems)
}

/// The defaults, as rows in force.
fn defaults() -> Vec<InForce> {
    let row = |definition: &Definition| InForce {
        path: definition.path.to_owned(),
        value: definition.default.to_owned(),
        source: ValueSource::Default,
    };
    SETTINGS.iter().map(row).collect()
}

fn typed(source: ValueSource, text: &str) -> Field {
    Field { source, raw: Raw::Typed(text.to_owned()) }
}

fn note(in_force: &mut [InForce], path: &str, value: String, source: Option<ValueSource>) {
    if let Some(row) = in_force.iter_mut().find(|row| row.path == path) {
        row.value = value;
        row.source = source.unwrap_or_else(|| row.source.clone());
    }
}

struct SettingsCollector {
    draft: Draft,
    in_force: Vec<InForce>,
    problems: Vec<Problem>,
}

impl SettingsCollector {
    /// A later value replaces an earlier one; an invalid one is reported even if it is replaced.
    fn put(&mut self, definition: &Definition, field: Field, base: &Path) {
        match definition.kind.put(&mut self.draft, &field.raw, base) {
            Ok(()) => self.note(definition.path, field.raw.to_string(), Some(field.source)),
            Err(what) => self.problems.push(Problem::value(&field.source, definition.path, &what)),
        }
    }

    fn note(&mut self, path: &str, value: String, source: Option<ValueSource>) {
        note(&mut self.in_force, path, value, source);
    }

    fn data(&mut self, environment: &Environment) -> DataLocation {
        let platforms = || environment::data_directory(environment).map(DataLocation::Directory);
        let data = self.draft.data.take().or_else(platforms).unwrap_or_else(|| {
            let what = "data: there is no home directory to keep it in; set --data DIR, or --data :memory: to keep nothing";
            self.problems.push(Problem::new(ValueSource::Default, what));
            DataLocation::Memory
        });
        self.note("data", data.to_string(), None);
        data
    }

    fn tls(&mut self) -> TlsConfig {
        let draft = std::mem::take(&mut self.draft.tls);
        draft.settle().unwrap_or_else(|(path, what)| {
            let source = self
                .in_force
                .iter()
                .find(|row| row.path == path)
                .map_or(ValueSource::Default, |row| row.source.clone());
            self.problems.push(Problem::new(source, format!("{path}: {what}")));
            TlsConfig::Off
        })
    }

    /// The default of `store.bytes` depends on whether data is kept in memory.
    fn settle_size(&mut self, data: &DataLocation) {
        let (bytes, typed) = match data {
            DataLocation::Memory => (256 << 20, "256MiB"),
            DataLocation::Directory(_) => (8 << 30, "8GiB"),
        };
        if self.draft.kept_bytes.is_none() {
            self.note("store.bytes", typed.to_owned(), None);
        }
        self.draft.engine.kept_bytes = self.draft.kept_bytes.unwrap_or(bytes);
    }

    fn check_sizes(&mut self) {
        if self.draft.engine.answer_bytes <= self.draft.engine.kept_bytes {
            return;
        }
        let rows = ["engine.answer_bytes", "store.bytes"]
            .map(|path| self.in_force.iter().find(|row| row.path == path));
        let values = rows.map(|row| row.map_or("", |row| &row.value));
        // The problem belongs to the one that was set.
        let source = rows
            .into_iter()
            .flatten()
            .map(|row| &row.source)
            .max()
            .unwrap_or(&ValueSource::Default);
        let what = format!(
            "engine.answer_bytes ({}) must not be larger than store.bytes ({})",
            values[0], values[1]
        );
        self.problems.push(Problem::new(source.clone(), what));
    }
}
