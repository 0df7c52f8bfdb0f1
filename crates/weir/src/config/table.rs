//! The table of all settings: path, variable, flag, type, default and purpose of each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::provider::route::{Retries, Timeouts};
use protocol::on_leave::OnLeave;
use provider::config::DemoConfig;
use server::{CaptureMode, IpNetwork, MetricsAccess, ProxyProtocol};
use store::Durability;

use crate::shutdown;

use super::settings::{DataLocation, LogConfig, LogFormat};
use super::tls::{TlsDraft, TlsWord};
use super::value::{self, Raw, size};

/// All settings, in the order of the file. Defaults are also in each module's own `Default`; a test
/// compares them.
pub(crate) const SETTINGS: &[Definition] = &[
    setting("data", "", SettingKind::Data(|draft, value| draft.data = Some(value)))
        .flag("data")
        .restart()
        .help("Where Weir keeps responses, conversations and API keys. \":memory:\" keeps nothing.\nDefault: the platform's directory for data, ~/.local/share/weir on Linux."),
    setting("server.listen", "127.0.0.1:8000", SettingKind::Address(|draft, value| draft.server.listen = value))
        .also("WEIR_LISTEN")
        .flag("listen")
        .restart()
        .help("The address to listen on. Port 0 picks a free port. An address beyond loopback needs an API key first: weir key create."),
    setting("server.admin_listen", "", SettingKind::OptionalAddress(|draft, value| draft.server.admin_listen = value))
        .restart()
        .help("A second address, for operations only: /healthz, /readyz and /metrics, without TLS. On loopback, such as 127.0.0.1:8001, it\nneeds no key; elsewhere the numbers need the key of an admin."),
    setting("server.tls", "auto", SettingKind::Tls(|draft, value| draft.tls.word = value))
        .flag("tls")
        .restart()
        .help("Whether to serve HTTPS: auto (if tls_cert and tls_key are set), off, or self-signed (makes a certificate for a trial)."),
    setting("server.tls_cert", "", SettingKind::File(|draft, value| draft.tls.certificate = value))
        .flag("tls-cert")
        .restart()
        .help("The PEM file of the certificate and its chain. It is read again when it changes."),
    setting("server.tls_key", "", SettingKind::File(|draft, value| draft.tls.key = value))
        .flag("tls-key")
        .restart()
        .help("The PEM file of the certificate's private key."),
    setting("server.hosts", "", SettingKind::List(value::host, |draft, value| draft.server.hosts = value))
        .help("Names that requests may use for this server (Host), besides localhost: for a reverse proxy or a tunnel. Needs an API key."),
    setting("server.origins", "", SettingKind::List(value::origin, |draft, value| draft.server.origins = value))
        .help("Origins whose web pages may use the API, such as https://chat.example.org."),
    setting("server.trusted_proxies", "", SettingKind::Networks(|draft, value| draft.server.trusted_proxies = value))
        .help("Addresses or networks (10.0.0.0/8) of reverse proxies whose X-Forwarded-For, -Proto, -Host and -Prefix are trusted. Needs an API key."),
    setting("server.proxy_protocol", "off", SettingKind::ProxyProtocol(|draft, value| draft.server.proxy_protocol = value))
        .help("Whether these proxies must start every connection with a PROXY protocol header, version 1 or 2: off or on. \"on\" needs an API key."),
    setting("server.body_bytes", "32MiB", SettingKind::Bytes(1, |draft, value| draft.server.body_bytes = size(value)))
        .help("The largest request body. A compressed body is measured after decompression."),
    setting("server.text_bytes", "8MiB", SettingKind::Bytes(1, |draft, value| draft.server.text_bytes = size(value)))
        .advanced()
        .help("How much of a request body may be anything other than base64 images and files: text, tools, JSON itself."),
    setting("server.head_bytes", "64KiB", SettingKind::Bytes(LEAST_HEAD, |draft, value| draft.server.head_bytes = size(value)))
        .advanced()
        .help("The largest request head; at least 8KiB."),
    setting("server.head_timeout", "10s", SettingKind::Duration(MOMENT, |draft, value| draft.server.head_timeout = value))
        .advanced()
        .help("How long a client may take to send a request head."),
    setting("server.idle_timeout", "75s", SettingKind::Duration(MOMENT, |draft, value| draft.server.idle_timeout = value))
        .advanced()
        .help("How long a connection may stay open without a request. Should be longer than a reverse proxy keeps its own connections."),
    setting("server.connections", "10000", SettingKind::Count(1, |draft, value| draft.server.connections = value))
        .help("How many connections may be open; more get a 503. The number is lowered if the system allows too few open files."),
    setting("server.connections_per_address", "0", SettingKind::Count(0, |draft, value| draft.server.connections_per_address = value))
        .advanced()
        .help("How many connections may come from one address. 0: a thousand, and no limit for this machine itself."),
    setting("server.body_timeout", "60s", SettingKind::Duration(MOMENT, |draft, value| draft.server.body_timeout = value))
        .advanced()
        .help("How long a client may take to send a request body."),
    setting("server.heartbeat", "15s", SettingKind::Duration(MOMENT, |draft, value| draft.server.heartbeat = value))
        .help("After how long without an event a stream sends a heartbeat. Must be shorter than the idle timeout of every proxy in between."),
    setting("server.write_timeout", "30s", SettingKind::Duration(MOMENT, |draft, value| draft.server.write_timeout = value))
        .advanced()
        .help("How long a client may read nothing before its connection is closed. It can resume."),
    setting("server.hold", "5s", SettingKind::Duration(Duration::ZERO, |draft, value| draft.server.hold = value))
        .formerly("server.chat_hold")
        .advanced()
        .help("How long a stream waits for the first result of its upstream before it sends its 200, so that an early failure keeps its status and\nSDKs retry. 0s: not at all. A request may ask for less: Prefer: wait=0. The former name of this setting is chat_hold."),
    setting("server.socket_age", "1h", SettingKind::Duration(MOMENT, |draft, value| draft.server.socket_age = value))
        .advanced()
        .help("How long a WebSocket, of the classic API too, may start new turns. A turn that is running then still ends."),
    setting("server.websocket_deflate", "false", SettingKind::Boolean(|draft, value| draft.server.websocket_deflate = value))
        .advanced()
        .help("Whether a WebSocket is compressed if its client offers it (permessage-deflate)."),
    setting("server.fin_leaves_json", "true", SettingKind::Boolean(|draft, value| draft.server.fin_leaves_json = value))
        .advanced()
        .help("Whether a client that closes its half of the connection before a JSON response starts counts as gone."),
    setting("store.durability", "process", SettingKind::Durability(|draft, value| draft.durability = value))
        .restart()
        .help("What a running response survives, before a client sees it: memory (nothing), process (kill -9 and crashes) or disk (loss of power).\nWith --data :memory: it is always memory."),
    setting("store.retention", "30d", SettingKind::Duration(Duration::ZERO, |draft, value| draft.engine.retention = value))
        .help("How long a finished response is kept."),
    setting("store.bytes", "", SettingKind::Bytes(1, |draft, value| draft.kept_bytes = Some(value)))
        .help("How many bytes all responses may take; above that the oldest finished ones are deleted.\nDefault: 8GiB, or 256MiB with --data :memory:."),
    setting("classic.enabled", "true", SettingKind::Boolean(|draft, value| draft.server.classic.enabled = value))
        .help("Whether to serve the API of the Java demo of 2023: /createSse, /chat, /closeSse, /websocket. See docs/how-to/classic.md."),
    setting("classic.origins", "", SettingKind::List(value::page, |draft, value| draft.server.classic.origins = value))
        .help("Origins whose web pages may use the classic API. \"null\" is a page opened from a file, \"*\" is every page."),
    setting("classic.pages", "", SettingKind::File(|draft, value| draft.server.classic.pages = value))
        .help("The directory of your own copy of the demo's pages, such as its src/main/resources. They replace the page at /."),
    setting("classic.model", "", SettingKind::Name(|draft, value| draft.server.classic.model = value))
        .help("The model of the classic API. Default: the first model that an upstream serves, or else the demo."),
    setting("classic.instructions", "", SettingKind::Name(|draft, value| draft.server.classic.instructions = value))
        .help("The system prompt of every question of the classic API. Default: none."),
    setting("classic.temperature", "", SettingKind::Temperature(|draft, value| draft.server.classic.temperature = value))
        .help("The sampling temperature of every question of the classic API, from 0 to 2; the Java demo had 0.2. Default: the upstream's own. Some models refuse it."),
    setting("classic.context_tokens", "12000", SettingKind::Count(1, |draft, value| draft.server.classic.context_tokens = count(value)))
        .help("How many tokens of a conversation the model is given, including the question; older turns are left out. The rest of its window is for the response."),
    setting("engine.answer_bytes", "16MiB", SettingKind::Bytes(1, |draft, value| draft.engine.answer_bytes = value))
        .advanced()
        .help("How many bytes one response may have; a longer one is ended."),
    setting("engine.running", "10000", SettingKind::Count(1, |draft, value| draft.engine.running = value))
        .help("How many responses may run at once."),
    setting("engine.memory_bytes", "512MiB", SettingKind::Bytes(1, |draft, value| draft.engine.memory_bytes = value))
        .advanced()
        .help("How many bytes of requests, conversations and running responses of all callers may be in memory; more get a 503."),
    setting("engine.context_bytes", "64MiB", SettingKind::Bytes(1, |draft, value| draft.engine.context_bytes = value))
        .advanced()
        .help("How many bytes a conversation may have to be continued; a longer one is refused before it is loaded."),
    setting("engine.context_items", "20000", SettingKind::Count(1, |draft, value| draft.engine.context_items = value))
        .advanced()
        .help("How many items a conversation may have to be continued."),
    setting("engine.on_leave_stored", "finish", SettingKind::OnLeave(|draft, value| draft.engine.on_leave_stored = value))
        .help("What happens to a stored response when its last reader leaves: cancel, finish, or finish_within with a time, a number of tokens,\nor both: \"finish_within 30s, 500 tokens\". A [[route]] and a request (on_leave) override it.\nWith cancel, a POST /v1/responses ends with its connection, as OpenAI's does; a background response runs on."),
    setting("engine.on_leave_stateless", "cancel", SettingKind::OnLeave(|draft, value| draft.engine.on_leave_stateless = value))
        .help("The same for a response that is not stored (store: false)."),
    setting("limits.running", "1000", SettingKind::Count(1, |draft, value| draft.engine.shares.default_limits.running = value))
        .help("How many responses of each API key may run or wait at once. A server without keys has one caller, which has none of these limits."),
    setting("limits.requests_per_second", "500", SettingKind::Count(1, |draft, value| draft.engine.shares.default_limits.requests_per_second = u32::try_from(value).unwrap_or(u32::MAX)))
        .help("How many requests a second each API key may make, on average. Twice as many may come at once."),
    setting("limits.memory_bytes", "128MiB", SettingKind::Bytes(1, |draft, value| draft.engine.shares.default_limits.memory_bytes = value))
        .advanced()
        .help("How much of engine.memory_bytes each API key may use."),
    setting("limits.stored_bytes", "4GiB", SettingKind::Bytes(1, |draft, value| draft.engine.shares.default_limits.stored_bytes = value))
        .help("Its share of store.bytes: above it, its oldest finished responses go first. No key may have more than half of store.bytes\nwhile others need the room."),
    setting("limits.connections", "1000", SettingKind::Count(1, |draft, value| draft.engine.shares.default_limits.connections = value))
        .advanced()
        .help("How many connections each API key may have open."),
    setting("demo.enabled", "auto", SettingKind::Switch(|draft, value| draft.demo_enabled = value))
        .help("Whether to offer the built-in demo model, which needs no key: true, false, or auto (as long as there is no upstream, or if a [[route]] leads to it)."),
    setting("demo.tokens_per_second", "60", SettingKind::Rate(|draft, value| draft.demo.tokens_per_second = value))
        .advanced()
        .help("Its speed; 0 is as fast as possible."),
    setting("timeouts.connect", "10s", SettingKind::Duration(MOMENT, |draft, value| draft.timeouts.connect = value))
        .instead("WEIR_UPSTREAM_CONNECT_TIMEOUT")
        .help("How long to wait for the connection to an upstream. Each [[upstream]] may override these."),
    setting("timeouts.headers", "2m", SettingKind::Duration(MOMENT, |draft, value| draft.timeouts.headers = value))
        .instead("WEIR_UPSTREAM_HEADERS_TIMEOUT")
        .help("How long to wait for the head of its response."),
    setting("timeouts.first_token", "10m", SettingKind::Duration(MOMENT, |draft, value| draft.timeouts.first_token = value))
        .instead("WEIR_UPSTREAM_FIRST_TOKEN_TIMEOUT")
        .help("How long to wait for the model's first token."),
    setting("timeouts.idle", "2m", SettingKind::Duration(MOMENT, |draft, value| draft.timeouts.idle = value))
        .instead("WEIR_UPSTREAM_IDLE_TIMEOUT")
        .help("How long an upstream may send nothing at all after the first token. Keep-alives count as something."),
    setting("timeouts.keep_alive", "10m", SettingKind::Duration(MOMENT, |draft, value| draft.timeouts.keep_alive = value))
        .advanced()
        .help("How long an upstream may send nothing but keep-alives after the first token."),
    setting("timeouts.total", "0s", SettingKind::Duration(Duration::ZERO, |draft, value| draft.timeouts.total = value))
        .instead("WEIR_UPSTREAM_TOTAL_TIMEOUT")
        .help("How long a response may take in all. 0s: no limit."),
    setting("retries.count", "2", SettingKind::Count(0, |draft, value| draft.retries.count = u32::try_from(value).unwrap_or(u32::MAX)))
        .advanced()
        .help("How often a call that failed before the first token is repeated, each time after a longer pause.\nUsing another key or another upstream does not count as a retry."),
    setting("retries.deadline", "60s", SettingKind::Duration(Duration::ZERO, |draft, value| draft.retries.deadline = value))
        .advanced()
        .help("How long after the first call retries may still be started."),
    setting("shutdown.delay", "0s", SettingKind::Duration(Duration::ZERO, |draft, value| draft.shutdown.delay = value))
        .help("On shutdown: how long to keep serving while /readyz returns 503. As long as load balancers take to notice."),
    setting("shutdown.spread", "1s", SettingKind::Duration(Duration::ZERO, |draft, value| draft.shutdown.spread = value))
        .advanced()
        .help("After the delay nothing new is accepted, and idle connections are closed one by one over this time, or over grace if that is shorter."),
    setting("shutdown.grace", "25s", SettingKind::Duration(Duration::ZERO, |draft, value| draft.shutdown.grace = value))
        .help("How long running responses may take from then on. Those that have not ended fail with server_shutdown."),
    setting("metrics.access", "admin", SettingKind::MetricsAccess(|draft, value| draft.server.metrics = value))
        .help("Who may read /metrics if there are API keys: admin (requests with the key of an admin) or open (anyone)."),
    setting("lens.capture", "auto", SettingKind::CaptureMode(|draft, value| draft.server.lens.capture = value))
        .advanced()
        .help("Whether packets of the server's port are captured while an admin views them (docs/explanation/lens.md): auto (if the process\nmay: Linux, with CAP_NET_RAW) or off."),
    setting("lens.sampling", "1.0", SettingKind::Share(|draft, value| draft.server.lens.sampling = value))
        .advanced()
        .help("The share of connections whose bytes are counted by kind, from 0.0 to 1.0. The others have totals only."),
    setting("lens.source", "true", SettingKind::Boolean(|draft, value| draft.server.lens.source = value))
        .advanced()
        .help("Whether callers may open calibrated sources (GET /v1/lens/source), which weir probe measures the path to this server with,\nand have responses relayed for the lab (relay_bytes, relay_ms, relay_delay_ms)."),
    setting("traces.endpoint", "", SettingKind::Endpoint(|draft, value| draft.traces = value))
        .restart()
        .help("Where to send traces, by OTLP over HTTP, such as http://localhost:4318. OTEL_EXPORTER_OTLP_ENDPOINT does the same."),
    setting("log.format", "text", SettingKind::LogFormat(|draft, value| draft.log.format = value))
        .flag("log-format")
        .restart()
        .help("The format of the log: text or json."),
    setting("log.level", "info", SettingKind::Filter(|draft, value| draft.log.level = value))
        .flag("log-level")
        .help("What is logged: off, error, warn, info, debug or trace, or a level for each module: info,weir_engine=debug."),
];

