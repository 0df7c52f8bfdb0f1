//! Every setting, once: its place in the file, its variable, its flag, what it may be, its default and what it is for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::config::OnLeave;
use engine::provider::{Retries, Timeouts};
use provider::config::DemoConfig;
use server::{CaptureMode, MetricsAccess, Network, ProxyProtocol};
use store::Durability;

use crate::shutdown;

use super::tls::{TlsDraft, TlsWord};
use super::value::{self, Raw};
use super::{Data, LogConfig, LogFormat};

/// All settings, in the order of the file. Defaults are also in the rooms' own `Default`; a test holds them together.
pub(crate) const SETTINGS: &[Definition] = &[
    setting("data", "", Kind::Data(|draft, value| draft.data = Some(value)))
        .flag("data")
        .restart()
        .help("Where Weir keeps what must survive: answers, conversations, API keys. \":memory:\" keeps nothing.\nDefault: the platform's place for data, ~/.local/share/weir on Linux."),
    setting("server.listen", "127.0.0.1:8000", Kind::Address(|draft, value| draft.server.listen = value))
        .also("WEIR_LISTEN")
        .flag("listen")
        .restart()
        .help("Where to listen. Port 0 takes a free one. Beyond loopback there must be an API key: weir key create."),
    setting("server.admin_listen", "", Kind::OptionalAddress(|draft, value| draft.server.admin_listen = value))
        .restart()
        .help("Where else to listen, for operations: /healthz, /readyz and /metrics, in clear. On loopback, such as 127.0.0.1:8001, without a\nkey; elsewhere numbers want the key of an admin."),
    setting("server.tls", "auto", Kind::Tls(|draft, value| draft.tls.word = value))
        .flag("tls")
        .restart()
        .help("Whether to speak HTTPS: auto (with tls_cert and tls_key), off, or self-signed, which makes a certificate for trying it."),
    setting("server.tls_cert", "", Kind::File(|draft, value| draft.tls.certificate = value))
        .flag("tls-cert")
        .restart()
        .help("The file of the certificate and those that lead up from it, in PEM. It is read again when it changes."),
    setting("server.tls_key", "", Kind::File(|draft, value| draft.tls.key = value))
        .flag("tls-key")
        .restart()
        .help("The file of its private key, in PEM."),
    setting("server.hosts", "", Kind::List(value::host, |draft, value| draft.server.hosts = value))
        .help("Names under which the server may be addressed (Host), beside localhost; for a reverse proxy or a tunnel. Wants a key."),
    setting("server.origins", "", Kind::List(value::origin, |draft, value| draft.server.origins = value))
        .help("Web origins whose pages may use the API, such as https://chat.example.org."),
    setting("server.trusted_proxies", "", Kind::Networks(|draft, value| draft.server.trusted_proxies = value))
        .help("Addresses or networks (10.0.0.0/8) of reverse proxies whose X-Forwarded-For, -Proto, -Host and -Prefix are believed. Wants a key."),
    setting("server.proxy_protocol", "off", Kind::ProxyProtocol(|draft, value| draft.server.proxy_protocol = value))
        .help("Whether these proxies must begin every connection with a PROXY protocol header, version 1 or 2: off or on. On wants a key."),
    setting("server.body_bytes", "32MiB", Kind::Bytes(1, |draft, value| draft.server.body_bytes = size(value)))
        .help("The largest request body, decoded: for a compressed one it is the limit on what comes out."),
    setting("server.text_bytes", "8MiB", Kind::Bytes(1, |draft, value| draft.server.text_bytes = size(value)))
        .help("How much of a request body may be anything but images and files in base64: text, tools, JSON itself."),
    setting("server.head_bytes", "64KiB", Kind::Bytes(LEAST_HEAD, |draft, value| draft.server.head_bytes = size(value)))
        .help("The largest request head; 8KiB or more."),
    setting("server.head_timeout", "10s", Kind::Duration(MOMENT, |draft, value| draft.server.head_timeout = value))
        .help("How long a request head may take."),
    setting("server.idle_timeout", "75s", Kind::Duration(MOMENT, |draft, value| draft.server.idle_timeout = value))
        .help("How long a connection may be without a request. Longer than a reverse proxy keeps its own."),
    setting("server.connections", "10000", Kind::Count(1, |draft, value| draft.server.connections = value))
        .help("How many connections there may be; what is more gets a 503. Lower where the system allows too few open files."),
    setting("server.connections_per_address", "0", Kind::Count(0, |draft, value| draft.server.connections_per_address = value))
        .help("How many of them may come from one address. 0: a thousand, and no limit for this machine itself."),
    setting("server.body_timeout", "60s", Kind::Duration(MOMENT, |draft, value| draft.server.body_timeout = value))
        .help("How long a request body may take."),
    setting("server.heartbeat", "15s", Kind::Duration(MOMENT, |draft, value| draft.server.heartbeat = value))
        .help("The pause after which a stream shows that it lives. Shorter than the idle limit of every proxy in between."),
    setting("server.write_timeout", "30s", Kind::Duration(MOMENT, |draft, value| draft.server.write_timeout = value))
        .help("How long a reader may take nothing before it is cut; it can resume."),
    setting("server.hold", "5s", Kind::Duration(Duration::ZERO, |draft, value| draft.server.hold = value))
        .formerly("server.chat_hold")
        .help("How long a stream waits for the first result of its upstream before it answers 200, so that an early refusal keeps its\nstatus and SDKs try again. 0s: it answers at once. A request may ask for less: Prefer: wait=0. Its former name is chat_hold."),
    setting("server.socket_age", "1h", Kind::Duration(MOMENT, |draft, value| draft.server.socket_age = value))
        .help("How long a WebSocket, of the classic API too, may begin new turns; a turn that runs then still ends."),
    setting("server.websocket_deflate", "false", Kind::Boolean(|draft, value| draft.server.websocket_deflate = value))
        .help("Whether a WebSocket is compressed where its client offers it (permessage-deflate)."),
    setting("server.fin_leaves_json", "true", Kind::Boolean(|draft, value| draft.server.fin_leaves_json = value))
        .help("Whether a client that closes its half of the connection before a JSON answer begins has left."),
    setting("store.durability", "process", Kind::Durability(|draft, value| draft.durability = value))
        .restart()
        .help("What an answer survives while it runs, before a client sees it: memory (nothing), process (kill -9 and crashes) or disk (loss of power).\nWith --data :memory: it is always memory."),
    setting("store.retention", "30d", Kind::Duration(Duration::ZERO, |draft, value| draft.engine.retention = value))
        .help("How long a finished answer stays."),
    setting("store.bytes", "", Kind::Bytes(1, |draft, value| draft.kept_bytes = Some(value)))
        .help("Bytes of all answers together, above which the oldest finished ones go.\nDefault: 8GiB, or 256MiB with --data :memory:."),
    setting("classic.enabled", "true", Kind::Boolean(|draft, value| draft.server.classic.enabled = value))
        .help("Whether there is the API of the Java demo of 2023: /createSse, /chat, /closeSse, /websocket. See docs/classic.md."),
    setting("classic.origins", "", Kind::List(value::page, |draft, value| draft.server.classic.origins = value))
        .help("Web origins whose pages may use it from elsewhere; \"null\" is a page opened from a file, \"*\" is every page there is."),
    setting("classic.pages", "", Kind::File(|draft, value| draft.server.classic.pages = value))
        .help("The directory of your own copy of the demo's pages, such as its src/main/resources. They replace the page at /."),
    setting("classic.model", "", Kind::Name(|draft, value| draft.server.classic.model = value))
        .help("The model that answers there. Without it: the first that an upstream serves, or else the demo."),
    setting("classic.context_tokens", "12000", Kind::Count(1, |draft, value| draft.server.classic.context_tokens = count(value)))
        .help("How many tokens it is shown of a conversation, with the question; older turns are left out. The rest of its window is for the answer."),
    setting("engine.answer_bytes", "16MiB", Kind::Bytes(1, |draft, value| draft.engine.answer_bytes = value))
        .help("Bytes of one answer, above which it is ended."),
    setting("engine.running", "10000", Kind::Count(1, |draft, value| draft.engine.running = value))
        .help("How many answers may run at once."),
    setting("engine.memory_bytes", "512MiB", Kind::Bytes(1, |draft, value| draft.engine.memory_bytes = value))
        .help("Bytes of requests, conversations and running answers that may be in memory at once, of all callers; what is more gets a 503."),
    setting("engine.context_bytes", "64MiB", Kind::Bytes(1, |draft, value| draft.engine.context_bytes = value))
        .help("Bytes of one conversation that is continued; a longer one is refused before it is loaded."),
    setting("engine.context_items", "20000", Kind::Count(1, |draft, value| draft.engine.context_items = value))
        .help("Items of one conversation, likewise."),
    setting("engine.on_leave_stored", "finish", Kind::OnLeave(|draft, value| draft.engine.on_leave_stored = value))
        .help("What happens to a stored answer when its last reader leaves: cancel, finish, or finish_within with a time, a number of tokens,\nor both: \"finish_within 30s, 500 tokens\". A [[route]] and a request (on_leave) may say otherwise.\ncancel: a POST /v1/responses ends with its connection, as OpenAI's does, and so does an aborted stream of an SDK; a background\nresponse runs on."),
    setting("engine.on_leave_stateless", "cancel", Kind::OnLeave(|draft, value| draft.engine.on_leave_stateless = value))
        .help("The same for an answer that is not stored (store: false)."),
    setting("limits.running", "1000", Kind::Count(1, |draft, value| draft.engine.shares.usual.running = value))
        .help("What each API key may have of the server: answers that run or wait at once. Without keys there is one caller, and no such limit."),
    setting("limits.requests_per_second", "500", Kind::Count(1, |draft, value| draft.engine.shares.usual.requests_per_second = u32::try_from(value).unwrap_or(u32::MAX)))
        .help("Requests a second, on average; twice as many may come at once."),
    setting("limits.memory_bytes", "128MiB", Kind::Bytes(1, |draft, value| draft.engine.shares.usual.memory_bytes = value))
        .help("Its share of engine.memory_bytes."),
    setting("limits.stored_bytes", "4GiB", Kind::Bytes(1, |draft, value| draft.engine.shares.usual.stored_bytes = value))
        .help("Its share of store.bytes: the oldest finished answers of whoever has more go first. No key may have more than half of store.bytes\nwhile others need the room."),
    setting("limits.connections", "1000", Kind::Count(1, |draft, value| draft.engine.shares.usual.connections = value))
        .help("Open connections."),
    setting("demo.enabled", "auto", Kind::Switch(|draft, value| draft.demo_enabled = value))
        .help("Whether there is the built-in demo model, which needs no key: true, false, or auto (as long as there is no upstream)."),
    setting("demo.tokens_per_second", "60", Kind::Rate(|draft, value| draft.demo.tokens_per_second = value))
        .help("Its pace; 0 is as fast as it can."),
    setting("timeouts.connect", "10s", Kind::Duration(MOMENT, |draft, value| draft.timeouts.connect = value))
        .instead("WEIR_UPSTREAM_CONNECT_TIMEOUT")
        .help("How long to wait for the connection to an upstream. Each [[upstream]] may say otherwise."),
    setting("timeouts.headers", "2m", Kind::Duration(MOMENT, |draft, value| draft.timeouts.headers = value))
        .instead("WEIR_UPSTREAM_HEADERS_TIMEOUT")
        .help("How long to wait for the head of its answer."),
    setting("timeouts.first_token", "10m", Kind::Duration(MOMENT, |draft, value| draft.timeouts.first_token = value))
        .instead("WEIR_UPSTREAM_FIRST_TOKEN_TIMEOUT")
        .help("How long to wait for the first word of the model."),
    setting("timeouts.idle", "2m", Kind::Duration(MOMENT, |draft, value| draft.timeouts.idle = value))
        .instead("WEIR_UPSTREAM_IDLE_TIMEOUT")
        .help("How long to wait while an upstream sends nothing at all once its model has begun. Keep-alives count as something."),
    setting("timeouts.keep_alive", "10m", Kind::Duration(MOMENT, |draft, value| draft.timeouts.keep_alive = value))
        .help("How long to wait for the model's next word while its upstream sends nothing but keep-alives."),
    setting("timeouts.total", "0s", Kind::Duration(Duration::ZERO, |draft, value| draft.timeouts.total = value))
        .instead("WEIR_UPSTREAM_TOTAL_TIMEOUT")
        .help("How long an answer may take in all. 0s: as long as it likes."),
    setting("retries.count", "2", Kind::Count(0, |draft, value| draft.retries.count = u32::try_from(value).unwrap_or(u32::MAX)))
        .help("How often a call is made again that failed before the model said anything, each time after a longer pause.\nGoing on to another key or another upstream is no retry."),
    setting("retries.deadline", "60s", Kind::Duration(Duration::ZERO, |draft, value| draft.retries.deadline = value))
        .help("How long after the first call nothing is tried again."),
    setting("shutdown.delay", "0s", Kind::Duration(Duration::ZERO, |draft, value| draft.shutdown.delay = value))
        .help("Once told to stop: how long to serve on while /readyz says 503. As long as load balancers take to notice."),
    setting("shutdown.spread", "1s", Kind::Duration(Duration::ZERO, |draft, value| draft.shutdown.spread = value))
        .help("Then nothing new is accepted, and connections on which nothing runs end one by one over this time, or over grace if that is shorter."),
    setting("shutdown.grace", "25s", Kind::Duration(Duration::ZERO, |draft, value| draft.shutdown.grace = value))
        .help("How long answers that run may take from then on. What has not ended is ended as failed, with server_shutdown."),
    setting("metrics.access", "admin", Kind::MetricsAccess(|draft, value| draft.server.metrics = value))
        .help("Who may read /metrics where there are keys: admin (who shows the key of an admin) or open (everybody)."),
    setting("lens.capture", "auto", Kind::CaptureMode(|draft, value| draft.server.lens.capture = value))
        .help("Whether the packets of the server's port are captured while somebody looks at them (docs/lens.md): auto (where this process\nmay: Linux, with CAP_NET_RAW) or off."),
    setting("lens.sampling", "1.0", Kind::Share(|draft, value| draft.server.lens.sampling = value))
        .help("The share of the connections whose bytes are counted by kind, from 0.0 to 1.0. The others have totals only."),
    setting("traces.endpoint", "", Kind::Endpoint(|draft, value| draft.traces = value))
        .restart()
        .help("Where traces go, by OTLP over HTTP, such as http://localhost:4318. OTEL_EXPORTER_OTLP_ENDPOINT says the same."),
    setting("log.format", "text", Kind::LogFormat(|draft, value| draft.log.format = value))
        .flag("log-format")
        .restart()
        .help("How the log is written: text or json."),
    setting("log.level", "info", Kind::Filter(|draft, value| draft.log.level = value))
        .flag("log-level")
        .help("What is logged: off, error, warn, info, debug or trace, or by module: info,weir_engine=debug."),
];

