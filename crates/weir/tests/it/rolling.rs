//! Shutdowns of whole processes: the delay, the second signal, and a rolling restart under load, whose timeline is
//! printed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::websocket;
use client::{BodyEnd, Connection, Request, Stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::service::{Service, in_time, weir};

/// How many responses run when the process is told to stop.
const STREAMS: usize = 200;

/// The last number in each of them.
const LAST: usize = 100;

fn demo(text: &str) -> Value {
    json!({ "model": "demo", "input": text, "stream": true })
}

#[tokio::test]
async fn steps_1_and_2_readiness_fails_before_new_connections_are_refused() {
    let directory = TempDir::new().unwrap();
    let mut command = weir(directory.path());
    command.env("WEIR_SHUTDOWN_DELAY", "1s");
    let mut server = Service::start(command).await;
    assert_eq!(server.json(&Request::get("/readyz")).await.0, 200);
    let told = client::now();
    server.signal("TERM");
    server.logged("no longer ready", 1).await;
    let mut unready = server.send(&Request::get("/readyz")).await;
    assert_eq!((unready.status, unready.headers.get("connection")), (503, Some("close")));
    assert_eq!(client::json::value(&mut unready).await.unwrap()["status"], "draining");
    let ask = json!({ "model": "demo", "input": "/echo still here" });
    assert_eq!(
        server.json(&Request::post("/v1/responses", &ask)).await.0,
        200,
        "new clients are served"
    );
    in_time(async { while Connection::open(server.address).await.is_ok() {} }).await;
    assert!(told.elapsed() >= Duration::from_secs(1));
    let (status, log) = server.ended().await;
    assert!(status.success() && log.contains("stopped; nothing was cut"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_reports_what_was_cut_off() {
    for (second, expected) in [("TERM", 143), ("INT", 130)] {
        let directory = TempDir::new().unwrap();
        let mut server = Service::start(weir(directory.path())).await;
        let mut stream =
            server.send(&Request::post("/v1/responses", &demo("/stall 1"))).await.events().unwrap();
        stream.next().await.unwrap().unwrap();
        server.signal("TERM");
        server.logged("nothing new is accepted", 1).await;
        let told = client::now();
        server.signal(second);
        let (events, end) = in_time(stream.collect()).await.unwrap();
        let is_told = events
            .iter()
            .any(|event| String::from_utf8_lossy(&event.data).contains("server_shutdown"));
        assert!(is_told && end == BodyEnd::Clean, "{end:?}");
        let (status, log) = server.ended().await;
        assert_eq!(status.code(), Some(expected), "{log}");
        assert!(told.elapsed() < Duration::from_secs(10), "25 s of grace were left");
        let report = log
            .lines()
            .find(|line| line.contains("something was cut"))
            .unwrap_or_else(|| panic!("{log}"));
        let report: Value = serde_json::from_str(report).unwrap();
        assert_eq!(
            (&report["cut"], &report["ended"], &report["hurried"]),
            (&json!(1), &json!(0), &json!(true))
        );
    }
}

/// How a client reads its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RollingTransport {
    Json,
    Sse,
    Ndjson,
    Browser,
    Chat,
    Socket,
}

const WAYS: [RollingTransport; 6] = [
    RollingTransport::Json,
    RollingTransport::Sse,
    RollingTransport::Ndjson,
    RollingTransport::Browser,
    RollingTransport::Chat,
    RollingTransport::Socket,
];

/// Two processes and a load balancer. The first is told to stop while two hundred responses run on it: all arrive
/// completely, also at clients that lose their connection meanwhile and resume; new clients are served by the second.
#[tokio::test]
async fn a_rolling_restart_under_two_hundred_streams_loses_nothing() {
    let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let command = |directory: &TempDir| {
        let mut command = weir(directory.path());
        command
            .env("WEIR_SHUTDOWN_DELAY", "2s")
            .env("WEIR_SHUTDOWN_GRACE", "60s")
            .env("WEIR_DEMO_TOKENS_PER_SECOND", "20");
        command
    };
    let (mut old, new) = (
        Service::start(command(&directories[0])).await,
        Service::start(command(&directories[1])).await,
    );
    let balancer = Balancer::open([old.address, new.address]).await;
    let (tell, told) = watch::channel(false);
    let (start, mut begun) = watch::channel(0);
    let clients = (0..STREAMS).map(|number| {
        let (way, loses) = (WAYS[number % WAYS.len()], (number / WAYS.len()).is_multiple_of(2));
        let client = Client {
            balancer: balancer.address,
            home: old.address,
            told: told.clone(),
            start: start.clone(),
        };
        tokio::spawn(async move { (way, client.run(way, loses).await) })
    });
    let clients: Vec<_> = clients.collect();
    in_time(begun.wait_for(|begun| *begun == STREAMS)).await.unwrap();
    old.signal("TERM");
    old.logged("no longer ready", 1).await;
    tell.send(true).unwrap();
    // New clients are sent to the other process.
    for _ in 0..20 {
        let mut answer = in_time(client::send(
            balancer.address,
            &Request::post("/v1/responses", &demo("/count 2")),
        ))
        .await
        .unwrap();
        assert_eq!((answer.status, answer.end().await.unwrap()), (200, BodyEnd::Clean));
    }
    let mut returned = 0;
    for client in clients {
        let (way, Heard { numbers, has_returned }) = in_time(client).await.unwrap();
        let expected: Vec<String> = (1..=LAST).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected, "{way:?}, has returned: {has_returned}");
        returned += usize::from(has_returned);
    }
    let (status, log) = old.ended().await;
    assert!(status.success(), "{log}");
    let steps = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["step"].is_u64());
    println!(
        "{STREAMS} answers over {WAYS:?}, {returned} clients lost their connection and came back by position:"
    );
    let mut last = Value::Null;
    for step in steps {
        println!(
            "  {:>6} ms  step {}  {} {}",
            step["took_ms"],
            step["step"],
            step["message"].as_str().unwrap(),
            details(&step)
        );
        last = step;
    }
    assert!(returned > STREAMS / 4, "{returned}");
    assert_eq!(
        (&last["message"], &last["ended"]),
        (&json!("stopped; nothing was cut"), &json!(STREAMS))
    );
    assert_eq!(new.json(&Request::get("/readyz")).await.0, 200);
}

/// One process with one data directory, stopped in order and restarted: responses cut off at the deadline resume in
/// the next process, which has their rest and their actual end; those that had ended are complete there too.
#[tokio::test]
async fn after_a_restart_the_next_process_has_the_rest_of_cut_off_responses() {
    let directory = TempDir::new().unwrap();
    let command = || {
        let mut command = weir(directory.path());
        command.env("WEIR_SHUTDOWN_GRACE", "300ms").env("WEIR_SHUTDOWN_SPREAD", "0s");
        command
    };
    let mut old = Service::start(command()).await;
    let whole = old
        .json(&Request::post("/v1/responses", &json!({ "model": "demo", "input": "/echo whole" })))
        .await
        .1;
    let mut cut = Vec::new();
    for way in [RollingTransport::Sse, RollingTransport::Ndjson, RollingTransport::Browser] {
        let stream = old.send(&Request::post("/v1/responses", &demo("/stall 3"))).await;
        let id = stream.headers.get("weir-response-id").unwrap().to_owned();
        let mut stream = stream.events().unwrap();
        let first: Value = stream.next().await.unwrap().unwrap().json().unwrap();
        cut.push((way, id, first, stream));
    }
    old.signal("TERM");
    let (status, log) = old.ended().await;
    assert!(status.success() && log.contains("stopped; something was cut"), "{log}");
    let new = Service::start(command()).await;
    for (way, id, first, mut stream) in cut {
        let (heard, _end) = in_time(stream.collect()).await.unwrap();
        let heard: Vec<Value> = heard
            .iter()
            .filter(|event| event.data.as_ref() != b"[DONE]")
            .map(|event| event.json().unwrap())
            .collect();
        let stream = new.send(&resume(way, &id, first["sequence_number"].as_u64())).await;
        assert_eq!(stream.status, 200, "{way:?}");
        let (rest, end) = in_time(stream.events().unwrap().collect()).await.unwrap();
        let rest: Vec<Value> = rest
            .iter()
            .filter(|event| event.data.as_ref() != b"[DONE]")
            .map(|event| event.json().unwrap())
            .collect();
        assert_eq!((&rest, end), (&heard, BodyEnd::Clean), "{way:?}");
        let last = rest.last().unwrap();
        assert_eq!(
            (&last["type"], &last["response"]["error"]["code"]),
            (&json!("response.failed"), &json!("server_shutdown")),
            "{way:?}"
        );
        for (index, event) in rest.iter().enumerate() {
            assert_eq!(event["sequence_number"].as_u64(), Some(index as u64 + 1), "{way:?}");
        }
    }
    let read = Request::get(&format!("/v1/responses/{}", whole["id"].as_str().unwrap()));
    assert_eq!(new.json(&read).await, (200, whole));
    assert!(
        !new.log().contains("recovered"),
        "an orderly end leaves nothing to recover: {}",
        new.log()
    );
}

fn details(step: &Value) -> String {
    let known = ["timestamp", "level", "target", "message", "step", "took_ms"];
    let fields =
        step.as_object().unwrap().iter().filter(|(name, _)| !known.contains(&name.as_str()));
    fields
        .map(|(name, value)| {
            format!("{name}={}", value.as_str().map_or(value.to_string(), str::to_owned))
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a client received in the end.
struct Heard {
    numbers: Vec<String>,
    has_returned: bool,
}

struct Client {
    balancer: SocketAddr,
    /// The process of its response, where a balancer with sticky sessions would send it.
    home: SocketAddr,
    /// Whether the process was told to stop.
    told: watch::Receiver<bool>,
    start: watch::Sender<usize>,
}

impl Client {
    async fn run(self, way: RollingTransport, loses: bool) -> Heard {
        let question = demo(&format!("/count {LAST}"));
        match way {
            RollingTransport::Json => self.json().await,
            RollingTransport::Chat => self.chat().await,
            RollingTransport::Socket => self.socket(loses).await,
            RollingTransport::Sse | RollingTransport::Ndjson => {
                let mut request = Request::post("/v1/responses", &question);
                if way == RollingTransport::Ndjson {
                    request = request.header("accept", "application/x-ndjson");
                }
                let stream = client::send(self.balancer, &request).await.unwrap();
                let id = stream.headers.get("weir-response-id").unwrap().to_owned();
                self.stream(way, &id, stream.events().unwrap(), loses).await
            }
            RollingTransport::Browser => {
                let mut background = question;
                background["stream"] = false.into();
                background["background"] = true.into();
                let mut created =
                    client::send(self.balancer, &Request::post("/v1/responses", &background))
                        .await
                        .unwrap();
                let id = client::json::value(&mut created).await.unwrap()["id"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                let stream = client::send(self.home, &resume(way, &id, None))
                    .await
                    .unwrap()
                    .events()
                    .unwrap();
                self.stream(way, &id, stream, loses).await
            }
        }
    }

    fn has_begun(&self) {
        self.start.send_modify(|count| *count += 1);
    }

    async fn stream(
        mut self,
        way: RollingTransport,
        id: &str,
        mut stream: Stream,
        loses: bool,
    ) -> Heard {
        let mut events = vec![stream.next().await.unwrap().unwrap().json().unwrap()];
        self.has_begun();
        if loses {
            self.told.wait_for(|told| *told).await.unwrap();
            events.push(stream.next().await.unwrap().unwrap().json().unwrap());
            stream.abandon().reset().unwrap();
            let position = events.last().unwrap()["sequence_number"].as_u64();
            stream = client::send(self.home, &resume(way, id, position))
                .await
                .unwrap()
                .events()
                .unwrap();
        }
        let (rest, end) = stream.collect().await.unwrap();
        assert_eq!(end, BodyEnd::Clean, "{way:?}");
        events.extend(
            rest.iter()
                .filter(|event| event.data.as_ref() != b"[DONE]")
                .map(|event| event.json().unwrap()),
        );
        Heard { numbers: whole(&events), has_returned: loses }
    }

    async fn socket(mut self, loses: bool) -> Heard {
        let mut socket =
            websocket::connect(self.balancer, "/v1/responses", &[]).await.unwrap().socket;
        let create = json!({ "type": "response.create", "model": "demo", "input": format!("/count {LAST}") });
        socket.send_text(&create.to_string()).await.unwrap();
        let mut events: Vec<Value> =
            vec![serde_json::from_str(&socket.next_text().await.unwrap().unwrap()).unwrap()];
        self.has_begun();
        if loses {
            self.told.wait_for(|told| *told).await.unwrap();
            socket.reset().unwrap();
            let id = &events[0]["response"]["id"];
            let resume =
                json!({ "type": "response.resume", "response_id": id, "starting_after": 0 });
            socket = websocket::connect(self.home, "/v1/responses", &[]).await.unwrap().socket;
            socket.send_text(&resume.to_string()).await.unwrap();
        }
        let (rest, end) = socket.collect().await.unwrap();
        assert!(matches!(end, websocket::End::Closed { code: Some(1012), .. }), "{end:?}");
        events.extend(rest.iter().map(|message| serde_json::from_str::<Value>(message).unwrap()));
        Heard { numbers: whole(&events), has_returned: loses }
    }

    /// A client waiting for a document notices nothing before it is complete: it counts as started once sent.
    async fn json(self) -> Heard {
        let request = Request::post(
            "/v1/responses",
            &json!({ "model": "demo", "input": format!("/count {LAST}") }),
        );
        let mut connection = Connection::open(self.balancer).await.unwrap();
        connection.write(&request).await.unwrap();
        self.has_begun();
        let mut response = connection.read_response(&request).await.unwrap();
        let answer = client::json::value(&mut response).await.unwrap();
        Heard {
            numbers: numbers(answer["output"][0]["content"][0]["text"].as_str().unwrap()),
            has_returned: false,
        }
    }

    async fn chat(self) -> Heard {
        let body = json!({ "model": "demo", "stream": true, "messages": [{ "role": "user", "content": format!("/count {LAST}") }] });
        let mut stream = client::send(self.balancer, &Request::post("/v1/chat/completions", &body))
            .await
            .unwrap()
            .events()
            .unwrap();
        let mut events = vec![stream.next().await.unwrap().unwrap()];
        self.has_begun();
        let (rest, end) = stream.collect().await.unwrap();
        assert_eq!((rest.last().unwrap().data.as_ref(), end), (&b"[DONE]"[..], BodyEnd::Clean));
        events.extend(rest);
        let chunks = events.iter().filter_map(|event| event.json().ok());
        let text: String = chunks
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        Heard { numbers: numbers(&text), has_returned: false }
    }
}

fn resume(way: RollingTransport, id: &str, position: Option<u64>) -> Request {
    let after = position.map(|position| format!("&starting_after={position}")).unwrap_or_default();
    match way {
        RollingTransport::Browser => Request::get(&format!("/v1/responses/{id}/events?x=1{after}")),
        RollingTransport::Ndjson => Request::get(&format!("/v1/responses/{id}?stream=true{after}"))
            .header("accept", "application/x-ndjson"),
        RollingTransport::Json
        | RollingTransport::Sse
        | RollingTransport::Chat
        | RollingTransport::Socket => {
            Request::get(&format!("/v1/responses/{id}?stream=true{after}"))
        }
    }
}

/// The numbers in a stream's deltas, in which no event is missing or repeated, and which has its end.
fn whole(events: &[Value]) -> Vec<String> {
    let positions: Vec<u64> =
        events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(positions.iter().copied().eq(0..events.len() as u64), "{positions:?}");
    assert_eq!(events.last().unwrap()["type"], "response.completed");
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    numbers(&deltas.filter_map(|event| event["delta"].as_str()).collect::<String>())
}

fn numbers(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Sends each connection to the first server that is ready.
struct Balancer {
    address: SocketAddr,
    _task: client::Task,
}

impl Balancer {
    async fn open(servers: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let servers = Arc::new(servers);
        let task = client::spawn(async move {
            let mut leading = Vec::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let servers = Arc::clone(&servers);
                leading.push(client::spawn(async move {
                    for server in *servers {
                        let asked = client::send(server, &Request::get("/readyz")).await;
                        if asked.is_ok_and(|answer| answer.status == 200) {
                            let mut server = TcpStream::connect(server).await.unwrap();
                            // An error on one side is handled by the other.
                            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                            return;
                        }
                    }
                }));
            }
        });
        Self { address, _task: task }
    }
}
