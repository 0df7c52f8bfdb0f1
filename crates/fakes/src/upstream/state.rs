//! The state that the connections of the fake model server share with the tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use client::http1::Headers;
use client::now;
use serde_json::Value;
use tokio::sync::watch;

use super::scenario::scenario;
use super::script::Script;
use super::vendor::{RequestKind, Route, Vendor};

/// A request that the upstream received.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The header fields.
    pub headers: Headers,
    /// The body; `null` if it was empty or not JSON.
    pub body: Value,
    /// The number of its connection, from 0 in the order of acceptance.
    pub connection: usize,
    /// When it was read completely.
    pub arrived: Instant,
    /// Whether it was sent over HTTP/2.
    pub is_http2: bool,
    /// The vendor whose API it uses; `None` if the path is unknown.
    pub vendor: Option<Vendor>,
    /// The key, if it is where the vendor expects it.
    pub key: Option<String>,
    /// The requested model.
    pub model: Option<String>,
}

/// The shared state; the watch wakes waiting tests.
pub(super) type SharedState = watch::Sender<State>;

#[derive(Debug)]
pub(super) struct State {
    pub(super) scripts: VecDeque<Script>,
    pub(super) default: Script,
    /// Scripts for the requests with a key; they come before the others.
    pub(super) key_scripts: BTreeMap<String, VecDeque<Script>>,
    /// The scripts for keys whose queue is empty.
    pub(super) key_defaults: BTreeMap<String, Script>,
    /// The scripts for models when none is queued.
    pub(super) model_defaults: BTreeMap<String, Script>,
    /// Whether the model's name chooses the script if there is no other.
    pub(super) has_scenarios: bool,
    /// The accepted keys; all if empty.
    pub(super) keys: Vec<String>,
    /// Whether chat completions are OpenAI's own, not those of a compatible server.
    pub(super) is_strict: bool,
    /// The vendor whose server it is.
    pub(super) vendor: Vendor,
    pub(super) max_streams: Option<u32>,
    pub(super) models: Vec<String>,
    pub(super) requests: Vec<RecordedRequest>,
    /// For each request, when the peer closed its connection or reset its stream.
    pub(super) closed: Vec<Option<Instant>>,
    pub(super) complaints: Vec<String>,
    pub(super) model_requests: usize,
    pub(super) resets: usize,
    /// The number of connections so far.
    pub(super) accepted: usize,
    /// The open connections, with the vendor of the last request on each.
    pub(super) connections: BTreeMap<usize, Option<Vendor>>,
    /// The number of running responses by vendor.
    pub(super) streams: BTreeMap<Vendor, usize>,
}

impl State {
    pub(super) fn new(vendor: Vendor, is_strict: bool) -> Self {
        Self {
            scripts: VecDeque::new(),
            default: Script::text(&["Hello", ", ", "world", "!"]),
            key_scripts: BTreeMap::new(),
            key_defaults: BTreeMap::new(),
            model_defaults: BTreeMap::new(),
            has_scenarios: false,
            keys: Vec::new(),
            is_strict,
            vendor,
            max_streams: None,
            models: vec!["lab-model".to_owned()],
            requests: Vec::new(),
            closed: Vec::new(),
            complaints: Vec::new(),
            model_requests: 0,
            resets: 0,
            accepted: 0,
            connections: BTreeMap::new(),
            streams: BTreeMap::new(),
        }
    }

    fn next_script(&mut self, key: Option<&str>, model: Option<&str>) -> Script {
        let of_key = key.and_then(|key| self.key_scripts.get_mut(key)?.pop_front());
        of_key
            .or_else(|| self.key_defaults.get(key?).cloned())
            .or_else(|| self.scripts.pop_front())
            .or_else(|| self.model_defaults.get(model?).cloned())
            .or_else(|| scenario(model?).filter(|_| self.has_scenarios))
            .unwrap_or_else(|| self.default.clone())
    }
}

/// Whether a key is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    NoKey,
    UnknownKey,
}

/// An open connection, counted until it is dropped, even if its task is aborted.
#[derive(Debug)]
pub(super) struct OpenConnection {
    shared: Arc<SharedState>,
    number: usize,
}

