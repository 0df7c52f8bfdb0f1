//! Two hundred clients that disappear at once leave nothing behind: no upstream connection, no task, no bytes.

use client::{Connection, Request};
use engine::provider::route::Timeouts;
use fakes::{Script, Upstream};
use serde_json::json;

use crate::test_server::{
    TestApi, TestFrame, TestServer, TestServerPlan, WAYS, stateless, upstream_of,
};

const CLIENTS: usize = 200;

/// The upstreams: one never responds, one sends no output, one stalls during its stream.
const MODELS: [&str; 3] = ["headless", "wordless", "stalling"];

fn script(model: &str) -> Script {
    match model {
        "headless" => Script::no_head(),
        "wordless" => Script::new().role().comment().stall(),
        _ => Script::new().role().content("Once").stall(),
    }
}

/// How far a client gets before it disappears.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Far {
    Connected,
    HalfAHead,
    HalfABody,
    /// It leaves as soon as its request is written.
    Written,
    /// After its upstream was called.
    Asked,
    /// After it has read the first event, if there is one.
    Reading,
}

const FAR: [Far; 8] = [
    Far::Connected,
    Far::HalfAHead,
    Far::HalfABody,
    Far::Written,
    Far::Asked,
    Far::Asked,
    Far::Reading,
    Far::Reading,
];

struct Client {
    connection: Connection,
    far: Far,
    request: Request,
    reads: bool,
}

impl Client {
    /// One client, whose kind depends on its number, up to the upstream call.
    async fn come(test_server: &TestServer, number: usize) -> Self {
        // The numbers are coprime, so that every combination occurs.
        let (far, way, model) = (
            FAR[number % FAR.len()],
            WAYS[number % 5 + number / 100],
            MODELS[number % MODELS.len()],
        );
        let request = stateless(way, model);
        // Their first event arrives before the upstream sends anything.
        let request =
            if way.0 == TestApi::Responses { request.header("prefer", "wait=0") } else { request };
        let bytes = request.encode("localhost");
        let mut connection = Connection::open(test_server.address).await.unwrap();
        match far {
            Far::Connected | Far::Written => {}
            Far::HalfAHead => connection.write_raw(&bytes[..20]).await.unwrap(),
            Far::HalfABody => connection.write_raw(&bytes[..bytes.len() - 5]).await.unwrap(),
            Far::Asked | Far::Reading => connection.write(&request).await.unwrap(),
        }
        // Chat completions hold the head back until the upstream has sent something.
        let speaks =
            way.1 != TestFrame::Json && (way.0 == TestApi::Responses || model == "stalling");
        Self { connection, far, request, reads: far == Far::Reading && speaks }
    }

    fn is_asked(&self, model: &str) -> bool {
        matches!(self.far, Far::Asked | Far::Reading)
            && String::from_utf8_lossy(&self.request.body).contains(model)
    }

    async fn read(mut self) -> Self {
        if self.reads {
            let mut stream =
                self.connection.read_response(&self.request).await.unwrap().events().unwrap();
            client::soon(stream.next()).await.unwrap().unwrap().unwrap();
            self.connection = stream.abandon();
        }
        self
    }

    async fn vanish(mut self, number: usize) {
        if self.far == Far::Written {
            self.connection.write(&self.request).await.unwrap();
        }
        match number % 3 {
            0 => drop(self.connection),
            1 => self.connection.reset().unwrap(),
            // Like a shell's pipe: FIN, and nothing reads.
            _ => self.connection.half_close().await.unwrap(),
        }
    }
}

#[tokio::test]
async fn two_hundred_disappearing_clients_leave_nothing() {
    let mut upstreams = Vec::new();
    for model in MODELS {
        let upstream = Upstream::start().await.unwrap();
        upstream.default_script(script(model));
        upstreams.push(upstream);
    }
    let more = MODELS
        .iter()
        .zip(&upstreams)
        .map(|(model, upstream)| upstream_of(model, upstream.base_url(), Timeouts::default()));
    let test_server = TestServer::open_with(TestServerPlan {
        more_upstreams: more.collect(),
        ..TestServerPlan::default()
    })
    .await;
    let before = test_server.engine.census();

    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::come(&test_server, number).await);
    }
    for (model, upstream) in MODELS.iter().zip(&upstreams) {
        let asked = clients.iter().filter(|client| client.is_asked(model)).count();
        assert!(asked > 20, "{model}: {asked}");
        client::soon(upstream.wait_requests(asked)).await.unwrap();
    }
    let mut reading = Vec::new();
    for client in clients {
        reading.push(client.read().await);
    }
    eprintln!(
        "before they vanish: {} connections, {:?}",
        test_server.connections(),
        test_server.engine.census()
    );
    for (number, client) in reading.into_iter().enumerate() {
        client.vanish(number).await;
    }

    let settled = async {
        while test_server.connections() > 0 || test_server.engine.census() != before {
            tokio::task::yield_now().await;
        }
    };
    let settled = client::soon(settled).await;
    settled.unwrap_or_else(|_late| {
        panic!(
            "{} connections, {:?}, not {before:?}",
            test_server.connections(),
            test_server.engine.census()
        )
    });
    for (model, upstream) in MODELS.iter().zip(&upstreams) {
        client::soon(upstream.wait_open(0))
            .await
            .unwrap_or_else(|_late| panic!("{model}: {} left", upstream.open_connections()));
    }
    // The server still works.
    let (status, _) =
        test_server.post("/v1/responses", &json!({ "model": "demo", "input": "/echo hi" })).await;
    assert_eq!(status, 200);
    test_server.quiet().await;
    test_server.close().await;
}
