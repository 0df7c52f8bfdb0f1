//! The provider against a scripted upstream, over real sockets.

#![expect(clippy::unwrap_used, reason = "the helpers are tests, too")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use engine::provider::Provider;
use engine::provider::call::UpstreamCall;
use engine::provider::event::{Finish, ModelEvent, ModelStream};
use engine::provider::failure::ProviderFailure;
use engine::provider::models::Models;
use engine::provider::request::ModelRequest;
use engine::provider::route::Timeouts;
use engine::secret::Secret;
use fakes::{Script, Upstream};
use futures_util::{StreamExt, future};
use protocol::dialect::chat_completions::read_create;
use protocol::fault::{Fault, FaultKind};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_provider::config::{KeyConfig, Preset, UpstreamConfig};
use weir_provider::upstream::Upstream as Asked;
use weir_provider::{Config, build};

const KEY: &str = "sk-integration";

fn config(base_url: &str) -> UpstreamConfig {
    UpstreamConfig {
        keys: vec![KeyConfig::new("1", Secret::new(KEY))],
        timeouts: Timeouts { connect: Duration::from_secs(5), ..Timeouts::default() },
        ..UpstreamConfig::new("north", Preset::Compatible, base_url)
    }
}

fn request() -> ModelRequest {
    let body = json!({ "model": "lab-model", "messages": [{ "role": "user", "content": "Hi" }], "stream": true, "stop": "x" });
    let content = json!([{ "type": "input_text", "text": "Hi" }]);
    let item = json!({ "type": "message", "id": "msg_1", "status": "completed", "role": "user", "content": content });
    ModelRequest {
        create: Arc::new(read_create(&body).unwrap().create),
        context: vec![serde_json::from_value(item).unwrap()].into(),
        model: None,
        call: UpstreamCall::default(),
    }
}

async fn ask(upstream: &Upstream) -> Result<ModelStream, ProviderFailure> {
    Asked::new(&config(&upstream.base_url())).unwrap().ask(request()).await
}

async fn play(script: Script) -> Vec<Result<ModelEvent, ProviderFailure>> {
    let upstream = Upstream::start().await.unwrap();
    upstream.script(script);
    let words: Vec<_> = ask(&upstream).await.unwrap().collect().await;
    words.into_iter().filter(|word| *word != Ok(ModelEvent::KeepAlive)).collect()
}

async fn refusal(script: Script) -> Fault {
    let upstream = Upstream::start().await.unwrap();
    upstream.script(script);
    ask(&upstream).await.err().unwrap().fault
}

fn text(words: &[Result<ModelEvent, ProviderFailure>]) -> String {
    words
        .iter()
        .filter_map(|word| {
            if let Ok(ModelEvent::Text { text, .. }) = word { Some(text.as_str()) } else { None }
        })
        .collect()
}

#[tokio::test]
async fn an_answer_comes_as_words_and_the_request_says_what_it_must() {
    let upstream = Upstream::start().await.unwrap();
    let words: Vec<_> = ask(&upstream).await.unwrap().collect().await;
    assert_eq!(text(&words), "Hello, world!");
    assert!(words.contains(&Ok(ModelEvent::Finish(Finish::Stop))));
    assert!(words.iter().any(|word| matches!(word, Ok(ModelEvent::Usage(usage)) if usage.input_tokens == 9 && usage.output_tokens == 4)));
    let recorded = upstream.requests().remove(0);
    assert_eq!(
        (recorded.method.as_str(), recorded.path.as_str()),
        ("POST", "/v1/chat/completions")
    );
    let header = |name: &str| recorded.headers.get(name).map(ToString::to_string);
    assert_eq!(header("authorization"), Some(format!("Bearer {KEY}")));
    assert_eq!(header("accept").as_deref(), Some("text/event-stream"));
    assert_eq!(header("accept-encoding").as_deref(), Some("identity"));
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    assert!(header("user-agent").unwrap().starts_with("weir/"));
    assert_eq!(recorded.body["stop"], "x");
    assert_eq!(recorded.body["messages"], json!([{ "role": "user", "content": "Hi" }]));
}

#[tokio::test]
async fn every_kind_of_answer_comes_through_byte_by_byte() {
    let scripts = [
        Script::text(&["你好", "é"]),
        Script::reasoning(&["hm"], &["so"]),
        Script::tool_call("f", "call_a", &["{\"x\":", "1}"]),
        Script::refusal(&["No."]),
    ];
    for script in scripts {
        let whole = play(script.clone()).await;
        assert!(whole.len() >= 3 && whole.iter().all(Result::is_ok));
        assert_eq!(play(script.byte_by_byte()).await, whole);
    }
}

