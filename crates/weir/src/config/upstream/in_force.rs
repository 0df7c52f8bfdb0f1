//! The settings of an upstream that are in force, as `weir config` shows them.

use std::collections::BTreeMap;

use provider::config::{UpstreamConfig, WireKind};

use super::super::field::Field;
use super::super::problem::ValueSource;
use super::super::settings::InForce;
use super::fields::TIMEOUTS;
use super::reader::UpstreamReader;
use super::values::without_password;

impl UpstreamReader<'_> {
    /// Records the settings in force for `weir config`, without keys and passwords.
    pub(super) fn show(&mut self, config: &UpstreamConfig, fields: &BTreeMap<&'static str, Field>) {
        let wire = WireKind::ALL
            .iter()
            .find(|(_, wire)| *wire == config.wire)
            .map_or("", |(word, _)| word);
        let mut rows = vec![
            ("kind", config.preset.word().to_owned()),
            ("wire", wire.to_owned()),
            ("base_url", config.base_url.clone()),
            ("api_key", "(none)".to_owned()),
            ("models", "(what it lists)".to_owned()),
        ];
        // Rarely used settings are shown only where they are set.
        let listed = [
            "key_weights",
            "key_strategy",
            "key_concurrency",
            "key_rest",
            "breaker",
            "queue",
            "queue_timeout",
            "proxy",
            "ca_file",
            "http2",
            "headers",
        ];
        rows.extend(
            listed.iter().filter(|key| fields.contains_key(*key)).map(|key| (*key, String::new())),
        );
        rows.extend(TIMEOUTS.map(|(key, ..)| (key, String::new())));
        for (key, default) in rows {
            let given = match key {
                "api_key" => ["api_key", "api_key_env", "api_key_file"]
                    .iter()
                    .find_map(|key| fields.get(key)),
                _ => fields.get(key),
            };
            let setting = TIMEOUTS
                .iter()
                .find(|(timeout, ..)| *timeout == key)
                .map(|(_, setting, ..)| *setting);
            let inherited =
                setting.and_then(|path| self.in_force.iter().find(|row| row.path == path));
            let (value, source) = match (key, given, inherited) {
                ("api_key" | "headers", Some(field), _) => {
                    ("(hidden)".to_owned(), field.source.clone())
                }
                ("proxy", Some(field), _) => {
                    (without_password(&field.raw.to_string()), field.source.clone())
                }
                ("api_key", None, _) if !config.keys.is_empty() => {
                    ("(hidden)".to_owned(), ValueSource::Default)
                }
                (_, Some(field), _) => (field.raw.to_string(), field.source.clone()),
                (_, None, Some(row)) => (row.value.clone(), row.source.clone()),
                (_, None, None) => (default, ValueSource::Default),
            };
            self.in_force.push(InForce {
                path: format!("upstream.{}.{key}", config.name),
                value,
                source,
            });
        }
    }
}