/// The names of the durabilities.
const DURABILITIES: &[(&str, Durability)] =
    &[("memory", Durability::Memory), ("process", Durability::Process), ("disk", Durability::Disk)];

/// The shortest timeout: with 0 every call would fail.
const MOMENT: Duration = Duration::from_millis(1);

/// The smallest read buffer that hyper accepts.
const LEAST_HEAD: u64 = 8 << 10;

/// The settings while they are collected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) server: server::Config,
    pub(crate) engine: engine::Config,
    pub(crate) demo: DemoConfig,
    /// Whether the demo model is enabled; `None`: if there is no upstream.
    pub(crate) demo_enabled: Option<bool>,
    pub(crate) timeouts: Timeouts,
    /// How failed calls are retried.
    pub(crate) retries: Retries,
    pub(crate) tls: TlsDraft,
    pub(crate) data: Option<DataLocation>,
    pub(crate) shutdown: shutdown::Config,
    pub(crate) durability: Durability,
    pub(crate) kept_bytes: Option<u64>,
    pub(crate) log: LogConfig,
    /// The endpoint for all signals, without the path of traces.
    pub(crate) traces: Option<String>,
}

/// Stores a value in the draft.
type Set<T> = fn(&mut Draft, T);

/// The type of a setting, and where its value is stored.
#[derive(Clone, Copy)]
pub(crate) enum SettingKind {
    /// An address and a port.
    Address(Set<SocketAddr>),
    /// An address and a port, or none.
    OptionalAddress(Set<Option<SocketAddr>>),
    /// A duration of at least the first.
    Duration(Duration, Set<Duration>),
    /// A number of bytes of at least the first.
    Bytes(u64, Set<u64>),
    /// A whole number of at least the first.
    Count(usize, Set<usize>),
    /// A number.
    Rate(Set<f64>),
    /// A number from 0 to 1.
    Share(Set<f64>),
    /// A number from 0 to 2, or none.
    Temperature(Set<Option<f64>>),
    /// A boolean.
    Boolean(Set<bool>),
    /// A boolean, or a default that depends on other settings.
    Switch(Set<Option<bool>>),
    /// Strings, each checked by the first.
    List(fn(&str) -> Result<String, String>, Set<Vec<String>>),
    /// Addresses and networks.
    Networks(Set<Vec<IpNetwork>>),
    /// Whether proxies speak the PROXY protocol.
    ProxyProtocol(Set<ProxyProtocol>),
    /// What a running response survives.
    Durability(Set<Durability>),
    /// Who may read the metrics.
    MetricsAccess(Set<MetricsAccess>),
    /// Whether packets are captured.
    CaptureMode(Set<CaptureMode>),
    /// What happens when the last reader leaves.
    OnLeave(Set<OnLeave>),
    /// The data directory.
    Data(Set<DataLocation>),
    /// A file, or none.
    File(Set<Option<PathBuf>>),
    /// A name, or none.
    Name(Set<Option<String>>),
    /// Whether to speak HTTPS.
    Tls(Set<TlsWord>),
    /// A collector, or none.
    Endpoint(Set<Option<String>>),
    /// The log's format.
    LogFormat(Set<LogFormat>),
    /// The log's level.
    Filter(Set<String>),
}