/// How one types what a running answer survives.
const DURABILITIES: &[(&str, Durability)] = &[("memory", Durability::Memory), ("process", Durability::Process), ("disk", Durability::Disk)];

/// Shorter than this is a mistake: a timeout of nothing lets nothing through.
const MOMENT: Duration = Duration::from_millis(1);

/// hyper refuses smaller read buffers.
const LEAST_HEAD: u64 = 8 << 10;

/// The settings while they are gathered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) server: server::Config,
    pub(crate) engine: engine::Config,
    pub(crate) demo: DemoConfig,
    /// Whether the demo model is there; `None`: where there is no upstream.
    pub(crate) demo_enabled: Option<bool>,
    pub(crate) timeouts: Timeouts,
    /// How calls that failed are made again.
    pub(crate) retries: Retries,
    pub(crate) tls: TlsDraft,
    pub(crate) data: Option<Data>,
    pub(crate) shutdown: shutdown::Config,
    pub(crate) durability: Durability,
    pub(crate) kept_bytes: Option<u64>,
    pub(crate) log: LogConfig,
    /// The address for all signals, without the path of traces.
    pub(crate) traces: Option<String>,
}

/// Where a value goes.
type Set<T> = fn(&mut Draft, T);

/// What a setting may be, and where it goes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// An address and a port.
    Address(Set<SocketAddr>),
    /// An address and a port, or none.
    OptionalAddress(Set<Option<SocketAddr>>),
    /// A duration, not shorter than the first.
    Duration(Duration, Set<Duration>),
    /// A number of bytes, not less than the first.
    Bytes(u64, Set<u64>),
    /// A whole number, not less than the first.
    Count(usize, Set<usize>),
    /// A number.
    Rate(Set<f64>),
    /// A number from 0 to 1.
    Share(Set<f64>),
    /// True or false.
    Boolean(Set<bool>),
    /// True, false, or what fits the other settings.
    Switch(Set<Option<bool>>),
    /// Texts, each of which the first accepts.
    List(fn(&str) -> Result<String, String>, Set<Vec<String>>),
    /// Addresses and networks.
    Networks(Set<Vec<Network>>),
    /// Whether proxies speak the PROXY protocol.
    ProxyProtocol(Set<ProxyProtocol>),
    /// What a running answer survives.
    Durability(Set<Durability>),
    /// Who may read the metrics.
    MetricsAccess(Set<MetricsAccess>),
    /// Whether packets are captured.
    CaptureMode(Set<CaptureMode>),
    /// What happens when the last reader leaves.
    OnLeave(Set<OnLeave>),
    /// The data directory.
    Data(Set<Data>),
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

