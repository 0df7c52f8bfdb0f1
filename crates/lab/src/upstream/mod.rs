//! A scripted fake of an OpenAI-compatible model server: `POST /v1/chat/completions` and `GET /v1/models` over HTTP/1.1
//! with keep-alive. It plays one script per request and tells exactly when its peer closed.

mod chunk;
mod play;
mod script;
mod session;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use script::{Marks, Script, Step};

use crate::runtime::{Task, now, spawn};
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
}

/// The running server. Dropping it ends all its tasks and closes all its sockets.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: Task,
}

/// What the sessions and the tests see; the watch wakes the waiting tests.
type Shared = watch::Sender<State>;

#[derive(Debug)]
struct State {
    scripts: VecDeque<Script>,
    default: Script,
    models: Vec<String>,
    requests: Vec<Recorded>,
    /// For each request: when the peer closed its connection.
    closed: Vec<Option<Instant>>,
    model_requests: usize,
    open: usize,
}

impl Upstream {
    /// Starts a server on a free port of the loopback address.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(watch::Sender::new(State {
            scripts: VecDeque::new(),
            default: Script::text(&["Hello", ", ", "world", "!"]),
            models: vec!["lab-model".to_owned()],
            requests: Vec::new(),
            closed: Vec::new(),
            model_requests: 0,
            open: 0,
        }));
        let accepting = spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _accepting: accepting })
    }

    /// The socket's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `OPENAI_BASE_URL` would be; ends in `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Queues a script for the next completion request that has none.
    pub fn script(&self, script: Script) {
        self.shared.send_modify(|state| state.scripts.push_back(script));
    }

    /// Replaces the script that is played when the queue is empty.
    pub fn default_script(&self, script: Script) {
        self.shared.send_modify(|state| state.default = script);
    }

    /// Replaces the list of models.
    pub fn models(&self, models: Vec<String>) {
        self.shared.send_modify(|state| state.models = models);
    }

    /// All requests so far but model listings, so that a server that lists models does not shift the others' indices.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.borrow().requests.clone()
    }

    /// The number of model listings so far.
    pub fn model_requests(&self) -> usize {
        self.shared.borrow().model_requests
    }

    /// The number of scripts that no request has taken yet.
    pub fn scripts_left(&self) -> usize {
        self.shared.borrow().scripts.len()
    }

    /// The number of sockets that are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.borrow().open
    }

    /// Waits until at least `count` requests have come.
    pub async fn wait_requests(&self, count: usize) {
        self.wait(|state| (state.requests.len() >= count).then_some(())).await;
    }

    /// Waits until exactly `count` sockets are open.
    pub async fn wait_open(&self, count: usize) {
        self.wait(|state| (state.open == count).then_some(())).await;
    }

    /// Waits until the peer has closed (FIN or RST) the connection of a request, counted as in [`Self::requests`], and
    /// gives the time at which it did. It never returns if a script resets the connection first.
    pub async fn wait_closed(&self, request: usize) -> Instant {
        self.wait(|state| state.closed.get(request).copied().flatten()).await
    }

    async fn wait<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        let mut receiver = self.shared.subscribe();
        loop {
            if let Some(found) = look(&receiver.borrow_and_update()) {
                return found;
            }
            // An error would mean that the sender is gone, but `self` holds it.
            let _ = receiver.changed().await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut sessions: Vec<Task> = Vec::new();
    for connection in 0.. {
        // Accepting fails when the process has no descriptor left: the test fails by its own wait then.
        let Ok((stream, _)) = listener.accept().await else { return };
        sessions.retain(|session| !session.is_finished());
        let open = Open::new(Arc::clone(&shared), connection);
        sessions.push(spawn(session::run(stream, open)));
    }
}

/// An open connection: counted while it lives, also if its task is aborted.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    connection: usize,
}

impl Open {
    fn new(shared: Arc<Shared>, connection: usize) -> Self {
        shared.send_modify(|state| state.open += 1);
        Self { shared, connection }
    }

    fn record(&self, method: &str, path: &str, headers: Headers, body: Value) {
        let (method, path) = (method.to_owned(), path.to_owned());
        let request = Recorded { method, path, headers, body, connection: self.connection, arrived: now() };
        self.shared.send_modify(|state| {
            state.requests.push(request);
            state.closed.push(None);
        });
    }

    fn next_script(&self) -> Script {
        let mut script = None;
        self.shared.send_modify(|state| script = state.scripts.pop_front());
        script.unwrap_or_else(|| self.shared.borrow().default.clone())
    }

    fn list_models(&self) -> Vec<String> {
        self.shared.send_modify(|state| state.model_requests += 1);
        self.shared.borrow().models.clone()
    }

    /// The peer has closed: so say all requests of this connection that do not yet.
    fn peer_closed(&self) {
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
        self.shared.send_modify(|state| state.open -= 1);
    }
}