impl SettingKind {
    /// Stores a value, or returns what was expected. Paths are relative to `base`.
    pub(crate) fn put(&self, draft: &mut Draft, raw: &Raw, base: &Path) -> Result<(), String> {
        match self {
            Self::Address(set) => set(draft, value::address(raw)?),
            Self::OptionalAddress(set) => set(draft, value::optional_address(raw)?),
            Self::Duration(least, set) => set(draft, value::duration(raw, *least)?),
            Self::Bytes(least, set) => set(draft, value::bytes(raw, *least)?),
            Self::Count(least, set) => set(draft, value::count(raw, *least)?),
            Self::Rate(set) => set(draft, value::rate(raw)?),
            Self::Temperature(set) => set(draft, value::temperature(raw)?),
            Self::Share(set) => set(draft, value::share(raw)?),
            Self::Boolean(set) => set(draft, value::boolean(raw)?),
            Self::Switch(set) => set(draft, value::switch(raw)?),
            Self::List(check, set) => {
                set(draft, value::list(raw)?.into_iter().map(check).collect::<Result<_, _>>()?);
            }
            Self::Networks(set) => {
                set(
                    draft,
                    value::list(raw)?.into_iter().map(value::network).collect::<Result<_, _>>()?,
                );
            }
            Self::ProxyProtocol(set) => set(
                draft,
                value::word(raw, &[("off", ProxyProtocol::Off), ("on", ProxyProtocol::On)])?,
            ),
            Self::Durability(set) => set(draft, value::word(raw, DURABILITIES)?),
            Self::MetricsAccess(set) => set(
                draft,
                value::word(
                    raw,
                    &[("admin", MetricsAccess::Admin), ("open", MetricsAccess::Open)],
                )?,
            ),
            Self::CaptureMode(set) => set(
                draft,
                value::word(raw, &[("auto", CaptureMode::Auto), ("off", CaptureMode::Off)])?,
            ),
            Self::OnLeave(set) => set(draft, value::on_leave(raw)?),
            Self::Data(set) => set(draft, data(raw, base)?),
            Self::File(set) => set(draft, value::optional_path(raw, base)?),
            Self::Name(set) => set(draft, value::optional_text(raw)?),
            Self::Tls(set) => set(draft, value::word(raw, TlsWord::WORDS)?),
            Self::Endpoint(set) => set(draft, value::endpoint(raw)?),
            Self::LogFormat(set) => set(
                draft,
                value::word(raw, &[("text", LogFormat::Text), ("json", LogFormat::Json)])?,
            ),
            Self::Filter(set) => set(draft, value::filter(raw)?),
        }
        Ok(())
    }

