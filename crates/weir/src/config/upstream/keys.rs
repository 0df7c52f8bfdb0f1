//! The API keys of an upstream: from the file, from variables and from key files.

use std::sync::Arc;

use provider::config::{KeyConfig, Preset};

use super::super::environment;
use super::super::field::{Field, Table};
use super::super::problem::ValueSource;
use super::super::value::{self, Raw};
use super::reader::UpstreamReader;

impl UpstreamReader<'_> {
    /// The keys, from one of the three fields; without any, from the default variable of the kind.
    pub(super) fn keys(&mut self, table: &Table, preset: Preset) -> Vec<KeyConfig> {
        let given: Vec<(&str, &Field)> = ["api_key", "api_key_env", "api_key_file"]
            .into_iter()
            .filter_map(|key| Some((key, table.fields.get(key)?)))
            .collect();
        if let [_, (second, field), ..] = given[..] {
            self.problem(
                &field.source,
                second,
                "an upstream's keys come from one place; set only one of api_key, api_key_env and api_key_file",
            );
            return Vec::new();
        }
        let mut keys = match given.first() {
            Some((key, field)) => self.keys_of(key, field),
            None => self.usual_key(preset),
        };
        let limit = self.read(table, "key_concurrency", |raw| value::count(raw, 0)).unwrap_or(0);
        for key in &mut keys {
            key.concurrency = limit;
        }
        self.weigh(table, &mut keys);
        keys
    }

    fn keys_of(&mut self, key: &str, field: &Field) -> Vec<KeyConfig> {
        let Ok(texts) = value::one_or_more(&field.raw) else {
            // The value is not repeated, since it may be a key.
            self.problem(&field.source, key, "expected a quoted string, or a list of them");
            return Vec::new();
        };
        let mut keys = Vec::new();
        for text in texts {
            let found = match key {
                "api_key_env" => self.key_in_environment(text).map(|value| {
                    let labelled = labelled(text, &value).into_iter();
                    labelled.map(|(label, key)| (Some(label), key)).collect()
                }),
                "api_key_file" => self
                    .keys_in_file(text)
                    .map(|secrets| secrets.into_iter().map(|secret| (None, secret)).collect()),
                _ => Ok(vec![(None, text.to_owned())]),
            };
            match found {
                Ok(found) => {
                    for (label, secret) in found {
                        let label: Arc<str> =
                            label.unwrap_or_else(|| (keys.len() + 1).to_string()).into();
                        keys.extend(
                            self.secret(&secret, &field.source, key)
                                .map(|secret| KeyConfig::new(label, secret)),
                        );
                    }
                }
                Err(message) => self.problem(&field.source, key, &message),
            }
        }
        keys
    }

    fn usual_key(&mut self, preset: Preset) -> Vec<KeyConfig> {
        let Some((variable, field)) =
            preset.key_variable().and_then(|variable| Some((variable, self.variable(variable)?)))
        else {
            return Vec::new();
        };
        self.keys_of_variable(variable, &field.raw.to_string(), &field.source)
    }

    /// The keys in the value of a variable: one, or several separated by commas, which no key
    /// contains.
    pub(super) fn keys_of_variable(
        &mut self,
        variable: &str,
        text: &str,
        source: &ValueSource,
    ) -> Vec<KeyConfig> {
        let labelled = labelled(variable, text);
        let mut keys = Vec::with_capacity(labelled.len());
        for (label, key) in labelled {
            let secret = self.secret(&key, source, "api_key");
            keys.extend(secret.map(|secret| KeyConfig::new(label, secret)));
        }
        keys
    }

    fn key_in_environment(&self, name: &str) -> Result<String, String> {
        // A value that does not look like a name may be the key itself, and is not repeated.
        if !environment::is_name(name) {
            return Err(
                "expected the name of a variable that holds the key, in capital letters, digits and _; a key itself is an api_key".into()
            );
        }
        let text = environment::text(self.environment, name)
            .map_err(|_| format!("{name} is not Unicode text"))?;
        text.map(str::to_owned).ok_or_else(|| {
            format!("{name:?} is not set; it should be the name of a variable that holds the key")
        })
    }

    /// One key per line; empty lines and those that start with # are skipped.
    fn keys_in_file(&self, name: &str) -> Result<Vec<String>, String> {
        let path = value::path(&Raw::Text(name.to_owned()), self.base)?;
        let shown = if value::looks_like_path(name) {
            path.display().to_string()
        } else {
            "the file (its name looks like a key)".to_owned()
        };
        let text = (self.read)(&path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<String> = lines.map(str::to_owned).collect();
        if keys.is_empty() { Err(format!("{shown} contains no key")) } else { Ok(keys) }
    }

    fn weigh(&mut self, table: &Table, keys: &mut [KeyConfig]) {
        let weights = self
            .read(table, "key_weights", |raw| value::weights(raw, keys.len()))
            .unwrap_or_default();
        keys.iter_mut().zip(weights).for_each(|(key, weight)| key.weight = weight);
    }
}

/// The keys in the value of a variable, each with its label: the name of the variable, and a number
/// where there are several. An empty part is left for the check of keys to report.
fn labelled(variable: &str, value: &str) -> Vec<(String, String)> {
    let keys: Vec<&str> = value.trim().trim_end_matches(',').split(',').collect();
    if let [key] = keys[..] {
        return vec![(variable.to_owned(), key.to_owned())];
    }
    let number =
        |(index, key): (usize, &&str)| (format!("{variable} {}", index + 1), key.trim().to_owned());
    keys.iter().enumerate().map(number).collect()
}
