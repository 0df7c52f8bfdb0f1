//! `weir probe` as a command: its exit status, its output in both languages, and no secret in it.

use std::path::Path;
use std::process::Output;

use fakes::{Script, Upstream};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use super::proxy::{HoldingProxy, Holds};
use crate::service::{in_time, weir};
use crate::test_server::{ALICE, TestServer, TestServerPlan};

/// Runs the program until it exits.
async fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = weir(directory);
    command.env("LC_ALL", "C").arg("probe").args(arguments).envs(environment.iter().copied());
    in_time(spawn_blocking(move || command.output().unwrap())).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_server_exits_with_0_and_a_threshold_with_1() {
    let directory = TempDir::new().unwrap();
    let server = TestServer::open().await;
    let url = format!("http://{}", server.address);
    let quick = ["--check", "buffering,framing", "--transport", "sse"];
    let done = run(directory.path(), &[&[url.as_str()], &quick[..]].concat(), &[]).await;
    let (out, errors) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{out}{errors}");
    assert!(out.contains("steady") && out.contains("Nothing holds this stream up"), "{out}");
    assert!(errors.contains("calibrated source"), "progress: {errors}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let crossed = ["--json", "--fail-if", "source.gap.p50>1ms", "--fail-if", "verdict!=steady"];
    let done = run(directory.path(), &[&[url.as_str()], &quick[..], &crossed].concat(), &[]).await;
    assert_eq!(done.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&report["schema"], &report["ok"]), (&1.into(), &false.into()));
    assert_eq!(report["thresholds"][0]["crossed"], true, "{report:#}");
    assert_eq!(report["thresholds"][1]["crossed"], false, "{report:#}");
    server.quiet().await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_exits_with_1_and_says_what_repairs_it_in_both_languages() {
    let directory = TempDir::new().unwrap();
    let server = TestServer::open().await;
    let proxy = HoldingProxy::start(Holds::Filled(4096), server.address).await;
    let url = proxy.url();
    let arguments = [url.as_str(), "--check", "buffering", "--transport", "sse"];
    let done = run(directory.path(), &arguments, &[]).await;
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{out}");
    assert!(out.contains("coalesced by size") && out.contains("proxy_buffering off;"), "{out}");
    let done = run(directory.path(), &[&arguments[..], &["--lang", "zh"]].concat(), &[]).await;
    let out = text(&done.stdout);
    assert!(out.contains("按大小攒批") && out.contains("proxy_buffering off;"), "{out}");
    server.quiet().await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_sent_and_never_printed() {
    let directory = TempDir::new().unwrap();
    let plan = TestServerPlan { with_keys: true, ..TestServerPlan::default() };
    let server = TestServer::open_with(plan).await;
    let url = format!("http://{}", server.address);
    let done = run(directory.path(), &[&url], &[]).await;
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("--key-env"), "{}", text(&done.stderr));
    let keyed = [url.as_str(), "--key-env", "PROBE_KEY", "--check", "framing", "--json"];
    let done = run(directory.path(), &keyed, &[("PROBE_KEY", ALICE)]).await;
    let printed = text(&done.stdout) + &text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{printed}");
    assert!(!printed.contains(ALICE), "{printed}");
    server.quiet().await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_probed_exits_with_2() {
    let directory = TempDir::new().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{gone}/v1/responses");
    let cases: [(&[&str], &str); 5] = [
        (&[url.as_str()], "cannot reach"),
        (&["ftp://x/"], "expected http://"),
        (&["http://x/", "--key-env", "NO_SUCH_VARIABLE"], "no such environment variable"),
        (&["http://x/", "--fail-if", "gap.p75>1ms"], "gap.p99"),
        (&["http://x/", "--body", "@/no/such/file"], "/no/such/file"),
    ];
    for (arguments, expected) in cases {
        let done = run(directory.path(), arguments, &[]).await;
        let errors = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vendors_stream_is_framed_as_it_should_be() {
    let directory = TempDir::new().unwrap();
    let upstream = Upstream::start().await.unwrap();
    let words = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    upstream.default_script(Script::text(&words));
    let body = |json: &str| json.replace('\'', "\"");
    let messages = "'messages':[{'role':'user','content':'hi'}],'stream':true";
    let cases = [
        ("/v1/chat/completions", format!("{{'model':'m',{messages}}}")),
        ("/v1/responses", "{'model':'m','input':'hi','stream':true}".to_owned()),
        ("/v1/messages", format!("{{'model':'m','max_tokens':9,{messages}}}")),
        ("/api/chat", format!("{{'model':'m',{messages}}}")),
    ];
    for (path, data) in cases {
        let url = format!("http://{}{path}", upstream.address());
        let data = body(&data);
        let arguments = [
            url.as_str(),
            "--body",
            &data,
            "--check",
            "framing",
            "--json",
            "--key-env",
            "PROBE_KEY",
        ];
        let done = run(directory.path(), &arguments, &[("PROBE_KEY", "sk-test")]).await;
        let out = text(&done.stdout);
        assert_eq!(done.status.code(), Some(0), "{path}: {out}{}", text(&done.stderr));
        let report: Value = serde_json::from_str(&out).unwrap();
        let facts = &report["sides"][0]["checks"][0]["facts"];
        assert!(facts["events"].as_u64().unwrap() >= 10, "{path}: {facts}");
    }
    assert!(upstream.requests().len() >= 4);
}
