//! A scripted fake of every vendor's model server, over HTTP/1.1 with keep-alive and HTTP/2 with
//! prior knowledge on the same port. The path selects the vendor. It plays one script per request
//! in the vendor's format, refuses what the vendor refuses, and records when its peer closes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use client::{Task, spawn};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::scenario::SCENARIOS;
use super::script::Script;
use super::session;
use super::state::{OpenConnection, RecordedRequest, SharedState, State};
use super::vendor::Vendor;

/// A running fake model server. Dropping it ends its tasks and closes its sockets.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    vendor: Vendor,
    shared: Arc<SharedState>,
    _accepting: Task,
}

/// Start and addresses.
impl Upstream {
    /// Starts a server on a free port of the loopback address. Its chat completions are those of a
    /// compatible server: it needs no key, ignores unknown fields, and refuses only what no server
    /// could serve. The other APIs are the vendors' own.
    pub async fn start() -> Result<Self> {
        Self::listen(Vendor::OpenAi, false).await
    }

    /// Starts the vendor's own server, which refuses everything that the vendor refuses;
    /// [`Self::base_url`] is the vendor's. It serves the other vendors' paths as well.
    pub async fn start_as(vendor: Vendor) -> Result<Self> {
        Self::listen(vendor, true).await
    }

    async fn listen(vendor: Vendor, is_strict: bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(watch::Sender::new(State::new(vendor, is_strict)));
        let accepting = spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, vendor, shared, _accepting: accepting })
    }

    /// The socket's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `base_url` in Weir's settings. For [`Self::start`] it ends in `/v1`, like
    /// `OPENAI_BASE_URL`.
    pub fn base_url(&self) -> String {
        self.base_url_of(self.vendor)
    }

    /// The `base_url` in Weir's settings for a vendor. The SDKs of Anthropic and Google take it
    /// without the version.
    pub fn base_url_of(&self, vendor: Vendor) -> String {
        vendor.base_url(self.address)
    }

    /// The `base_url` in Weir's settings for OpenAI's models at Azure, with the version in the
    /// path.
    pub fn azure_base_url(&self) -> String {
        format!("http://{}/openai/v1", self.address)
    }
}

/// Configuration.
impl Upstream {
    /// Queues a script for the next request.
    pub fn script(&self, script: Script) {
        self.shared.send_modify(|state| state.scripts.push_back(script));
    }

    /// Replaces the script for an empty queue.
    pub fn default_script(&self, script: Script) {
        self.shared.send_modify(|state| state.default = script);
    }

    /// Queues a script for the next request with this key; it comes before those of
    /// [`Self::script`].
    pub fn script_for_key(&self, key: &str, script: Script) {
        self.shared.send_modify(|state| {
            state.key_scripts.entry(key.to_owned()).or_default().push_back(script);
        });
    }

    /// Sets the script for requests with this key when the key's queue is empty.
    pub fn default_script_for_key(&self, key: &str, script: Script) {
        self.shared.send_modify(|state| {
            state.key_defaults.insert(key.to_owned(), script);
        });
    }

    /// Sets the script for requests for this model when none is queued, for concurrent requests.
    pub fn default_script_for_model(&self, model: &str, script: Script) {
        self.shared.send_modify(|state| {
            state.model_defaults.insert(model.to_owned(), script);
        });
    }

    /// Lets the model's name choose the script when none is queued (see [`SCENARIOS`]), and lists
    /// the names as models.
    pub fn play_scenarios(&self) {
        self.shared.send_modify(|state| {
            state.has_scenarios = true;
            state.models = SCENARIOS.iter().map(|name| (*name).to_owned()).collect();
        });
    }

    /// Refuses requests with other keys, as the vendor does.
    pub fn require_keys(&self, keys: &[&str]) {
        self.shared
            .send_modify(|state| state.keys = keys.iter().map(|key| (*key).to_owned()).collect());
    }

    /// Limits the concurrent streams of each new HTTP/2 connection.
    pub fn limit_streams(&self, max: u32) {
        self.shared.send_modify(|state| state.max_streams = Some(max));
    }

    /// Replaces the list of models.
    pub fn models(&self, models: Vec<String>) {
        self.shared.send_modify(|state| state.models = models);
    }
}

/// Observations.
impl Upstream {
    /// All requests so far except model listings, which would shift the indices of the others.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.borrow().requests.clone()
    }

    /// The complaints about the requests so far, in order: vendor, path, reason. An unknown key is
    /// not a complaint.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.borrow().complaints.clone()
    }

    /// The number of model listings so far.
    pub fn model_requests(&self) -> usize {
        self.shared.borrow().model_requests
    }

    /// The number of queued scripts, those for keys included.
    pub fn scripts_left(&self) -> usize {
        let state = self.shared.borrow();
        state.scripts.len()
            + state.key_scripts.values().map(std::collections::VecDeque::len).sum::<usize>()
    }

    /// The number of connections so far.
    pub fn accepted_connections(&self) -> usize {
        self.shared.borrow().accepted
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        self.shared.borrow().connections.len()
    }

    /// The number of open connections whose last request was for this vendor.
    pub fn open_connections_of(&self, vendor: Vendor) -> usize {
        self.shared.borrow().connections.values().filter(|last| **last == Some(vendor)).count()
    }

    /// The number of running responses.
    pub fn open_streams(&self) -> usize {
        self.shared.borrow().streams.values().sum()
    }

    /// The number of running responses of a vendor.
    pub fn open_streams_of(&self, vendor: Vendor) -> usize {
        self.shared.borrow().streams.get(&vendor).copied().unwrap_or_default()
    }

    /// The number of HTTP/2 streams that the peer has reset (`RST_STREAM`).
    pub fn resets(&self) -> usize {
        self.shared.borrow().resets
    }

    /// Waits until at least `count` requests have arrived.
    pub async fn wait_requests(&self, count: usize) {
        self.wait(|state| (state.requests.len() >= count).then_some(())).await;
    }

    /// Waits until exactly `count` connections are open.
    pub async fn wait_open(&self, count: usize) {
        self.wait(|state| (state.connections.len() == count).then_some(())).await;
    }

    /// Waits until exactly `count` responses are running.
    pub async fn wait_streams(&self, count: usize) {
        self.wait(|state| (state.streams.values().sum::<usize>() == count).then_some(())).await;
    }

    /// Waits until the peer has closed the connection of a request (FIN or RST) or reset its HTTP/2
    /// stream, and returns the time. `request` is an index into [`Self::requests`]. Never returns
    /// if a script resets the connection first.
    pub async fn wait_closed(&self, request: usize) -> Instant {
        self.wait(|state| state.closed.get(request).copied().flatten()).await
    }

    async fn wait<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        let mut receiver = self.shared.subscribe();
        loop {
            if let Some(found) = look(&receiver.borrow_and_update()) {
                return found;
            }
            // It cannot fail: `self` owns the sender.
            let _ = receiver.changed().await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<SharedState>) {
    let mut sessions: Vec<Task> = Vec::new();
    for connection in 0.. {
        // Accepting fails if no file descriptor is left; the test then fails by a timeout.
        let Ok((stream, _)) = listener.accept().await else { return };
        sessions.retain(|session| !session.is_finished());
        let open = OpenConnection::new(Arc::clone(&shared), connection);
        sessions.push(spawn(session::run(stream, open)));
    }
}
