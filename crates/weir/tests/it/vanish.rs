//! Two hundred clients that vanish at once leave nothing behind: no upstream connection, no task, no byte.

use client::{Connection, Request};
use engine::provider::route::Timeouts;
use fakes::{Script, Upstream};
use serde_json::json;

use crate::house::{Frame, House, Plan, WAYS, Words, stateless, upstream_of};

const CLIENTS: usize = 200;

/// What the upstreams do: one never answers, one never says a word, one stops in mid-stream.
const MODELS: [&str; 3] = ["headless", "wordless", "stalling"];

fn script(model: &str) -> Script {
    match model {
        "headless" => Script::no_head(),
        "wordless" => Script::new().role().comment().stall(),
        _ => Script::new().role().content("Once").stall(),
    }
}

/// How far a client gets before it vanishes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Far {
    Connected,
    HalfAHead,
    HalfABody,
    /// It goes in the moment in which its request is written.
    Written,
    /// Its upstream was asked.
    Asked,
    /// It has read the first event, where there is one.
    Reading,
}

const FAR: [Far; 8] = [Far::Connected, Far::HalfAHead, Far::HalfABody, Far::Written, Far::Asked, Far::Asked, Far::Reading, Far::Reading];

struct Client {
    connection: Connection,
    far: Far,
    request: Request,
    reads: bool,
}

impl Client {
    /// One client, of a kind by its number, as far as it gets before the upstream is asked.
    async fn come(house: &House, number: usize) -> Self {
        // The numbers have no common factor, so that every combination comes.
        let (far, way, model) = (FAR[number % FAR.len()], WAYS[number % 5 + number / 100], MODELS[number % MODELS.len()]);
        let request = stateless(way, model);
        // Their first event is there before the upstream has said anything.
        let request = if way.0 == Words::Responses { request.header("prefer", "wait=0") } else { request };
        let bytes = request.encode("localhost");
        let mut connection = Connection::open(house.address).await.unwrap();
        match far {
            Far::Connected | Far::Written => {}
            Far::HalfAHead => connection.write_raw(&bytes[..20]).await.unwrap(),
            Far::HalfABody => connection.write_raw(&bytes[..bytes.len() - 5]).await.unwrap(),
            Far::Asked | Far::Reading => connection.write(&request).await.unwrap(),
        }
        // Chat holds its head until the upstream has said something.
        let speaks = way.1 != Frame::Json && (way.0 == Words::Responses || model == "stalling");
        Self { connection, far, request, reads: far == Far::Reading && speaks }
    }

    fn is_asked(&self, model: &str) -> bool {
        matches!(self.far, Far::Asked | Far::Reading) && String::from_utf8_lossy(&self.request.body).contains(model)
    }

    async fn read(mut self) -> Self {
        if self.reads {
            let mut stream = self.connection.read_response(&self.request).await.unwrap().events().unwrap();
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
            // As a shell's pipe does: FIN, and nobody reads.
            _ => self.connection.half_close().await.unwrap(),
        }
    }
}

#[tokio::test]
async fn two_hundred_clients_that_vanish_leave_nothing() {
    let mut upstreams = Vec::new();
    for model in MODELS {
        let upstream = Upstream::start().await.unwrap();
        upstream.default_script(script(model));
        upstreams.push(upstream);
    }
    let more = MODELS.iter().zip(&upstreams).map(|(model, upstream)| upstream_of(model, upstream.base_url(), Timeouts::default()));
    let house = House::open_with(Plan { more_upstreams: more.collect(), ..Plan::default() }).await;
    let before = house.engine.census();

    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::come(&house, number).await);
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
    eprintln!("before they vanish: {} connections, {:?}", house.connections(), house.engine.census());
    for (number, client) in reading.into_iter().enumerate() {
        client.vanish(number).await;
    }

    let settled = async {
        while house.connections() > 0 || house.engine.census() != before {
            tokio::task::yield_now().await;
        }
    };
    let settled = client::soon(settled).await;
    settled.unwrap_or_else(|_late| panic!("{} connections, {:?}, not {before:?}", house.connections(), house.engine.census()));
    for (model, upstream) in MODELS.iter().zip(&upstreams) {
        client::soon(upstream.wait_open(0)).await.unwrap_or_else(|_late| panic!("{model}: {} left", upstream.open_connections()));
    }
    // And it still works.
    let (status, _) = house.post("/v1/responses", &json!({ "model": "demo", "input": "/echo hi" })).await;
    assert_eq!(status, 200);
    house.quiet().await;
    house.close().await;
}
