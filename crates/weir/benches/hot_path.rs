//! What one token costs on its way through the parts, each measured alone: upstream bytes, word, entry, log, feed, client bytes.
//!
//! No sockets: what they cost is measured by `end_to_end`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use codec::event_stream::Sse;
use codec::ndjson::Ndjson;
use codec::{Frame, Message};
use criterion::{BatchSize, Criterion, Throughput};
use engine::feed::Feed;
use engine::log::Log;
use engine::memory::log::MemoryLog;
use engine::memory::store::MemoryStore;
use engine::provider::Provider;
use engine::provider::event::{Finish, ModelEvent, ModelStream};
use engine::provider::failure::ProviderFailure;
use engine::provider::models::{ModelListing, Models};
use engine::provider::request::ModelRequest;
use engine::provider::route::{Retries, Route, RouteTarget, Timeouts};
use engine::response::options::StartOptions;
use engine::tasks::Tasks;
use engine::{Config, Engine};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use protocol::dialect::Dialect;
use protocol::dialect::chat_completions::{ChatCompletions, ChatOptions};
use protocol::dialect::responses::{self, Responses};
use protocol::entry::Entry;
use protocol::event::{Event, TextDelta};
use protocol::fault::Fault;
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::request::Create;
use protocol::usage::{Usage, UsageSource};
use provider::config::WireKind;
use serde_json::json;
use tokio::runtime::Runtime;

/// Tokens of one answer: enough that its start and end do not count.
const TOKENS: usize = 1000;

/// A usual token.
const TOKEN: &str = " stream";

/// How many bytes a stream reads of its log at once (`server::transport::client`).
const WRITE: usize = 64 << 10;

fn main() {
    // Short: the figures are for orders of magnitude, and for regressions that one can see.
    let criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    let mut criterion = criterion.configure_from_args();
    for measure in [parse, serialise, log, turn, encode] {
        measure(&mut criterion);
    }
    criterion.final_summary();
}

fn parse(criterion: &mut Criterion) {
    let chunk = json!({
        "id": "chatcmpl-0123456789abcdef0123456789abcdef", "object": "chat.completion.chunk", "created": 1_750_000_000_u64,
        "model": "scripted", "system_fingerprint": "fp_0123456789", "service_tier": "default",
        "choices": [{ "index": 0, "delta": { "content": TOKEN }, "logprobs": null, "finish_reason": null }],
    });
    let piece = format!("data: {chunk}\n\n");
    per_token(criterion, "upstream bytes to word", |bencher| {
        bencher.iter(|| {
            provider::read_pieces(
                WireKind::Chat,
                std::iter::repeat_n(piece.as_bytes(), TOKENS),
                |word| drop(black_box(word)),
            );
        });
    });
}

fn serialise(criterion: &mut Criterion) {
    let event = text_delta();
    per_token(criterion, "event to entry", |bencher| {
        bencher.iter(|| {
            (0..TOKENS as u64).for_each(|position| drop(black_box(Entry::new(position, &event))));
        });
    });
}

fn log(criterion: &mut Criterion) {
    let (id, entries) = (ResponseId::new("resp_measured"), entries());
    per_token(criterion, "entry into the memory log", |bencher| {
        bencher.iter_batched(
            MemoryLog::new,
            |log| {
                let mut writer = log.take(&id).unwrap();
                for entry in &entries {
                    writer.append(std::slice::from_ref(entry)).unwrap();
                }
                log
            },
            BatchSize::SmallInput,
        );
    });
    let log = MemoryLog::new();
    log.take(&id).unwrap().append(&entries).unwrap();
    let reader = log.open(&id).now_or_never().unwrap().unwrap();
    per_token(criterion, "entry out of the memory log", |bencher| {
        bencher.iter(|| {
            let mut position = 0;
            while position < TOKENS as u64 {
                let read = reader.read(position, WRITE).now_or_never().unwrap().unwrap();
                position += black_box(read).len() as u64;
            }
        });
    });
}

/// Words are there at once, as from a fast upstream, or one by one, so that each is an append and a wake-up of its own.
fn turn(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, pace) in
        [("word to feed, all ready", Pace::AtOnce), ("word to feed, one by one", Pace::OneByOne)]
    {
        let engine = runtime.block_on(async { engine(pace) });
        per_token(criterion, name, |bencher| bencher.iter(|| answer(&runtime, &engine)));
    }
}

