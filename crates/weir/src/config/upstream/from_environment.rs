//! Upstreams that variables of the environment add.

use std::collections::BTreeMap;

use provider::config::{Preset, UpstreamConfig};

use super::super::field::{Field, Table};
use super::super::problem::ValueSource;
use super::super::value::{self, Raw};
use super::reader::UpstreamReader;
use super::values::ollama_address;

/// The upstreams that the environment may add: name, kind, variable of the key, variable of the
/// address.
const FROM_ENVIRONMENT: [(&str, Preset, Option<&str>, Option<&str>); 4] = [
    ("openai", Preset::OpenAi, Some("OPENAI_API_KEY"), Some("OPENAI_BASE_URL")),
    ("anthropic", Preset::Anthropic, Some("ANTHROPIC_API_KEY"), Some("ANTHROPIC_BASE_URL")),
    ("gemini", Preset::Gemini, Some("GEMINI_API_KEY"), None),
    ("ollama", Preset::Ollama, None, Some("OLLAMA_HOST")),
];

impl UpstreamReader<'_> {
    /// Adds the upstreams that variables define. Returns a note for each that the file already
    /// defines.
    pub(in crate::config) fn add_from_environment(&mut self, tables: &[Table]) -> Vec<String> {
        let added = FROM_ENVIRONMENT.map(|(name, preset, key, address)| {
            let [key, address] = [key, address].map(|variable| {
                variable.and_then(|variable| Some((variable, self.variable(variable)?)))
            });
            let says = |table: &Table, field: &str, text: &str| {
                table.fields.get(field).is_some_and(|field| match &field.raw {
                    Raw::Text(known) => known == text,
                    Raw::List(list) => list.iter().any(|known| known == text),
                    Raw::Typed(_) | Raw::Number(_) | Raw::Boolean(_) | Raw::Other(_) => false,
                })
            };
            let variables: Vec<&str> =
                [&key, &address].into_iter().flatten().map(|(variable, _)| *variable).collect();
            if variables.is_empty() {
                return None;
            }
            // A key that the file assigns to an upstream must not be sent to another.
            let has_key = |table: &Table| {
                key.as_ref().is_some_and(|(variable, _)| says(table, "api_key_env", variable))
            };
            if tables.iter().any(|table| {
                says(table, "name", name) || says(table, "kind", preset.word()) || has_key(table)
            }) {
                let verb = if variables.len() == 1 { "adds" } else { "add" };
                return Some(format!(
                    "{} {verb} no upstream, because the file configures that upstream",
                    variables.join(" and ")
                ));
            }
            self.add_one(
                name,
                preset,
                key.map(|(_, field)| field),
                address.map(|(_, field)| field),
            );
            None
        });
        added.into_iter().flatten().collect()
    }

    fn add_one(&mut self, name: &str, preset: Preset, key: Option<Field>, address: Option<Field>) {
        let mut fields = BTreeMap::new();
        let address = address.map(|field| {
            if preset == Preset::Ollama {
                Field { raw: Raw::Typed(ollama_address(&field.raw.to_string())), ..field }
            } else {
                field
            }
        });
        let default_address = || Field {
            source: ValueSource::Default,
            raw: Raw::Typed(preset.base_url().unwrap_or_default().to_owned()),
        };
        // A custom address may be any server that is compatible with OpenAI.
        let preset =
            if preset == Preset::OpenAi && address.is_some() { Preset::Compatible } else { preset };
        let base_url = fields
            .entry("base_url")
            .or_insert_with(|| address.unwrap_or_else(default_address))
            .clone();
        let base_url = value::base_url(&base_url.raw)
            .map_err(|message| self.problem(&base_url.source, "base_url", &message))
            .ok();
        let keys = key.map(|field| {
            let label = field.source.to_string();
            let keys = self.keys_of_variable(&label, &field.raw.to_string(), &field.source);
            fields.insert("api_key", field);
            keys
        });
        if let Some(base_url) = base_url {
            let mut config = UpstreamConfig::new(name, preset, base_url);
            config.keys.extend(keys.into_iter().flatten());
            config.timeouts = self.timeouts;
            self.show(&config, &fields);
            self.configs.push(config);
        }
    }
}
