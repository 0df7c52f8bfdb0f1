//! Upstreams: one for each `[[upstream]]` of the file, and `openai` from the environment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use engine::provider::Timeouts;
use engine::secret::Secret;
use provider::config::UpstreamConfig;

use super::InForce;
use super::environment::{self, Environment};
use super::file::{Field, UpstreamTable};
use super::problem::{Place, Problem};
use super::value::{self, Raw};

/// The keys of an `[[upstream]]`, each with a line of an example.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("name", r#""local"                          # for logs; each has its own"#),
    ("base_url", r#""http://localhost:11434/v1"  # up to and with /v1"#),
    ("api_key_env", r#""LOCAL_API_KEY"           # the variable that holds its key; or:"#),
    ("api_key_file", r#""local.key"              # the file that holds it; or:"#),
    ("api_key", r#""sk-…"                        # the key itself"#),
    ("models", r#"["qwen3", "gemma3"]            # what it serves; without it: what it lists, and any name nobody else serves"#),
    ("connect_timeout", r#""10s"                 # else what [timeouts] says"#),
    ("headers_timeout", r#""2m""#),
    ("first_token_timeout", r#""10m""#),
    ("idle_timeout", r#""2m""#),
];

/// The name of the upstream that the environment adds.
const OPENAI: &str = "openai";

/// Where a timeout is kept.
type TimeoutField = fn(&mut Timeouts) -> &mut Duration;

/// A timeout's key here, its setting among the defaults, and its field.
const TIMEOUTS: [(&str, &str, TimeoutField); 4] = [
    ("connect_timeout", "timeouts.connect", |timeouts| &mut timeouts.connect),
    ("headers_timeout", "timeouts.headers", |timeouts| &mut timeouts.headers),
    ("first_token_timeout", "timeouts.first_token", |timeouts| &mut timeouts.first_token),
    ("idle_timeout", "timeouts.idle", |timeouts| &mut timeouts.idle),
];

/// What reading upstreams needs, and what it gathers.
pub(super) struct Upstreams<'a> {
    pub(super) environment: &'a Environment,
    /// Reads a key file.
    pub(super) read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The directory from which key files are meant.
    pub(super) base: &'a Path,
    /// What an upstream that says nothing has.
    pub(super) timeouts: Timeouts,
    pub(super) configs: Vec<UpstreamConfig>,
    pub(super) in_force: &'a mut Vec<InForce>,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Upstreams<'_> {
    /// Takes one `[[upstream]]` of the file.
    pub(super) fn add(&mut self, table: &UpstreamTable) {
        let name = self.name(table);
        let base_url = self.base_url(table);
        let api_key = self.api_key(table);
        let models = self.models(table);
        let timeouts = self.timeouts(table);
        let (Some(name), Some(base_url)) = (name, base_url) else { return };
        self.show(&name, &table.fields);
        self.configs.push(UpstreamConfig { name, base_url, api_key, models, timeouts });
    }

    /// Takes `OPENAI_API_KEY` and `OPENAI_BASE_URL`. Says so where the file's upstreams leave it nothing to add.
    pub(super) fn add_openai(&mut self, tables: &[UpstreamTable]) -> Option<String> {
        let [key, base_url] = ["OPENAI_API_KEY", "OPENAI_BASE_URL"].map(|name| self.variable(name));
        if key.is_none() && base_url.is_none() {
            return None;
        }
        let says = |table: &UpstreamTable, key: &str, text: &str| {
            table.fields.get(key).is_some_and(|field| field.raw == Raw::Text(text.to_owned()))
        };
        // The key belongs to whom the file gives it; it must not also go to api.openai.com.
        if tables.iter().any(|table| says(table, "name", OPENAI) || says(table, "api_key_env", "OPENAI_API_KEY")) {
            return Some("OPENAI_API_KEY and OPENAI_BASE_URL add no upstream, because the file speaks of them".to_owned());
        }
        let mut fields = BTreeMap::new();
        fields.extend(base_url.map(|field| ("base_url", field)));
        let default = Field { place: Place::Default, raw: Raw::Typed("https://api.openai.com/v1".to_owned()) };
        let base_url = fields.entry("base_url").or_insert(default).clone();
        let base_url = value::base_url(&base_url.raw).map_err(|what| self.problem(&base_url.place, "base_url", &what)).ok();
        let api_key = key.and_then(|field| {
            let api_key = self.secret(&field.raw.to_string(), &field.place, "api_key");
            fields.insert("api_key", field);
            api_key
        });
        if let Some(base_url) = base_url {
            self.show(OPENAI, &fields);
            self.configs.push(UpstreamConfig { name: OPENAI.to_owned(), base_url, api_key, models: Vec::new(), timeouts: self.timeouts });
        }
        None
    }

    fn variable(&mut self, name: &str) -> Option<Field> {
        match environment::text(self.environment, name) {
            Ok(text) => text.map(|text| Field { place: Place::Variable(name.to_owned()), raw: Raw::Typed(text.to_owned()) }),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn name(&mut self, table: &UpstreamTable) -> Option<String> {
        let Some(field) = table.fields.get("name") else {
            self.problem(&table.place, "name", "missing; it is the upstream's name in logs");
            return None;
        };
        let allowed = |text: &&str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        match value::text(&field.raw).map(|text| Some(text).filter(allowed)) {
            Ok(Some(name)) if self.configs.iter().any(|config| config.name == name) => {
                self.problem(&field.place, "name", &format!("there is already an upstream {name:?}"));
                None
            }
            Ok(Some(name)) => Some(name.to_owned()),
            Ok(None) => {
                self.problem(&field.place, "name", "expected letters, digits, - _ and .");
                None
            }
            Err(what) => {
                self.problem(&field.place, "name", &what);
                None
            }
        }
    }

    fn base_url(&mut self, table: &UpstreamTable) -> Option<String> {
        let Some(field) = table.fields.get("base_url") else {
            self.problem(&table.place, "base_url", "missing; it is the upstream's address up to and with /v1");
            return None;
        };
        value::base_url(&field.raw).map_err(|what| self.problem(&field.place, "base_url", &what)).ok()
    }

    fn api_key(&mut self, table: &UpstreamTable) -> Option<Secret> {
        let given: Vec<(&str, &Field)> =
            ["api_key", "api_key_env", "api_key_file"].into_iter().filter_map(|key| Some((key, table.fields.get(key)?))).collect();
        if let [_, (second, field), ..] = given[..] {
            self.problem(&field.place, second, "an upstream has one key; say api_key, api_key_env or api_key_file");
            return None;
        }
        let (key, field) = given.first().copied()?;
        let Ok(text) = value::text(&field.raw) else {
            // What is there is not shown: it may be a key.
            self.problem(&field.place, key, "expected a text between quotes");
            return None;
        };
        let secret = match key {
            "api_key_env" => self.key_in_environment(text),
            "api_key_file" => self.key_in_file(&field.raw),
            _ => Ok(text.to_owned()),
        };
        match secret {
            Ok(secret) => self.secret(&secret, &field.place, key),
            Err(what) => {
                self.problem(&field.place, key, &what);
                None
            }
        }
    }

    fn key_in_environment(&self, name: &str) -> Result<String, String> {
        let text = environment::text(self.environment, name).map_err(|_| format!("{name} is not Unicode text"))?;
        text.map(str::to_owned).ok_or_else(|| format!("{name:?} is not set; it should be the name of a variable that holds the key"))
    }

    fn key_in_file(&self, raw: &Raw) -> Result<String, String> {
        let path = value::path(raw, self.base)?;
        (self.read)(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    }

    fn secret(&mut self, text: &str, place: &Place, key: &str) -> Option<Secret> {
        let text = text.trim();
        if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            self.problem(place, key, "not a key: a key is one word of letters, digits and signs");
            return None;
        }
        Some(Secret::new(text))
    }

    fn models(&mut self, table: &UpstreamTable) -> Vec<String> {
        let Some(field) = table.fields.get("models") else { return Vec::new() };
        match value::list(&field.raw) {
            Ok(models) if !models.iter().any(|model| model.trim().is_empty()) => models.into_iter().map(str::to_owned).collect(),
            Ok(_) => {
                self.problem(&field.place, "models", "a model without a name");
                Vec::new()
            }
            Err(what) => {
                self.problem(&field.place, "models", &what);
                Vec::new()
            }
        }
    }

    fn timeouts(&mut self, table: &UpstreamTable) -> Timeouts {
        let mut timeouts = self.timeouts;
        for (key, _, field_of) in TIMEOUTS {
            let Some(field) = table.fields.get(key) else { continue };
            match value::duration(&field.raw, Duration::from_millis(1)) {
                Ok(duration) => *field_of(&mut timeouts) = duration,
                Err(what) => self.problem(&field.place, key, &what),
            }
        }
        timeouts
    }

    /// Notes what is in force, for `weir config`: never a key.
    fn show(&mut self, name: &str, fields: &BTreeMap<&'static str, Field>) {
        let mut rows = vec![("base_url", None), ("api_key", None), ("models", None)];
        rows.extend(TIMEOUTS.map(|(key, setting, _)| (key, Some(setting))));
        for (key, setting) in rows {
            let given = match key {
                "api_key" => ["api_key", "api_key_env", "api_key_file"].iter().find_map(|key| fields.get(key)),
                _ => fields.get(key),
            };
            let inherited = || setting.and_then(|path| self.in_force.iter().find(|row| row.path == path));
            let (value, place) = match (key, given) {
                ("api_key", Some(field)) => ("(hidden)".to_owned(), field.place.clone()),
                ("api_key", None) => ("(none)".to_owned(), Place::Default),
                (_, Some(field)) => (field.raw.to_string(), field.place.clone()),
                ("models", None) => ("(what it lists)".to_owned(), Place::Default),
                (_, None) => inherited().map_or((String::new(), Place::Default), |row| (row.value.clone(), row.place.clone())),
            };
            self.in_force.push(InForce { path: format!("upstream.{name}.{key}"), value, place });
        }
    }

    fn problem(&mut self, place: &Place, key: &str, what: &str) {
        self.problems.push(Problem::value(place, &format!("upstream.{key}"), what));
    }
}