fn encode(criterion: &mut Criterion) {
    let (entries, start) = (entries(), start());
    let responses = || Box::new(Responses) as Box<dyn Dialect>;
    let chat = || {
        let mut dialect = ChatCompletions::new(ChatOptions::default());
        dialect.fold(&start, &mut Vec::new());
        Box::new(dialect) as Box<dyn Dialect>
    };
    for (name, dialect, frame) in [
        ("entry to bytes, responses over SSE", responses(), &Sse as &dyn Frame),
        ("entry to bytes, responses over NDJSON", responses(), &Ndjson),
        ("entry to bytes, chat completions over SSE", chat(), &Sse),
        ("entry to bytes, chat completions over NDJSON", chat(), &Ndjson),
    ] {
        let mut dialect = dialect;
        per_token(criterion, name, |bencher| {
            bencher.iter(|| deliver(&mut *dialect, frame, &entries));
        });
    }
}

/// As a stream of the server delivers entries, each into a write of its own.
fn deliver(dialect: &mut dyn Dialect, frame: &dyn Frame, entries: &[Entry]) {
    let mut messages = Vec::new();
    for entry in entries {
        let mut out = BytesMut::new();
        dialect.fold(entry, &mut messages);
        for message in messages.drain(..) {
            let (name, id, position) = (message.name, message.id.as_deref(), message.position);
            frame.message(&mut out, &Message { name, id, position, data: &message.data });
        }
        black_box(out);
    }
}

fn per_token(
    criterion: &mut Criterion,
    name: &str,
    measure: impl FnMut(&mut criterion::Bencher<'_>),
) {
    let mut group = criterion.benchmark_group("token");
    group.throughput(Throughput::Elements(TOKENS as u64));
    group.bench_function(name, measure);
    group.finish();
}

fn text_delta() -> Event<'static> {
    Event::OutputTextDelta(TextDelta {
        item_id: ItemId::new("msg_0123456789abcdef0123456789abcdef"),
        output_index: 0,
        content_index: 0,
        delta: TOKEN,
        logprobs: &[],
    })
}

fn entries() -> Vec<Entry> {
    (0..TOKENS as u64).map(|position| Entry::new(position, &text_delta())).collect()
}

/// The first entry of an answer, from which the chat dialect learns what every chunk repeats.
fn start() -> Entry {
    let id = ResponseId::new("resp_0123456789abcdef0123456789abcdef");
    let response = protocol::response::Response::accepted(id, 1_750_000_000, &create());
    Entry::new(0, &Event::Created(protocol::event::Snapshot { response: &response }))
}

fn create() -> Create {
    responses::read_create(&json!({ "model": "measured", "input": "hello", "store": false }))
        .unwrap()
}

fn engine(pace: Pace) -> Engine {
    let (log, store) = (Arc::new(MemoryLog::new()), Arc::new(MemoryStore::new()));
    Engine::new(Config::default(), log, store, Arc::new(Measured(pace)), Tasks::new())
}

fn answer(runtime: &Runtime, engine: &Engine) {
    runtime.block_on(async {
        let mut feed: Feed =
            engine.start(&Owner::local(), create(), StartOptions::default()).await.unwrap().feed;
        while let Some(entries) = feed.next(WRITE).await.unwrap() {
            black_box(entries);
        }
    });
}

/// How words come.
#[derive(Clone, Copy)]
enum Pace {
    AtOnce,
    OneByOne,
}

/// A model without I/O: the same word again and again.
#[derive(Clone, Copy)]
struct Measured(Pace);

impl Provider for Measured {
    fn ask(
        &self,
        _request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>> {
        let text = || Ok(ModelEvent::Text { text: TOKEN.into(), logprobs: Vec::new() });
        let words = stream::repeat_with(text).take(TOKENS);
        let end = [
            Ok(ModelEvent::Usage(Usage::new(UsageSource::Provider, 1, TOKENS as u64))),
            Ok(ModelEvent::Finish(Finish::Stop)),
        ];
        let words = words.chain(stream::iter(end));
        let words = match self.0 {
            Pace::AtOnce => words.boxed(),
            Pace::OneByOne => words.then(|word| tokio::task::yield_now().map(|()| word)).boxed(),
        };
        std::future::ready(Ok(words)).boxed()
    }

    fn check(&self, _create: &Create) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}

impl Models for Measured {
    fn route(&self, _model: &str) -> Option<Route> {
        let target = RouteTarget {
            upstream: "measured".into(),
            provider: Arc::new(*self),
            model: None,
            timeouts: Timeouts::default(),
        };
        Some(Route {
            targets: Arc::new([target]),
            retries: Retries::default(),
            on_leave: None,
            is_listed: true,
        })
    }

    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>> {
        std::future::ready(Vec::new()).boxed()
    }
}
