//! What a token, a response and a silent stream cost in allocations and bytes: counts, which no
//! busy machine changes. A change that costs a tenth more than recorded here fails.
//!
//! A whole server runs on one thread and is counted there. Its client and its upstream are another
//! thread, which lets each token through before it writes the next.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use allocation_counter::AllocationInfo;
use engine::memory::keys::MemoryKeys;
use engine::secret::Secret;
use provider::config::{KeyConfig, Preset, UpstreamConfig};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use weir::assemble::{Blueprint, Weir};
use weir::shutdown;

/// How long either side of the conversation may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Responses before the first one that counts: they open connections and fill tables.
const WARM_UP: usize = 20;

/// What was counted in a test build, to be lowered when it falls.
struct Budget {
    path: &'static str,
    allocations_per_token: u64,
    allocations_per_response: u64,
    bytes_per_silent_stream: u64,
}

const CHAT: Budget = Budget {
    path: "/v1/chat/completions",
    allocations_per_token: 9,
    allocations_per_response: 460,
    bytes_per_silent_stream: 81_170,
};

const RESPONSES: Budget = Budget {
    path: "/v1/responses",
    allocations_per_token: 7,
    allocations_per_response: 401,
    bytes_per_silent_stream: 80_360,
};

#[test]
fn chat_completions_stay_within_their_budget() {
    check(&CHAT);
}

#[test]
fn responses_stay_within_their_budget() {
    check(&RESPONSES);
}

fn check(budget: &Budget) {
    let path = budget.path;
    let one = per(50, &measure(path, move |ends| (0..50).for_each(|_| ends.respond(path, 1))));
    let many = per(5, &measure(path, move |ends| (0..5).for_each(|_| ends.respond(path, 201))));
    let silent = measure(path, move |ends| (0..50).for_each(|_| ends.fall_silent(path)));
    let counted = [(many - one) / 200, one, u64::try_from(silent.bytes_current).unwrap() / 50];
    let recorded = [
        budget.allocations_per_token,
        budget.allocations_per_response,
        budget.bytes_per_silent_stream,
    ];
    // A tenth more is too much, and a fifth less has to be recorded.
    let is_near = |(counted, recorded): (&u64, &u64)| {
        *counted <= recorded + recorded / 10 && *counted >= recorded - recorded / 5
    };
    assert!(
        counted.iter().zip(&recorded).all(is_near),
        "{path}: {counted:?} allocations per token and per response, and bytes per silent stream; recorded are {recorded:?}"
    );
}

fn per(count: u64, measured: &AllocationInfo) -> u64 {
    measured.count_total / count
}

/// Counts the server's thread while `work` runs.
fn measure(path: &'static str, work: impl FnOnce(&mut Ends) + Send + 'static) -> AllocationInfo {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}/v1", upstream.local_addr().unwrap());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let weir = runtime.block_on(Weir::assemble(blueprint(base_url))).unwrap();
    let (address, (stop, stopped)) = (weir.address(), oneshot::channel::<()>());
    let (warm, mut is_warm) = oneshot::channel();
    let (go, is_started) = std::sync::mpsc::channel();
    let (done, mut is_done) = oneshot::channel();
    let worker = thread::Builder::new().spawn(move || {
        let mut ends = Ends::new(address, upstream);
        (0..WARM_UP).for_each(|_| ends.respond(path, 1));
        warm.send(()).unwrap();
        is_started.recv().unwrap();
        work(&mut ends);
        done.send(()).unwrap();
        ends
    });
    let mut serving = Box::pin(weir.serve(async { drop(stopped.await) }));
    let mut until = |reached: &mut oneshot::Receiver<()>| {
        runtime.block_on(async {
            tokio::select! {
                _ = &mut serving => panic!("the server ended"),
                reached = pin!(reached) => reached.unwrap(),
            }
        });
    };
    until(&mut is_warm);
    let measured = allocation_counter::measure(|| {
        go.send(()).unwrap();
        until(&mut is_done);
    });
    drop(worker.unwrap().join().unwrap());
    drop(stop);
    runtime.block_on(serving);
    measured
}

fn blueprint(base_url: String) -> Blueprint {
    let server = server::Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..server::Config::default()
    };
    let upstream = UpstreamConfig {
        keys: vec![KeyConfig::new("1", Secret::new("sk-of-q8Zv41Tn0bX"))],
        models: vec!["counted".into()],
        ..UpstreamConfig::new("upstream".to_owned(), Preset::Compatible, base_url)
    };
    let provider = provider::Config { upstreams: vec![upstream], ..provider::Config::default() };
    let keys = Arc::new(MemoryKeys::default());
    let mut blueprint = Blueprint::in_memory(server, engine::Config::default(), provider, keys);
    blueprint.shutdown =
        shutdown::Config { delay: Duration::ZERO, spread: Duration::ZERO, grace: Duration::ZERO };
    blueprint
}

/// The client and the upstream.
struct Ends {
    server: SocketAddr,
    listener: TcpListener,
    /// Kept for the next response, as clients and upstreams do.
    client: TcpStream,
    upstream: Option<TcpStream>,
    /// Both ends of the streams that have fallen silent.
    silent: Vec<(TcpStream, TcpStream)>,
}

impl Ends {
    fn new(server: SocketAddr, listener: TcpListener) -> Self {
        Self { server, listener, client: connect(server), upstream: None, silent: Vec::new() }
    }

    /// One response of `tokens` tokens, each read by the client before the next is written.
    fn respond(&mut self, path: &str, tokens: usize) {
        self.ask(path);
        for token in 0..tokens {
            self.token(token);
        }
        let end = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"counted","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let usage = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"counted","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
        let upstream = self.upstream.as_mut().unwrap();
        let body = format!("data: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
        write!(upstream, "{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).unwrap();
        read_until(&mut self.client, b"\r\n0\r\n\r\n");
    }

    /// A response of one token that stays open.
    fn fall_silent(&mut self, path: &str) {
        (self.client, self.upstream) = (connect(self.server), None);
        self.ask(path);
        self.token(0);
        let upstream = self.upstream.take().unwrap();
        let client = std::mem::replace(&mut self.client, connect(self.server));
        self.silent.push((client, upstream));
    }

    fn ask(&mut self, path: &str) {
        let body = if path.ends_with("responses") {
            r#"{"model":"counted","stream":true,"store":false,"input":"hello"}"#
        } else {
            r#"{"model":"counted","stream":true,"messages":[{"role":"user","content":"hello"}]}"#
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.client.write_all((head + body).as_bytes()).unwrap();
        let upstream = self.upstream.get_or_insert_with(|| {
            let upstream = self.listener.accept().unwrap().0;
            upstream.set_read_timeout(Some(PATIENCE)).unwrap();
            upstream.set_nodelay(true).unwrap();
            upstream
        });
        read_until(upstream, b"\"stream\":true");
        upstream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
    }

    fn token(&mut self, number: usize) {
        let text = format!("token{number:06} ");
        let event = format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"counted\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
        );
        let upstream = self.upstream.as_mut().unwrap();
        write!(upstream, "{:x}\r\n{event}\r\n", event.len()).unwrap();
        read_until(&mut self.client, text.as_bytes());
    }
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads until `end` has come.
fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let (mut read, mut bytes) = (Vec::new(), [0; 4096]);
    while !read.windows(end.len()).any(|window| window == end) {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&bytes[..count]);
    }
}