impl Kind {
    /// Puts a value where it belongs, or says what was expected. Paths are meant from `base`.
    pub(crate) fn put(&self, draft: &mut Draft, raw: &Raw, base: &Path) -> Result<(), String> {
        match self {
            Self::Address(set) => set(draft, value::address(raw)?),
            Self::OptionalAddress(set) => set(draft, value::optional_address(raw)?),
            Self::Duration(least, set) => set(draft, value::duration(raw, *least)?),
            Self::Bytes(least, set) => set(draft, value::bytes(raw, *least)?),
            Self::Count(least, set) => set(draft, value::count(raw, *least)?),
            Self::Rate(set) => set(draft, value::rate(raw)?),
            Self::Share(set) => set(draft, value::share(raw)?),
            Self::Boolean(set) => set(draft, value::boolean(raw)?),
            Self::Switch(set) => set(draft, value::switch(raw)?),
            Self::List(check, set) => set(draft, value::list(raw)?.into_iter().map(check).collect::<Result<_, _>>()?),
            Self::Networks(set) => set(draft, value::list(raw)?.into_iter().map(network).collect::<Result<_, _>>()?),
            Self::ProxyProtocol(set) => set(draft, value::word(raw, &[("off", ProxyProtocol::Off), ("on", ProxyProtocol::On)])?),
            Self::Durability(set) => set(draft, value::word(raw, DURABILITIES)?),
            Self::MetricsAccess(set) => set(draft, value::word(raw, &[("admin", MetricsAccess::Admin), ("open", MetricsAccess::Open)])?),
            Self::CaptureMode(set) => set(draft, value::word(raw, &[("auto", CaptureMode::Auto), ("off", CaptureMode::Off)])?),
            Self::OnLeave(set) => set(draft, value::on_leave(raw)?),
            Self::Data(set) => set(draft, data(raw, base)?),
            Self::File(set) => set(draft, value::optional_path(raw, base)?),
            Self::Name(set) => set(draft, value::optional_text(raw)?),
            Self::Tls(set) => set(draft, value::word(raw, TlsWord::WORDS)?),
            Self::Endpoint(set) => set(draft, value::endpoint(raw)?),
            Self::LogFormat(set) => set(draft, value::word(raw, &[("text", LogFormat::Text), ("json", LogFormat::Json)])?),
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
            | Self::Tls(_)
            | Self::Endpoint(_)
            | Self::LogFormat(_)
            | Self::Filter(_) => format!("\"{typed}\""),
        }
    }
}

fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: server::ParseNetworkError| error.to_string())
}

fn data(raw: &Raw, base: &Path) -> Result<Data, String> {
    let path = value::path(raw, base)?;
    // Before `base` came in: the word is not a file's name.
    Ok(if raw.to_string() == Data::MEMORY { Data::Memory } else { Data::Directory(path) })
}

fn size(bytes: u64) -> usize {
    // More than the machine can address is no limit at all.
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn count(value: usize) -> u64 {
    // More than one can count is no limit at all.
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// One setting.
#[derive(Clone, Copy)]
pub(crate) struct Definition {
    /// Its place in the file: `table.key`, or a key at the top.
    pub(crate) path: &'static str,
    /// Its default, as one would type it; empty where the machine decides.
    pub(crate) default: &'static str,
    /// What it may be.
    pub(crate) kind: Kind,
    /// Its flag, without dashes.
    pub(crate) flag: Option<&'static str>,
    /// Whether a change waits for the next start.
    pub(crate) needs_restart: bool,
    /// What it is for.
    pub(crate) help: &'static str,
    variable: Variable,
    /// Its path in earlier versions, which is still read.
    former: Option<&'static str>,
}

/// How the environment names a setting.
#[derive(Clone, Copy)]
enum Variable {
    /// `WEIR_` and the path in capitals.
    Rule,
    /// That, and a shorter one.
    Also(&'static str),
    /// This one instead.
    Instead(&'static str),
}

const fn setting(path: &'static str, default: &'static str, kind: Kind) -> Definition {
    Definition { path, default, kind, flag: None, needs_restart: false, help: "", variable: Variable::Rule, former: None }
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

    /// Whether this is its place in the file, or was.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.path == path || self.former == Some(path)
    }

    /// Its names in the environment, those of earlier versions included.
    pub(crate) fn all_variables(&self) -> Vec<String> {
        self.variables().into_iter().chain(self.former.map(rule)).collect()
    }

    /// Its table in the file (empty: the top) and its key there.
    pub(crate) fn table_and_key(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    /// Its names in the environment, the best first.
    pub(crate) fn variables(&self) -> Vec<String> {
        match self.variable {
            Variable::Rule => vec![rule(self.path)],
            Variable::Also(short) => vec![short.to_owned(), rule(self.path)],
            Variable::Instead(only) => vec![only.to_owned()],
        }
    }
}

/// The variable of a path, if nothing else is said.
fn rule(path: &str) -> String {
    format!("WEIR_{}", path.replace('.', "_").to_uppercase())
}
