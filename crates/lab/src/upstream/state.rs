//! What the connections of the fake model server share with the tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::sync::watch;

use super::scenario;
use super::script::Script;
use super::vendor::{Goal, Route, Vendor};
use crate::runtime::now;
use crate::wire::Headers;

/// A request that the upstream received.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The fields.
    pub headers: Headers,
    /// The body; `null` if it was empty or not JSON.
    pub body: Value,
    /// The connection that it came on, counted from 0 in the order of acceptance.
    pub connection: usize,
    /// When it was read to its end.
    pub arrived: Instant,
    /// Whether it came by HTTP/2.
    pub is_http2: bool,
    /// Whose API its path is; `None` if nobody's.
    pub vendor: Option<Vendor>,
    /// The key, if it came where the vendor looks for it.
    pub key: Option<String>,
    /// The model that it names.
    pub model: Option<String>,
}

/// What the sessions and the tests see; the watch wakes the waiting tests.
pub(super) type Shared = watch::Sender<State>;

#[derive(Debug)]
pub(super) struct State {
    pub(super) scripts: VecDeque<Script>,
    pub(super) default: Script,
    /// Scripts for the requests with one key, before those for all.
    pub(super) key_scripts: BTreeMap<String, VecDeque<Script>>,
    /// What is played for one key when its queue is empty.
    pub(super) key_defaults: BTreeMap<String, Script>,
    /// What is played for one model when no script is queued.
    pub(super) model_defaults: BTreeMap<String, Script>,
    /// Whether the model's name chooses the script when no other does.
    pub(super) has_scenarios: bool,
    /// The keys that are known; any will do where there are none.
    pub(super) keys: Vec<String>,
    /// Whether chat completions are those of OpenAI itself, not of a compatible server.
    pub(super) is_strict: bool,
    /// Whose own server it is.
    pub(super) home: Vendor,
    pub(super) most_streams: Option<u32>,
    pub(super) models: Vec<String>,
    pub(super) requests: Vec<Recorded>,
    /// For each request: when the peer closed its connection, or reset its stream.
    pub(super) closed: Vec<Option<Instant>>,
    pub(super) complaints: Vec<String>,
    pub(super) model_requests: usize,
    pub(super) resets: usize,
    /// How many connections there were so far.
    pub(super) accepted: usize,
    /// The open connections, and whose API was asked for last on each.
    pub(super) connections: BTreeMap<usize, Option<Vendor>>,
    /// How many answers each vendor is giving.
    pub(super) streams: BTreeMap<Vendor, usize>,
}

impl State {
    pub(super) fn new(home: Vendor, is_strict: bool) -> Self {
        Self {
            scripts: VecDeque::new(),
            default: Script::text(&["Hello", ", ", "world", "!"]),
            key_scripts: BTreeMap::new(),
            key_defaults: BTreeMap::new(),
            model_defaults: BTreeMap::new(),
            has_scenarios: false,
            keys: Vec::new(),
            is_strict,
            home,
            most_streams: None,
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
            .or_else(|| scenario::script(model?).filter(|_| self.has_scenarios))
            .unwrap_or_else(|| self.default.clone())
    }
}

/// Whether a key opens the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    NoKey,
    UnknownKey,
}

/// An open connection: counted while it lives, also if its task is aborted.
#[derive(Debug)]
pub(super) struct Open {
    shared: Arc<Shared>,
    connection: usize,
}

impl Open {
    pub(super) fn new(shared: Arc<Shared>, connection: usize) -> Self {
        shared.send_modify(|state| {
            state.accepted += 1;
            state.connections.insert(connection, None);
        });
        Self { shared, connection }
    }

    pub(super) fn connection(&self) -> usize {
        self.connection
    }

    pub(super) fn is_strict(&self) -> bool {
        self.shared.borrow().is_strict
    }

    /// A request as this server takes it: Ollama has text completions at OpenAI's path.
    pub(super) fn at_home(&self, route: Route) -> Route {
        let is_ollamas = self.shared.borrow().home == Vendor::Ollama && route.vendor == Vendor::OpenAi;
        if is_ollamas && matches!(route.goal, Goal::Passthrough { .. }) { Route { vendor: Vendor::Ollama, ..route } } else { route }
    }

    pub(super) fn most_streams(&self) -> Option<u32> {
        self.shared.borrow().most_streams
    }

    /// Keeps a request, and gives its number.
    pub(super) fn record(&self, request: Recorded) -> usize {
        let mut number = 0;
        self.shared.send_modify(|state| {
            number = state.requests.len();
            state.connections.insert(self.connection, request.vendor);
            state.requests.push(request);
            state.closed.push(None);
        });
        number
    }

    pub(super) fn complain(&self, vendor: Vendor, path: &str, what: &str) {
        self.complain_of(format!("{}: {path}: {what}", vendor.word()));
    }

    pub(super) fn complain_of(&self, what: String) {
        self.shared.send_modify(|state| state.complaints.push(what));
    }

    pub(super) fn complain_all(&self, vendor: Vendor, path: &str, what: &[String]) {
        for what in what {
            self.complain(vendor, path, what);
        }
    }

    /// Whether a key will do. Ollama and servers that are merely compatible ask for none unless told to.
    pub(super) fn access(&self, vendor: Vendor, key: Option<&str>) -> Access {
        let state = self.shared.borrow();
        let is_keyless = vendor == Vendor::Ollama || (vendor == Vendor::OpenAi && !state.is_strict);
        match key.filter(|key| !key.is_empty()) {
            None if state.keys.is_empty() && is_keyless => Access::Granted,
            None => Access::NoKey,
            Some(key) if state.keys.is_empty() || state.keys.iter().any(|known| known == key) => Access::Granted,
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

    /// Counts an answer as one that is being given, until it is dropped.
    pub(super) fn count_stream(&self, vendor: Vendor) -> Counted {
        self.shared.send_modify(|state| *state.streams.entry(vendor).or_default() += 1);
        Counted { shared: Arc::clone(&self.shared), vendor }
    }

    /// The peer has reset the stream of a request.
    pub(super) fn reset(&self, request: Option<usize>) {
        let at = now();
        self.shared.send_modify(|state| {
            state.resets += 1;
            if let Some(closed) = request.and_then(|request| state.closed.get_mut(request)) {
                closed.get_or_insert(at);
            }
        });
    }

    /// The peer has closed: so say all requests of this connection that do not yet.
    pub(super) fn peer_closed(&self) {
        let at = now();
        self.shared.send_modify(|state| {
            for (request, closed) in state.requests.iter().zip(&mut state.closed) {
                if request.connection == self.connection {
                    closed.get_or_insert(at);
                }
            }
        });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.send_modify(|state| {
            state.connections.remove(&self.connection);
        });
    }
}

/// An answer that is being given.
#[derive(Debug)]
pub(super) struct Counted {
    shared: Arc<Shared>,
    vendor: Vendor,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.send_modify(|state| {
            if let Some(count) = state.streams.get_mut(&self.vendor) {
                *count -= 1;
            }
        });
    }
}
