//! Upstreams: one for each `[[upstream]]` of the file, and those that variables of the environment add.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::provider::route::Timeouts;
use engine::secret::Secret;
use provider::config::{
    Compat, ConnectionConfig, HostedTools, KeyConfig, Preset, ReasoningHistory, Strategy,
    SystemMessages, UnknownTools, UpstreamConfig, WireKind,
};

use super::environment::{self, Environment};
use super::field::{Field, Table};
use super::problem::{Problem, ValueSource};
use super::settings::InForce;
use super::value::{self, Raw};

mod values;

pub(crate) use values::without_password;
use values::{body, headers, ollama_address, proxy};

/// The keys of an `[[upstream]]`, each with a line of an example.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("name", r#""local"                          # for logs and routes; unique"#),
    (
        "kind",
        r#""ollama"                         # the vendor: openai, azure, anthropic, gemini, ollama, deepseek, qwen, moonshot, openrouter, vllm, llamacpp, lmstudio; else "compatible""#,
    ),
    (
        "wire",
        r#""chat"                           # its API, if not the usual one of its kind: chat, responses, anthropic, gemini or ollama"#,
    ),
    ("base_url", r#""http://localhost:11434/v1"  # up to and including /v1; a kind has a default"#),
    ("api_key_env", r#""LOCAL_API_KEY"           # the variable that holds its key; or:"#),
    (
        "api_key_file",
        r#""local.key"              # the file that holds it, or several, a line for each; or:"#,
    ),
    ("api_key", r#""sk-…"                        # the key itself. All three may be lists"#),
    ("key_weights", r#"["3", "1"]                # the share of each key; equal by default"#),
    (
        "key_strategy",
        r#""least_busy"             # which key is next: least_busy, round_robin, random or order"#,
    ),
    (
        "key_concurrency",
        r"0                             # how many answers may run on a key at once; 0: no limit",
    ),
    (
        "key_rest",
        r#""10m"                        # the longest time that a refused or rate-limited key rests; 0s: none does"#,
    ),
    (
        "breaker",
        r"5                                     # failures in a row after which nothing is sent there for a while; 0: never",
    ),
    ("queue", r"1000                                    # how many calls may wait for a free key"),
    ("queue_timeout", r#""30s"                   # how long they wait"#),
    (
        "models",
        r#"["qwen3", "gemma3"]            # what it serves; default: what it lists, and any name no other upstream serves"#,
    ),
    (
        "proxy",
        r#""socks5://user:password@proxy:1080"  # http://, https:// or socks5://; "none"; default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY"#,
    ),
    ("ca_file", r#""authority.pem"               # authorities to trust beside the system's"#),
    (
        "http2",
        r"false                                  # HTTP/2 if TLS offers it, and always without TLS",
    ),
    ("headers", r#"["X-Title: Weir"]             # sent with every request"#),
    (
        "body",
        r#"'{"top_k": 40}'                  # fields that are added to the body of every request, as JSON"#,
    ),
    (
        "stream_options",
        r"true                           # false: the upstream refuses `stream_options`, so its usage is counted",
    ),
    (
        "system_messages",
        r#""first"               # first: all in one, at the start; in_place: each where it is; a kind has a default"#,
    ),
    (
        "reasoning_history",
        r#""with_calls"         # which earlier reasoning goes back: never, with_calls (before tool calls) or always; a kind has a default"#,
    ),
    (
        "hosted_tools",
        r#""omit"                   # tools that the upstream would have to run (web_search…): omit, refuse or pass"#,
    ),
    (
        "unknown_tools",
        r#""pass"                  # calls of tools that were not offered: pass or refuse"#,
    ),
    ("connect_timeout", r#""10s"                 # default: [timeouts]"#),
    ("headers_timeout", r#""2m""#),
    ("first_token_timeout", r#""10m""#),
    ("idle_timeout", r#""2m""#),
    ("keep_alive_timeout", r#""10m""#),
    ("total_timeout", r#""0s""#),
];

/// Where a timeout is kept.
type TimeoutField = fn(&mut Timeouts) -> &mut Duration;

/// A timeout's key here, its setting among the defaults, the least it can be, and its field.
const TIMEOUTS: [(&str, &str, Duration, TimeoutField); 6] = [
    ("connect_timeout", "timeouts.connect", Duration::from_millis(1), |timeouts| {
        &mut timeouts.connect
    }),
    ("headers_timeout", "timeouts.headers", Duration::from_millis(1), |timeouts| {
        &mut timeouts.headers
    }),
    ("first_token_timeout", "timeouts.first_token", Duration::from_millis(1), |timeouts| {
        &mut timeouts.first_token
    }),
    ("idle_timeout", "timeouts.idle", Duration::from_millis(1), |timeouts| &mut timeouts.idle),
    ("keep_alive_timeout", "timeouts.keep_alive", Duration::from_millis(1), |timeouts| {
        &mut timeouts.keep_alive
    }),
    ("total_timeout", "timeouts.total", Duration::ZERO, |timeouts| &mut timeouts.total),
];

/// What the environment may add: an upstream's name and kind, the variable of its key and that of its address.
const FROM_ENVIRONMENT: [(&str, Preset, Option<&str>, Option<&str>); 4] = [
    ("openai", Preset::OpenAi, Some("OPENAI_API_KEY"), Some("OPENAI_BASE_URL")),
    ("anthropic", Preset::Anthropic, Some("ANTHROPIC_API_KEY"), Some("ANTHROPIC_BASE_URL")),
    ("gemini", Preset::Gemini, Some("GEMINI_API_KEY"), None),
    ("ollama", Preset::Ollama, None, Some("OLLAMA_HOST")),
];

/// How one types how a key is chosen.
pub(super) const STRATEGIES: &[(&str, Strategy)] = &[
    ("least_busy", Strategy::LeastBusy),
    ("round_robin", Strategy::RoundRobin),
    ("random", Strategy::Random),
    ("order", Strategy::Order),
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

    /// Takes the upstreams that variables of the environment add. Says so where the file's leave them nothing to add.
    pub(super) fn add_from_environment(&mut self, tables: &[Table]) -> Vec<String> {
        let added = FROM_ENVIRONMENT.map(|(name, preset, key, address)| {
            let [key, address] = [key, address].map(|variable| {
                variable.and_then(|variable| Some((variable, self.variable(variable)?)))
            });
            let says = |table: &Table, field: &str, text: &str| {
                table.fields.get(field).is_some_and(|field| match &field.raw {
                    Raw::Text(said) => said == text,
                    Raw::List(list) => list.iter().any(|said| said == text),
                    Raw::Typed(_) | Raw::Number(_) | Raw::Boolean(_) | Raw::Other(_) => false,
                })
            };
            let variables: Vec<&str> =
                [&key, &address].into_iter().flatten().map(|(variable, _)| *variable).collect();
            if variables.is_empty() {
                return None;
            }
            // The key belongs to whom the file gives it; it must not also go elsewhere.
            let has_key = |table: &Table| {
                key.as_ref().is_some_and(|(variable, _)| says(table, "api_key_env", variable))
            };
            if tables.iter().any(|table| {
                says(table, "name", name) || says(table, "kind", preset.word()) || has_key(table)
            }) {
                let verb = if variables.len() == 1 { "adds" } else { "add" };
                return Some(format!(
                    "{} {verb} no upstream, because the file speaks of it",
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

    /// A server that is its own upstream waits for itself as often as it may: vLLM's usual port is Weir's, too.
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
                "{name}: this is where Weir itself listens ({listen}); say another base_url, or another server.listen"
            );
            self.problem(&ValueSource::Default, "base_url", &what);
        }
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
        let usual = || Field {
            place: ValueSource::Default,
            raw: Raw::Typed(preset.base_url().unwrap_or_default().to_owned()),
        };
        // An address of one's own may be anything that speaks OpenAI's language.
        let preset =
            if preset == Preset::OpenAi && address.is_some() { Preset::Compatible } else { preset };
        let base_url =
            fields.entry("base_url").or_insert_with(|| address.unwrap_or_else(usual)).clone();
        let base_url = value::base_url(&base_url.raw)
            .map_err(|what| self.problem(&base_url.place, "base_url", &what))
            .ok();
        let api_key = key.and_then(|field| {
            let label = field.place.to_string();
            let api_key = self.secret(&field.raw.to_string(), &field.place, "api_key");
            fields.insert("api_key", field);
            api_key.map(|secret| KeyConfig::new(label, secret))
        });
        if let Some(base_url) = base_url {
            let mut config = UpstreamConfig::new(name, preset, base_url);
            config.keys.extend(api_key);
            config.timeouts = self.timeouts;
            self.show(&config, &fields);
            self.configs.push(config);
        }
    }

    /// What the upstream takes and what it does not.
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

    fn variable(&mut self, name: &str) -> Option<Field> {
        match environment::text(self.environment, name) {
            Ok(text) => text.map(|text| Field {
                place: ValueSource::Variable(name.to_owned()),
                raw: Raw::Typed(text.to_owned()),
            }),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// Reads a field where it is there; a wrong one is reported.
    fn read<T>(
        &mut self,
        table: &Table,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        let field = table.fields.get(key)?;
        read(&field.raw).map_err(|what| self.problem(&field.place, key, &what)).ok()
    }

    fn name(&mut self, table: &Table) -> Option<String> {
        let Some(field) = table.fields.get("name") else {
            self.problem(&table.place, "name", "missing; it is the upstream's name in logs");
            return None;
        };
        let allowed = |text: &&str| {
            text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        };
        match value::text(&field.raw).map(|text| Some(text).filter(allowed)) {
            Ok(Some(name)) if self.configs.iter().any(|config| config.name == name) => {
                self.problem(
                    &field.place,
                    "name",
                    &format!("there is already an upstream {name:?}"),
                );
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

    fn base_url(&mut self, table: &Table, preset: Preset) -> Option<String> {
        if let Some(field) = table.fields.get("base_url") {
            return value::base_url(&field.raw)
                .map_err(|what| self.problem(&field.place, "base_url", &what))
                .ok();
        }
        let usual = preset.base_url().map(str::to_owned);
        if usual.is_none() {
            self.problem(
                &table.place,
                "base_url",
                "missing; it is the upstream's address up to and with /v1",
            );
        }
        usual
    }

    /// The keys, from one of the three places; where none is named, from the variable that is usual for the kind.
    fn keys(&mut self, table: &Table, preset: Preset) -> Vec<KeyConfig> {
        let given: Vec<(&str, &Field)> = ["api_key", "api_key_env", "api_key_file"]
            .into_iter()
            .filter_map(|key| Some((key, table.fields.get(key)?)))
            .collect();
        if let [_, (second, field), ..] = given[..] {
            self.problem(
                &field.place,
                second,
                "an upstream's keys come from one place; say api_key, api_key_env or api_key_file",
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
            // What is there is not shown: it may be a key.
            self.problem(&field.place, key, "expected a text between quotes, or a list of them");
            return Vec::new();
        };
        let mut keys = Vec::new();
        for text in texts {
            let found = match key {
                "api_key_env" => self
                    .key_in_environment(text)
                    .map(|secret| vec![(Some(text.to_owned()), secret)]),
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
                            self.secret(&secret, &field.place, key)
                                .map(|secret| KeyConfig::new(label, secret)),
                        );
                    }
                }
                Err(what) => self.problem(&field.place, key, &what),
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
        let secret = self.secret(&field.raw.to_string(), &field.place, "api_key");
        secret.map(|secret| KeyConfig::new(variable, secret)).into_iter().collect()
    }

    fn key_in_environment(&self, name: &str) -> Result<String, String> {
        // What does not look like a name may be the key itself, and is not repeated.
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

    /// A key for each line; empty ones and those that begin with # are none.
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
        if keys.is_empty() { Err(format!("{shown} holds no key")) } else { Ok(keys) }
    }

    fn secret(&mut self, text: &str, place: &ValueSource, key: &str) -> Option<Secret> {
        let text = text.trim();
        if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            self.problem(place, key, "not a key: a key is one word of letters, digits and signs");
            return None;
        }
        Some(Secret::new(text))
    }

    fn weigh(&mut self, table: &Table, keys: &mut [KeyConfig]) {
        let weights = self
            .read(table, "key_weights", |raw| value::weights(raw, keys.len()))
            .unwrap_or_default();
        keys.iter_mut().zip(weights).for_each(|(key, weight)| key.weight = weight);
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

    fn timeouts(&mut self, table: &Table) -> Timeouts {
        let mut timeouts = self.timeouts;
        for (key, _, least, field_of) in TIMEOUTS {
            if let Some(duration) = self.read(table, key, |raw| value::duration(raw, least)) {
                *field_of(&mut timeouts) = duration;
            }
        }
        timeouts
    }

    /// Notes what is in force, for `weir config`: never a key, and no password.
    fn show(&mut self, config: &UpstreamConfig, fields: &BTreeMap<&'static str, Field>) {
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
        // What most say nothing of is shown where somebody does.
        let told = [
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
            told.iter().filter(|key| fields.contains_key(*key)).map(|key| (*key, String::new())),
        );
        rows.extend(TIMEOUTS.map(|(key, ..)| (key, String::new())));
        for (key, usual) in rows {
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
            let (value, place) = match (key, given, inherited) {
                ("api_key" | "headers", Some(field), _) => {
                    ("(hidden)".to_owned(), field.place.clone())
                }
                ("proxy", Some(field), _) => {
                    (without_password(&field.raw.to_string()), field.place.clone())
                }
                ("api_key", None, _) if !config.keys.is_empty() => {
                    ("(hidden)".to_owned(), ValueSource::Default)
                }
                (_, Some(field), _) => (field.raw.to_string(), field.place.clone()),
                (_, None, Some(row)) => (row.value.clone(), row.place.clone()),
                (_, None, None) => (usual, ValueSource::Default),
            };
            self.in_force.push(InForce {
                path: format!("upstream.{}.{key}", config.name),
                value,
                place,
            });
        }
    }

    fn problem(&mut self, place: &ValueSource, key: &str, what: &str) {
        self.problems.push(Problem::value(place, &format!("upstream.{key}"), what));
    }
}
