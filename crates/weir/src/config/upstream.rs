//! Upstreams: one for each `[[upstream]]` of the file, and those that variables of the environment
//! add.

pub(super) mod fields;
pub(super) mod reader;
pub(super) mod values;

mod from_environment;
mod in_force;
mod keys;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use engine::provider::route::Timeouts;
use provider::config::{
    Compat, ConnectionConfig, HostedTools, Preset, ReasoningHistory, SystemMessages, UnknownTools,
    UpstreamConfig, WireKind,
};

use super::field::Table;
use super::problem::ValueSource;
use super::value::{self, Raw};
use fields::{STRATEGIES, TIMEOUTS};
use reader::UpstreamReader;
use values::{body, headers, proxy};

impl UpstreamReader<'_> {
    /// Reads one `[[upstream]]`.
    pub(super) fn add(&mut self, table: &Table) {
        let name = self.name(table);
        let preset = self
            .read(table, "kind", |raw| value::word(raw, &Preset::all().collect::<Vec<_>>()))
            .unwrap_or_default();
        let base_url = self.base_url(table, preset);
        let mut config = UpstreamConfig::new(
            name.clone().unwrap_or_default(),
            preset,
            base_url.clone().unwrap_or_default(),
        );
        config.timeouts = self.timeouts(table);
        config.wire =
            self.read(table, "wire", |raw| value::word(raw, WireKind::ALL)).unwrap_or(config.wire);
        config.keys = self.keys(table, preset);
        config.strategy = self
            .read(table, "key_strategy", |raw| value::word(raw, STRATEGIES))
            .unwrap_or(config.strategy);
        config.key_rest = self
            .read(table, "key_rest", |raw| value::duration(raw, Duration::ZERO))
            .unwrap_or(config.key_rest);
        let breaker = self
            .read(table, "breaker", |raw| value::count(raw, 0))
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        config.breaker = breaker.unwrap_or(config.breaker);
        config.queue =
            self.read(table, "queue", |raw| value::count(raw, 0)).unwrap_or(config.queue);
        config.queue_timeout = self
            .read(table, "queue_timeout", |raw| value::duration(raw, Duration::ZERO))
            .unwrap_or(config.queue_timeout);
        config.models = self.models(table);
        config.connection = self.connection(table);
        config.compat = self.compat(table);
        if name.is_some() && base_url.is_some() {
            self.show(&config, &table.fields);
            self.configs.push(config);
        }
    }

    /// Rejects an upstream at Weir's own address, whose requests would loop: vLLM's default port is
    /// Weir's, too.
    pub(super) fn check_not_ourselves(&mut self, listen: SocketAddr) {
        let is_ours = |config: &UpstreamConfig| {
            let Ok(uri) = config.base_url.parse::<http::Uri>() else { return false };
            let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let is_here = host == "localhost"
                || host
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.is_loopback() || address == listen.ip());
            is_here && uri.port_u16().unwrap_or(80) == listen.port()
        };
        let ours: Vec<String> = self
            .configs
            .iter()
            .filter(|config| is_ours(config))
            .map(|config| config.name.clone())
            .collect();
        for name in ours {
            let what = format!(
                "{name}: Weir itself listens there ({listen}); change base_url or server.listen"
            );
            self.problem(&ValueSource::Default, "base_url", &what);
        }
    }

    fn name(&mut self, table: &Table) -> Option<String> {
        let Some(field) = table.fields.get("name") else {
            self.problem(&table.source, "name", "missing; it is the upstream's name in logs");
            return None;
        };
        let allowed = |text: &&str| {
            text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        };
        match value::text(&field.raw).map(|text| Some(text).filter(allowed)) {
            Ok(Some(name)) if self.configs.iter().any(|config| config.name == name) => {
                self.problem(
                    &field.source,
                    "name",
                    &format!("there is already an upstream {name:?}"),
                );
                None
            }
            Ok(Some(name)) => Some(name.to_owned()),
            Ok(None) => {
                self.problem(&field.source, "name", "expected letters, digits, - _ and .");
                None
            }
            Err(what) => {
                self.problem(&field.source, "name", &what);
                None
            }
        }
    }

    fn base_url(&mut self, table: &Table, preset: Preset) -> Option<String> {
        if let Some(field) = table.fields.get("base_url") {
            return value::base_url(&field.raw)
                .map_err(|what| self.problem(&field.source, "base_url", &what))
                .ok();
        }
        let usual = preset.base_url().map(str::to_owned);
        if usual.is_none() {
            self.problem(
                &table.source,
                "base_url",
                "missing; it is the upstream's address up to and with /v1",
            );
        }
        usual
    }

    fn models(&mut self, table: &Table) -> Vec<String> {
        let read = |raw: &Raw| {
            let models = value::list(raw)?;
            if models.iter().any(|model| model.trim().is_empty()) {
                return Err("a model without a name".to_owned());
            }
            Ok(models.into_iter().map(str::to_owned).collect())
        };
        self.read(table, "models", read).unwrap_or_default()
    }

    fn connection(&mut self, table: &Table) -> ConnectionConfig {
        let certificates = |raw: &Raw, base: &Path, read: &dyn Fn(&Path) -> io::Result<String>| {
            let path = value::path(raw, base)?;
            read(&path)
                .map(String::into_bytes)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let (base, read) = (self.base, self.read);
        ConnectionConfig {
            proxy: self.read(table, "proxy", proxy).unwrap_or_default(),
            ca: self.read(table, "ca_file", |raw| certificates(raw, base, read)),
            http2: self.read(table, "http2", value::boolean).unwrap_or(false),
            headers: self.read(table, "headers", headers).unwrap_or_default(),
        }
    }

    /// The upstream's deviations from the standard API.
    fn compat(&mut self, table: &Table) -> Compat {
        let usual = Compat::default();
        Compat {
            stream_options: self
                .read(table, "stream_options", value::boolean)
                .unwrap_or(usual.stream_options),
            system_messages: self
                .read(table, "system_messages", |raw| value::word(raw, SystemMessages::ALL)),
            reasoning_history: self
                .read(table, "reasoning_history", |raw| value::word(raw, ReasoningHistory::ALL)),
            hosted_tools: self
                .read(table, "hosted_tools", |raw| value::word(raw, HostedTools::ALL))
                .unwrap_or(usual.hosted_tools),
            unknown_tools: self
                .read(table, "unknown_tools", |raw| value::word(raw, UnknownTools::ALL))
                .unwrap_or(usual.unknown_tools),
            body: self.read(table, "body", body).unwrap_or(usual.body),
        }
    }

    fn timeouts(&mut self, table: &Table) -> Timeouts {
        let mut timeouts = self.timeouts;
        for (key, _, least, field_of) in TIMEOUTS {
            if let Some(duration) = self.read(table, key, |raw| value::duration(raw, least)) {
                *field_of(&mut timeouts) = duration;
            }
        }
        timeouts
    }
}
