//! A scripted fake of every vendor's model server, told apart by the path, over HTTP/1.1 with keep-alive and over HTTP/2 by
//! prior knowledge on the same port. It plays one script per request in the words of the vendor, refuses what the vendor
//! refuses, and tells exactly when its peer closed.

mod answer;
mod check;
mod http2;
mod models;
mod outlet;
mod play;
mod respond;
mod said;
mod scenario;
mod script;
mod session;
mod state;
mod trouble;
mod vendor;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use said::{Said, Trouble, Usage};
pub use scenario::{NAMES as SCENARIOS, script as scenario};
pub use script::{Marks, Script, Step};
pub use state::Recorded;
pub use vendor::Vendor;
pub use wire::vector;

use crate::runtime::{Task, spawn};
use state::{Open, Shared, State};

/// The running server. Dropping it ends all its tasks and closes all its sockets.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    vendor: Vendor,
    shared: Arc<Shared>,
    _accepting: Task,
}

/// Beginning.
impl Upstream {
    /// Starts a server on a free port of the loopback address. Its chat completions are those of a compatible server: it
    /// needs no key, passes over fields that it does not know, and refuses only what nobody could answer. The other vendors'
    /// are theirs.
    pub async fn start() -> Result<Self> {
        Self::listen(Vendor::OpenAi, false).await
    }

    /// Starts the vendor's own server, which refuses all that the vendor refuses; [`Self::base_url`] is the vendor's. It
    /// answers the other vendors' paths as well.
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

    /// What Weir would be configured with. For [`Self::start`] that is what `OPENAI_BASE_URL` would be, and ends in `/v1`.
    pub fn base_url(&self) -> String {
        self.base_url_of(self.vendor)
    }

    /// What Weir would be configured with for a vendor. Anthropic's and Google's own SDKs want it without the version.
    pub fn base_url_of(&self, vendor: Vendor) -> String {
        vendor.base_url(self.address)
    }

    /// What Weir would be configured with for OpenAI's models at Azure, with the version in the path.
    pub fn azure_base_url(&self) -> String {
        format!("http://{}/openai/v1", self.address)
    }
}

/// What it shall do.
impl Upstream {
    /// Queues a script for the next request for an answer that has none.
    pub fn script(&self, script: Script) {
        self.shared.send_modify(|state| state.scripts.push_back(script));
    }

    /// Replaces the script that is played when the queue is empty.
    pub fn default_script(&self, script: Script) {
        self.shared.send_modify(|state| state.default = script);
    }

    /// Queues a script for the next request with this key, before those that are for all.
    pub fn script_for_key(&self, key: &str, script: Script) {
        self.shared.send_modify(|state| state.key_scripts.entry(key.to_owned()).or_default().push_back(script));
    }

    /// Has a script played for every request with this key whose own queue is empty.
    pub fn default_script_for_key(&self, key: &str, script: Script) {
        self.shared.send_modify(|state| {
            state.key_defaults.insert(key.to_owned(), script);
        });
    }

    /// Has a script played for every request for this model where none is queued, so that many can ask at once.
    pub fn default_script_for_model(&self, model: &str, script: Script) {
        self.shared.send_modify(|state| {
            state.model_defaults.insert(model.to_owned(), script);
        });
    }

    /// Has the model's name choose the script where none is queued (see [`SCENARIOS`]), and lists the names.
    pub fn play_scenarios(&self) {
        self.shared.send_modify(|state| {
            state.has_scenarios = true;
            state.models = SCENARIOS.iter().map(|name| (*name).to_owned()).collect();
        });
    }

    /// Has every request refused whose key is none of these, as the vendor does it.
    pub fn require_keys(&self, keys: &[&str]) {
        self.shared.send_modify(|state| state.keys = keys.iter().map(|key| (*key).to_owned()).collect());
    }

    /// How many streams each new connection of HTTP/2 lets its peer have at a time.
    pub fn limit_streams(&self, most: u32) {
        self.shared.send_modify(|state| state.most_streams = Some(most));
    }

    /// Replaces the list of models.
    pub fn models(&self, models: Vec<String>) {
        self.shared.send_modify(|state| state.models = models);
    }
}

/// What it saw.
impl Upstream {
    /// All requests so far but model listings, so that a server that lists models does not shift the others' indices.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.borrow().requests.clone()
    }

    /// What was wrong with the requests so far, in order: whose API, the path, what. A key that is merely not known is not
    /// among it.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.borrow().complaints.clone()
    }

    /// The number of model listings so far.
    pub fn model_requests(&self) -> usize {
        self.shared.borrow().model_requests
    }

    /// The number of scripts that no request has taken yet, those for one key included.
    pub fn scripts_left(&self) -> usize {
        let state = self.shared.borrow();
        state.scripts.len() + state.key_scripts.values().map(std::collections::VecDeque::len).sum::<usize>()
    }

    /// The number of sockets that were opened so far.
    pub fn accepted_connections(&self) -> usize {
        self.shared.borrow().accepted
    }

    /// The number of sockets that are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.borrow().connections.len()
    }

    /// The number of sockets that are open now and whose last request was for this vendor.
    pub fn open_connections_of(&self, vendor: Vendor) -> usize {
        self.shared.borrow().connections.values().filter(|last| **last == Some(vendor)).count()
    }

    /// The number of answers that are being given now.
    pub fn open_streams(&self) -> usize {
        self.shared.borrow().streams.values().sum()
    }

    /// The number of answers that a vendor is giving now.
    pub fn open_streams_of(&self, vendor: Vendor) -> usize {
        self.shared.borrow().streams.get(&vendor).copied().unwrap_or_default()
    }

    /// The number of streams of HTTP/2 that the peer has reset (`RST_STREAM`).
    pub fn resets(&self) -> usize {
        self.shared.borrow().resets
    }

    /// Waits until at least `count` requests have come.
    pub async fn wait_requests(&self, count: usize) {
        self.wait(|state| (state.requests.len() >= count).then_some(())).await;
    }

    /// Waits until exactly `count` sockets are open.
    pub async fn wait_open(&self, count: usize) {
        self.wait(|state| (state.connections.len() == count).then_some(())).await;
    }

    /// Waits until exactly `count` answers are being given.
    pub async fn wait_streams(&self, count: usize) {
        self.wait(|state| (state.streams.values().sum::<usize>() == count).then_some(())).await;
    }

    /// Waits until the peer has closed (FIN or RST) the connection of a request, or reset its stream of HTTP/2, and gives the
    /// time at which it did. Requests are counted as in [`Self::requests`]. It never returns if a script resets the
    /// connection first.
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

#[cfg(test)]
mod tests;

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
