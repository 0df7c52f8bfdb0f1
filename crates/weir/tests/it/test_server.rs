//! A complete server with a scripted upstream, in the test's process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Request, Response, Stream};
use engine::Engine;
use engine::keys::Caller;
use engine::memory::keys::MemoryKeys;
use engine::provider::route::{Retries, Timeouts};
use fakes::Upstream;
use protocol::id::Owner;
use provider::config::{DemoConfig, KeyConfig, Preset, RouteConfig, UpstreamConfig};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir::assemble::{Blueprint, Weir};
use weir::shutdown;

/// The model of the scripted upstream.
pub(crate) const MODEL: &str = "scripted";

/// The keys of a server with callers.
pub(crate) const ALICE: &str = "wk_alice";
pub(crate) const BOB: &str = "wk_bob";
/// The administrator's key.
pub(crate) const ADMIN: &str = "wk_admin";

/// A server, its upstream, and what is needed to end both.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: Option<SocketAddr>,
    pub(crate) engine: Engine,
    pub(crate) upstream: Upstream,
    pub(crate) connections: Arc<server::Connections>,
    /// The keys, to add and revoke.
    pub(crate) keys: MemoryKeys,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<usize>,
}

/// What a test can change.
pub(crate) struct TestServerPlan {
    pub(crate) server: server::Config,
    pub(crate) engine: engine::Config,
    pub(crate) timeouts: Timeouts,
    /// Models with more than one upstream.
    pub(crate) routes: Vec<RouteConfig>,
    /// How often a failed call is retried; never, unless a test is about that.
    pub(crate) retries: Retries,
    /// Upstreams in addition to the scripted one.
    pub(crate) more_upstreams: Vec<UpstreamConfig>,
    pub(crate) with_keys: bool,
    pub(crate) log: Option<Arc<dyn engine::log::Log>>,
    pub(crate) tls: Option<Arc<server::TlsServer>>,
    pub(crate) traces: Option<traces::Config>,
    pub(crate) grace: Duration,
    pub(crate) spread: Duration,
}

impl TestServerPlan {
    /// A plan whose server configuration is changed from its defaults.
    pub(crate) fn server(change: impl FnOnce(&mut server::Config)) -> Self {
        let mut plan = Self::default();
        change(&mut plan.server);
        plan
    }
}

impl Default for TestServerPlan {
    fn default() -> Self {
        Self {
            server: server::Config {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                ..server::Config::default()
            },
            engine: engine::Config::default(),
            timeouts: Timeouts::default(),
            routes: Vec::new(),
            retries: Retries { count: 0, ..Retries::default() },
            more_upstreams: Vec::new(),
            with_keys: false,
            log: None,
            tls: None,
            traces: None,
            grace: Duration::ZERO,
            spread: Duration::ZERO,
        }
    }
}

impl TestServer {
    pub(crate) async fn open() -> Self {
        Self::open_with(TestServerPlan::default()).await
    }

    pub(crate) async fn open_with(plan: TestServerPlan) -> Self {
        let upstream = Upstream::start().await.unwrap();
        let provider = provider::Config {
            demo: DemoConfig { enabled: true, tokens_per_second: 0.0 },
            upstreams: [upstream_of(MODEL, upstream.base_url(), plan.timeouts)]
                .into_iter()
                .chain(plan.more_upstreams)
                .collect(),
            routes: plan.routes,
            retries: plan.retries,
        };
        let caller = |name: &str| Caller { owner: Owner::new(name), admin: false };
        let admin = Caller { admin: true, ..caller("admin") };
        let keys = [(ALICE, caller("alice")), (BOB, caller("bob")), (ADMIN, admin)];
        let keys = if plan.with_keys { MemoryKeys::new(keys) } else { MemoryKeys::default() };
        let mut blueprint =
            Blueprint::in_memory(plan.server, plan.engine, provider, Arc::new(keys.clone()));
        blueprint.shutdown =
            shutdown::Config { delay: Duration::ZERO, spread: plan.spread, grace: plan.grace };
        blueprint.tls = plan.tls;
        blueprint.traces = plan.traces;
        if let Some(log) = plan.log {
            blueprint.log = log;
        }
        let weir = Weir::assemble(blueprint).await.unwrap();
        let admin_address = weir.admin_address();
        let (address, engine, connections) =
            (weir.address(), weir.engine().clone(), weir.connections());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(weir.serve(async { drop(stopped.await) }));
        Self { address, admin_address, engine, upstream, connections, keys, stop, serving }
    }