    /// A typed value as TOML writes it.
    pub(crate) fn toml(&self, typed: &str) -> String {
        match self {
            Self::Count(..) | Self::Rate(_) | Self::Share(_) | Self::Boolean(_) => typed.to_owned(),
            Self::List(..) | Self::Networks(_) => "[]".to_owned(),
            Self::Address(_)
            | Self::Duration(..)
            | Self::Bytes(..)
            | Self::ProxyProtocol(_)
            | Self::Durability(_)
            | Self::Switch(_)
            | Self::MetricsAccess(_)
            | Self::CaptureMode(_)
            | Self::OnLeave(_)
            | Self::Data(_)
            | Self::File(_)
            | Self::OptionalAddress(_)
            | Self::Name(_)
            | Self::Temperature(_)
            | Self::Tls(_)
            | Self::Endpoint(_)
            | Self::LogFormat(_)
            | Self::Filter(_) => format!("\"{typed}\""),
        }
    }
}

fn data(raw: &Raw, base: &Path) -> Result<DataLocation, String> {
    let path = value::path(raw, base)?;
    // Compared before `base` is applied, since it is not a path.
    Ok(if raw.to_string() == DataLocation::MEMORY {
        DataLocation::Memory
    } else {
        DataLocation::Directory(path)
    })
}