#[tokio::test]
async fn answers_share_a_connection() {
    let upstream = Upstream::start().await.unwrap();
    let provider = Asked::new(&config(&upstream.base_url())).unwrap();
    for _ in 0..3 {
        let words: Vec<_> = provider.ask(request()).await.unwrap().collect().await;
        assert_eq!(text(&words), "Hello, world!");
    }
    let connections: Vec<_> =
        upstream.requests().iter().map(|recorded| recorded.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let upstream = Upstream::start().await.unwrap();
    upstream.script(Script::new().content("a").stall());
    let mut words = ask(&upstream).await.unwrap();
    assert!(words.next().await.unwrap().is_ok());
    drop(words);
    upstream.wait_closed(0).await;
    upstream.wait_open(0).await;
}

#[tokio::test]
async fn dropping_the_request_closes_the_connection() {
    let upstream = Upstream::start().await.unwrap();
    upstream.script(Script::no_head());
    let provider = Asked::new(&config(&upstream.base_url())).unwrap();
    tokio::select! {
        _ = provider.ask(request()) => panic!("nobody answers"),
        () = upstream.wait_requests(1) => {}
    }
    upstream.wait_closed(0).await;
    upstream.wait_open(0).await;
}

#[tokio::test]
async fn a_cut_is_reported() {
    for script in
        [Script::new().content("a").fin(), Script::new().content("a").raw("data: {\"cho").rst()]
    {
        let words = play(script).await;
        let fault = &words.last().unwrap().as_ref().unwrap_err().fault;
        assert_eq!((fault.status, fault.code.as_str()), (502, "upstream_cut"));
        assert!(words.len() <= 2);
    }
}

#[tokio::test]
async fn an_end_without_a_reason_is_left_to_the_caller() {
    assert_eq!(play(Script::new().content("a").end()).await.len(), 1);
    assert_eq!(play(Script::new().content("a").done().end()).await.len(), 1);
    // Nothing is waited for after `[DONE]`, neither a FIN nor the last chunk.
    assert_eq!(play(Script::new().content("a").done().stall()).await.len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_read() {
    let body = json!({ "object": "chat.completion", "choices": [{ "message": { "content": "Hi" }, "finish_reason": "stop" }] });
    let words =
        play(Script::status(200, &[("content-type", "application/json")], body.to_string())).await;
    assert_eq!(
        (text(&words).as_str(), words.last()),
        ("Hi", Some(&Ok(ModelEvent::Finish(Finish::Stop))))
    );
}

#[tokio::test]
async fn refusals_keep_their_status_if_the_caller_can_act() {
    let error = |message: &str, code: &str| json!({ "error": { "message": message, "type": "x", "param": null, "code": code } });
    let fault = refusal(Script::error(400, &error("too long", "context_length_exceeded"))).await;
    assert_eq!(
        (fault.status, fault.kind, fault.code.as_str()),
        (400, FaultKind::InvalidRequest, "context_length_exceeded")
    );
    let limited = Script::status(
        429,
        &[("retry-after", "12")],
        error("slow down", "rate_limit_exceeded").to_string(),
    );
    let fault = refusal(limited).await;
    assert_eq!(
        (fault.status, fault.retry_after, fault.message.as_str()),
        (429, Some(12), "slow down (upstream 'north', status 429)")
    );
    let fault = refusal(Script::error(
        401,
        &error(&format!("Incorrect API key: {KEY}"), "invalid_api_key"),
    ))
    .await;
    assert_eq!((fault.status, fault.code.as_str()), (502, "upstream_authentication_failed"));
    assert!(
        !fault.message.contains("sk-") && fault.message.contains("'north'"),
        "{}",
        fault.message
    );
    let fault = refusal(Script::status(307, &[("location", "http://127.0.0.1:1/")], "")).await;
    assert_eq!((fault.status, fault.code.as_str()), (502, "upstream_redirect"));
    let fault = refusal(Script::status(500, &[], vec![b'x'; 1 << 20])).await;
    assert_eq!((fault.status, fault.code.as_str()), (502, "upstream_error"));
}

#[tokio::test]
async fn unreachable_upstreams_are_reported_in_plain_words() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fault = Asked::new(&config(&format!("http://user:secret@{free}/v1")))
        .unwrap()
        .ask(request())
        .await
        .err()
        .unwrap()
        .fault;
    assert_eq!((fault.status, fault.code.as_str()), (502, "upstream_unreachable"));
    assert_eq!(
        fault.message,
        "The upstream 'north' cannot be reached: nothing listens at its address."
    );

    // What a server without TLS says to a handshake.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}/v1", listener.local_addr().unwrap());
    let _plain = client::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let fault = Asked::new(&config(&address)).unwrap().ask(request()).await.err().unwrap().fault;
    assert!(fault.code == "upstream_unreachable" && fault.message.contains("TLS"), "{fault}");

    let fault = refusal(Script::new().step(fakes::Step::Rst)).await;
    assert_eq!(fault.message, "The upstream 'north' closed the connection before it responded.");
}

#[tokio::test]
async fn the_list_of_models_is_asked_for_once() {
    let upstream = Upstream::start().await.unwrap();
    upstream.models(vec!["a".to_owned(), "demo".to_owned()]);
    let routes =
        build(&Config { upstreams: vec![config(&upstream.base_url())], ..Config::default() })
            .unwrap();
    let lists = future::join_all((0..5).map(|_| routes.list())).await;
    for list in lists {
        let listed: Vec<_> = list
            .iter()
            .map(|listing| (listing.id.as_str(), listing.owned_by.as_str(), listing.created))
            .collect();
        assert_eq!(listed, [("demo", "weir", 0), ("a", "lab", 1_700_000_000)]);
    }
    assert_eq!(upstream.model_requests(), 1);
}