impl OpenConnection {
    pub(super) fn new(shared: Arc<SharedState>, number: usize) -> Self {
        shared.send_modify(|state| {
            state.accepted += 1;
            state.connections.insert(number, None);
        });
        Self { shared, number }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn is_strict(&self) -> bool {
        self.shared.borrow().is_strict
    }

    /// The route on this vendor's server: Ollama serves text completions at OpenAI's path.
    pub(super) fn adapt_route(&self, route: Route) -> Route {
        let is_ollamas =
            self.shared.borrow().vendor == Vendor::Ollama && route.vendor == Vendor::OpenAi;
        if is_ollamas && matches!(route.kind, RequestKind::Passthrough { .. }) {
            Route { vendor: Vendor::Ollama, ..route }
        } else {
            route
        }
    }

    pub(super) fn max_streams(&self) -> Option<u32> {
        self.shared.borrow().max_streams
    }

    /// Records a request and returns its number.
    pub(super) fn record(&self, request: RecordedRequest) -> usize {
        let mut number = 0;
        self.shared.send_modify(|state| {
            number = state.requests.len();
            state.connections.insert(self.number, request.vendor);
            state.requests.push(request);
            state.closed.push(None);
        });
        number
    }

    pub(super) fn complain(&self, vendor: Vendor, path: &str, what: &str) {
        self.complain_of(format!("{}: {path}: {what}", vendor.name()));
    }

    pub(super) fn complain_of(&self, what: String) {
        self.shared.send_modify(|state| state.complaints.push(what));
    }

    pub(super) fn complain_all(&self, vendor: Vendor, path: &str, what: &[String]) {
        for what in what {
            self.complain(vendor, path, what);
        }
    }

    /// Whether a key is accepted. Ollama and compatible servers require none unless configured.
    pub(super) fn access(&self, vendor: Vendor, key: Option<&str>) -> Access {
        let state = self.shared.borrow();
        let is_keyless = vendor == Vendor::Ollama || (vendor == Vendor::OpenAi && !state.is_strict);
        match key.filter(|key| !key.is_empty()) {
            None if state.keys.is_empty() && is_keyless => Access::Granted,
            None => Access::NoKey,
            Some(key) if state.keys.is_empty() || state.keys.iter().any(|known| known == key) => {
                Access::Granted
            }
            Some(_) => Access::UnknownKey,
        }
    }

    pub(super) fn next_script(&self, key: Option<&str>, model: Option<&str>) -> Script {
        let mut script = Script::new();
        self.shared.send_modify(|state| script = state.next_script(key, model));
        script
    }

    pub(super) fn list_models(&self) -> Vec<String> {
        self.shared.send_modify(|state| state.model_requests += 1);
        self.shared.borrow().models.clone()
    }

    /// Counts a running response until the guard is dropped.
    pub(super) fn count_stream(&self, vendor: Vendor) -> StreamGuard {
        self.shared.send_modify(|state| *state.streams.entry(vendor).or_default() += 1);
        StreamGuard { shared: Arc::clone(&self.shared), vendor }
    }

    /// Records that the peer has reset the stream of a request.
    pub(super) fn reset(&self, request: Option<usize>) {
        let at = now();
        self.shared.send_modify(|state| {
            state.resets += 1;
            if let Some(closed) = request.and_then(|request| state.closed.get_mut(request)) {
                closed.get_or_insert(at);
            }
        });
    }

    /// Records that the peer has closed the connection, for all its requests that are not recorded
    /// as closed.
    pub(super) fn peer_closed(&self) {
        let at = now();
        self.shared.send_modify(|state| {
            for (request, closed) in state.requests.iter().zip(&mut state.closed) {
                if request.connection == self.number {
                    closed.get_or_insert(at);
                }
            }
        });
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.send_modify(|state| {
            state.connections.remove(&self.number);
        });
    }
}

/// A running response.
#[derive(Debug)]
pub(super) struct StreamGuard {
    shared: Arc<SharedState>,
    vendor: Vendor,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.shared.send_modify(|state| {
            if let Some(count) = state.streams.get_mut(&self.vendor) {
                *count -= 1;
            }
        });
    }
}