fn count(value: usize) -> u64 {
    // More than a `u64` means no limit.
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// One setting.
#[derive(Clone, Copy)]
pub(crate) struct Definition {
    /// Its path in the file: `table.key`, or a key at the top.
    pub(crate) path: &'static str,
    /// Its default, as users would type it; empty if it depends on the machine.
    pub(crate) default: &'static str,
    /// Its type.
    pub(crate) kind: SettingKind,
    /// Its flag, without dashes.
    pub(crate) flag: Option<&'static str>,
    /// Whether a change takes effect only after a restart.
    pub(crate) needs_restart: bool,
    /// Whether its default suits nearly every server.
    pub(crate) is_advanced: bool,
    /// Its purpose.
    pub(crate) help: &'static str,
    variable: Variable,
    /// Its path in earlier versions, which is still accepted.
    former: Option<&'static str>,
}

/// The environment variable of a setting.
#[derive(Clone, Copy)]
enum Variable {
    /// `WEIR_` and the path in upper case.
    Rule,
    /// The same, and a shorter one.
    Also(&'static str),
    /// This one instead.
    Instead(&'static str),
}

const fn setting(path: &'static str, default: &'static str, kind: SettingKind) -> Definition {
    Definition {
        path,
        default,
        kind,
        flag: None,
        needs_restart: false,
        is_advanced: false,
        help: "",
        variable: Variable::Rule,
        former: None,
    }
}

impl Definition {
    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    const fn restart(mut self) -> Self {
        self.needs_restart = true;
        self
    }

    const fn advanced(mut self) -> Self {
        self.is_advanced = true;
        self
    }

    const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    const fn formerly(mut self, path: &'static str) -> Self {
        self.former = Some(path);
        self
    }

    const fn also(mut self, variable: &'static str) -> Self {
        self.variable = Variable::Also(variable);
        self
    }

    const fn instead(mut self, variable: &'static str) -> Self {
        self.variable = Variable::Instead(variable);
        self
    }

    /// Whether this is its current or former path in the file.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.path == path || self.former == Some(path)
    }

    /// Its variables, including those of earlier versions.
    pub(crate) fn all_variables(&self) -> Vec<String> {
        self.variables().into_iter().chain(self.former.map(rule)).collect()
    }

    /// Its table in the file (empty: the top level) and its key.
    pub(crate) fn table_and_key(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    /// Its variables, the preferred one first.
    pub(crate) fn variables(&self) -> Vec<String> {
        match self.variable {
            Variable::Rule => vec![rule(self.path)],
            Variable::Also(short) => vec![short.to_owned(), rule(self.path)],
            Variable::Instead(only) => vec![only.to_owned()],
        }
    }
}

/// The default variable of a path.
fn rule(path: &str) -> String {
    format!("WEIR_{}", path.replace('.', "_").to_uppercase())
}
