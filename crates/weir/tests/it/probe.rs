//! `weir probe`: each way in which a stream can be held up has its verdict and its repair.

mod command;
mod proxy;
mod source;

use std::time::Duration;

use client::Trust;
use fakes::{Script, Upstream};
use probe::check::{Check, CheckReport};
use probe::dialect::Dialect;
use probe::examine::{Chosen, Plan, examine};
use probe::measure::Transport;
use probe::report::{Report, StreamKind, StreamReport};
use probe::target::Ask;
use probe::verdict::Verdict;
use serde_json::json;

use crate::test_server::{MODEL, TestServer};
use proxy::{HoldingProxy, Holds};

/// A plan for an address.
fn plan(url: &str, checks: &[Check]) -> Plan {
    Plan {
        edge: url.to_owned(),
        origin: None,
        trust: Trust::Fingerprint(String::new()),
        ask: Ask::default(),
        transports: vec![Transport::Sse],
        transports_chosen: Chosen::ByDefault,
        checks: checks.to_vec(),
        checks_chosen: Chosen::ByUser,
        silences: vec![Duration::from_secs(2)],
        runs: 1,
        timeout: Duration::from_secs(20),
        longest: Duration::from_secs(20),
    }
}

async fn run(plan: &Plan) -> Report {
    examine(plan, &|_| {}).await.unwrap()
}

fn source(report: &Report, transport: Transport) -> &StreamReport {
    let mut streams = report.sides[0].streams.iter();
    streams
        .find(|stream| stream.kind == StreamKind::Source && stream.transport == transport)
        .unwrap_or_else(|| panic!("no source: {report:#?}"))
}

fn check_of(report: &Report, check: Check) -> &CheckReport {
    report.sides[0].checks.iter().find(|made| made.check == check).unwrap()
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings().iter().map(|finding| finding.code).collect()
}

/// The verdict on a Weir through a proxy.
async fn through(server: &TestServer, holds: Holds) -> Report {
    let proxy = HoldingProxy::start(holds, server.address).await;
    run(&plan(&proxy.url(), &[Check::Buffering])).await
}

#[tokio::test]
async fn a_weir_is_clean_on_every_transport() {
    let server = TestServer::open().await;
    let checks: Vec<Check> = Check::ALL.into_iter().filter(|check| *check != Check::Idle).collect();
    let transports = vec![Transport::Sse, Transport::Ndjson, Transport::WebSocket];
    let plan = Plan { transports, ..plan(&format!("http://{}", server.address), &checks) };
    let report = run(&plan).await;
    assert!(report.is_clean(), "{:#?}", report.findings());
    let side = &report.sides[0];
    assert!(side.is_weir && side.has_source && side.dialect == Dialect::Responses);
    assert_eq!(side.model.as_deref(), Some("demo"));
    for transport in [Transport::Sse, Transport::Ndjson, Transport::WebSocket] {
        assert_eq!(source(&report, transport).verdict, Verdict::Steady, "{transport:?}");
    }
    let resume = &check_of(&report, Check::Resume).facts;
    for way in ["sse", "ndjson", "event_source", "websocket", "poll"] {
        assert_eq!(resume[way], "exact", "{way}: {resume}");
    }
    let truncation = &check_of(&report, Check::Truncation).facts;
    assert_eq!(truncation, &json!({ "sse": true, "ndjson": true, "websocket": true }));
    assert_eq!(check_of(&report, Check::Connections).facts["open"], 7);
    assert_eq!(check_of(&report, Check::Stop).facts["ended"], true);
    server.quiet().await;
    server.close().await;
}

#[tokio::test]
async fn a_flush_interval_is_found_and_named() {
    let server = TestServer::open().await;
    let report = through(&server, Holds::Every(Duration::from_millis(100))).await;
    let stream = source(&report, Transport::Sse);
    let Verdict::ByTime { period } = stream.verdict else { panic!("{:?}", stream.verdict) };
    assert!(period.as_millis().abs_diff(100) < 20, "{period:?}");
    assert_eq!(stream.suspects[0].hop.name(), "Traefik");
    assert!(stream.findings[0].fixes[0].lines.contains("flushInterval"));
    server.close().await;
}

#[tokio::test]
async fn a_buffer_is_found_by_its_size() {
    let server = TestServer::open().await;
    let report = through(&server, Holds::Filled(4096)).await;
    let stream = source(&report, Transport::Sse);
    let Verdict::BySize { bytes } = stream.verdict else { panic!("{:?}", stream.verdict) };
    assert!((3600..=4200).contains(&bytes), "{bytes}");
    assert_eq!(stream.suspects[0].hop.name(), "nginx");
    assert!(stream.findings[0].fixes[0].lines.contains("proxy_buffering off;"));
    server.close().await;
}

#[tokio::test]
async fn a_body_that_is_held_to_its_end_is_found() {
    let server = TestServer::open().await;
    let report = through(&server, Holds::ToEnd).await;
    assert_eq!(source(&report, Transport::Sse).verdict, Verdict::ToEnd);
    assert_eq!(report.sides[0].verdict().name(), "buffered_to_the_end");
    server.close().await;
}

#[tokio::test]
async fn compression_without_flushing_is_told_from_buffering() {
    let server = TestServer::open().await;
    let report = through(&server, Holds::Compressed).await;
    let stream = source(&report, Transport::Sse);
    assert_eq!(stream.verdict, Verdict::Compressed);
    assert_eq!(stream.suspects[0].hop.name(), "Caddy", "the head names it");
    assert!(stream.findings[0].fixes[0].lines.contains("@rest not path /v1/*"));
    server.close().await;
}