    /// Sends a request on a new connection.
    pub(crate) async fn send(&self, request: &Request) -> Response {
        client::send(self.address, request).await.unwrap()
    }

    /// Posts JSON and reads the complete JSON response.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.json(&Request::post(path, body)).await
    }

    /// Gets JSON.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.json(&Request::get(path)).await
    }

    /// Sends a request and reads the complete JSON response.
    pub(crate) async fn json(&self, request: &Request) -> (u16, Value) {
        let mut response = self.send(request).await;
        let (body, end) = response.collect().await.unwrap();
        assert_eq!(end, client::BodyEnd::Clean, "a JSON answer ends cleanly");
        let value = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)));
        (response.status, value)
    }

    /// Opens a stream.
    pub(crate) async fn stream(&self, request: &Request) -> Stream {
        let response = self.send(request).await;
        assert_eq!(response.status, 200);
        response.events().unwrap()
    }

    /// Resolves when no response runs any more. The upstream may keep idle connections; it knows which were closed.
    pub(crate) async fn quiet(&self) {
        let quiet = async {
            while self.engine.census().running > 0 {
                tokio::task::yield_now().await;
            }
        };
        client::soon(quiet)
            .await
            .unwrap_or_else(|_late| panic!("still there: {:?}", self.engine.census()));
    }

    /// The number of open client connections.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.open()
    }

    /// Resolves when at most `most` client connections are open.
    pub(crate) async fn wait_connections(&self, most: u64) {
        let few = async {
            while self.connections() > most {
                tokio::task::yield_now().await;
            }
        };
        client::soon(few)
            .await
            .unwrap_or_else(|_late| panic!("{} connections are open", self.connections()));
    }

    /// Ends the server; anything left over fails the test.
    pub(crate) async fn close(self) {
        let _asked = self.stop.send(());
        let left = client::soon(self.serving).await.unwrap().unwrap();
        assert_eq!(left, 0, "tasks were left behind");
        assert_eq!(self.connections.open(), 0, "connections were left behind");
        assert_eq!(self.engine.census().running, 0, "answers were left behind");
    }
}

/// An upstream with one model.
pub(crate) fn upstream_of(model: &str, base_url: String, timeouts: Timeouts) -> UpstreamConfig {
    UpstreamConfig {
        keys: vec![KeyConfig::new("1", engine::secret::Secret::new("sk-of-q8Zv41Tn0bX"))],
        models: vec![model.into()],
        timeouts,
        // A test fails calls and then expects the next one to succeed.
        key_rest: Duration::ZERO,
        breaker: 0,
        ..UpstreamConfig::new(format!("lab-{model}"), Preset::Compatible, base_url)
    }
}

/// The API of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TestApi {
    Responses,
    Chat,
}

/// The frame of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TestFrame {
    Json,
    Ndjson,
    Sse,
}

impl TestFrame {
    /// The `Content-Type` of its bodies.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson; charset=utf-8",
            Self::Sse => "text/event-stream; charset=utf-8",
        }
    }

    /// The same without parameters.
    pub(crate) fn media_type(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }
}

/// Every kind of request over plain HTTP.
pub(crate) const WAYS: [(TestApi, TestFrame); 6] = [
    (TestApi::Responses, TestFrame::Json),
    (TestApi::Responses, TestFrame::Ndjson),
    (TestApi::Responses, TestFrame::Sse),
    (TestApi::Chat, TestFrame::Json),
    (TestApi::Chat, TestFrame::Ndjson),
    (TestApi::Chat, TestFrame::Sse),
];

/// A request that does not say whether its response is stored.
pub(crate) fn question((words, frame): (TestApi, TestFrame), model: &str, more: &Value) -> Request {
    let (path, mut body) = match words {
        TestApi::Responses => ("/v1/responses", json!({ "model": model, "input": "hi" })),
        TestApi::Chat => (
            "/v1/chat/completions",
            json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] }),
        ),
    };
    body["stream"] = (frame != TestFrame::Json).into();
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let request = Request::post(path, &body);
    if frame == TestFrame::Ndjson {
        request.header("accept", "application/x-ndjson")
    } else {
        request
    }
}

/// A request whose response is cancelled when its last reader leaves.
pub(crate) fn stateless(way: (TestApi, TestFrame), model: &str) -> Request {
    question(way, model, &json!({ "store": false }))
}

/// A streamed request to the scripted model.
pub(crate) fn ask(text: &str) -> Value {
    json!({ "model": MODEL, "input": text, "stream": true })
}

/// A request to the demo model.
pub(crate) fn demo(text: &str) -> Value {
    json!({ "model": "demo", "input": text, "stream": true })
}