#[tokio::test]
async fn the_side_that_holds_a_stream_back_is_found() {
    let server = TestServer::open().await;
    let proxy = HoldingProxy::start(Holds::Every(Duration::from_millis(150)), server.address).await;
    let origin = Some(format!("http://{}", server.address));
    let report = run(&Plan { origin, ..plan(&proxy.url(), &[Check::Buffering]) }).await;
    assert_eq!(report.comparison[0].code, "held_between");
    assert_eq!(report.sides[1].verdict(), Verdict::Steady);
    server.close().await;
}

#[tokio::test]
async fn an_idle_timeout_is_found_and_heartbeats_help() {
    let server = TestServer::open().await;
    let proxy = HoldingProxy::start(Holds::Idle(Duration::from_secs(1)), server.address).await;
    let report = run(&plan(&proxy.url(), &[Check::Idle])).await;
    let idle = check_of(&report, Check::Idle);
    assert_eq!(idle.findings[0].code, "idle_timeout", "{idle:#?}");
    let (silent, beating) = (&idle.facts[0], &idle.facts[1]);
    assert_eq!((&silent["survived"], &beating["survived"]), (&json!(false), &json!(true)));
    let after = silent["cut_after_s"].as_f64().unwrap();
    assert!((1.0..1.9).contains(&after), "{after}");
    server.close().await;
}

#[tokio::test]
async fn a_hop_that_hides_a_truncation_is_found() {
    let server = TestServer::open().await;
    let proxy = HoldingProxy::start(Holds::EndsProperly, server.address).await;
    let report = run(&plan(&proxy.url(), &[Check::Truncation])).await;
    assert_eq!(codes(&report), ["truncation_hidden"]);
    server.close().await;
}

#[tokio::test]
async fn a_websocket_that_is_refused_is_a_note_unless_it_was_wanted() {
    let server = TestServer::open().await;
    let proxy = HoldingProxy::start(Holds::NoUpgrade, server.address).await;
    let transports = vec![Transport::WebSocket];
    let by_default = Plan { transports, ..plan(&proxy.url(), &[Check::Buffering]) };
    let report = run(&by_default).await;
    assert_eq!(codes(&report), ["websocket_refused"]);
    assert!(report.is_clean());
    let report = run(&Plan { transports_chosen: Chosen::ByUser, ..by_default }).await;
    assert!(!report.is_clean());
    assert!(report.findings()[0].fixes.iter().any(|fix| fix.lines.contains("$http_upgrade")));
    server.close().await;
}

/// Chat completions of another server: forty words at a pace.
fn paced() -> Script {
    let word = |script: Script, index: usize| {
        script.content(&format!("word{index} ")).sleep(Duration::from_millis(12))
    };
    (0..40).fold(Script::new().role(), word).finish("stop").done()
}

#[tokio::test]
async fn other_servers_are_judged_by_their_model() {
    let upstream = Upstream::start().await.unwrap();
    upstream.models(vec!["m".to_owned()]);
    upstream.default_script(paced());
    let base = upstream.base_url();
    let checks = [Check::Buffering, Check::Framing, Check::Resume, Check::Truncation];
    let report = run(&plan(&base, &checks)).await;
    let side = &report.sides[0];
    assert_eq!((side.dialect, side.is_weir), (Dialect::Chat, false));
    assert_eq!(side.verdict(), Verdict::Steady, "{:#?}", side.streams[0].runs[0].trace);
    assert!(report.is_clean(), "{:#?}", report.findings());
    assert!(!check_of(&report, Check::Resume).is_made, "Chat Completions cannot be resumed");
    let phases = side.main_run().unwrap().phases;
    assert!(phases.first_text.unwrap() >= phases.first_event.unwrap());

    let proxy =
        HoldingProxy::start(Holds::Every(Duration::from_millis(100)), upstream.address()).await;
    let url = format!("{}/v1/chat/completions", proxy.url());
    let held =
        Plan { ask: Ask { model: Some("m".into()), ..Ask::default() }, ..plan(&url, &checks) };
    let verdict = run(&held).await.sides[0].verdict();
    assert!(matches!(verdict, Verdict::ByTime { .. } | Verdict::BySize { .. }), "{verdict:?}");
}

#[tokio::test]
async fn a_stream_without_its_last_event_is_a_problem() {
    let upstream = Upstream::start().await.unwrap();
    let cut = Script::new().role().contents(&["a", "b"]).fin();
    upstream.script(cut);
    let ask = Ask { model: Some("m".into()), ..Ask::default() };
    let url = format!("http://{}/v1/chat/completions", upstream.address());
    let plan = Plan { ask, ..plan(&url, &[Check::Framing, Check::Truncation]) };
    assert!(codes(&run(&plan).await).contains(&"broken_off"));
    upstream.script(Script::new().role().contents(&["a", "b"]).finish("stop").end());
    assert_eq!(codes(&run(&plan).await)[0], "no_terminal_event");
}

#[tokio::test]
async fn a_stop_is_followed_to_the_close_of_the_connection_to_the_model() {
    let server = TestServer::open().await;
    server.upstream.default_script(paced());
    let ask = Ask { model: Some(MODEL.into()), ..Ask::default() };
    let report =
        run(&Plan { ask, ..plan(&format!("http://{}", server.address), &[Check::Stop]) }).await;
    let stop = check_of(&report, Check::Stop);
    let closed = stop.facts["upstream_closed_ms"].as_f64().unwrap_or_else(|| panic!("{stop:#?}"));
    assert!((0.0..2000.0).contains(&closed), "{closed}");
    assert!(stop.lines.iter().any(|line| line.en.starts_with("to the close of the connection")));
    server.quiet().await;
    server.close().await;
}
