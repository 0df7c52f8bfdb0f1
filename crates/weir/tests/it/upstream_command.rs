//! `weir upstream list|test`: every diagnosis, and never a key or password in it.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Output;

use client::Request;
use fakes::{Script, Upstream, VendorError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use crate::service::{Service, in_time, weir};
use crate::test_server::TestServer;
use crate::tls::CertificatePair;

/// A server that sends fixed bytes.
struct Talker {
    address: String,
    _serving: client::Task,
}

/// When it sends them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// At once, like SSH.
    Unasked,
    /// After each request; then it closes.
    Asked,
    /// After each request; then it neither sends more nor closes.
    AskedAndStays,
}

impl Talker {
    async fn start(when: When, says: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = client::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = [0; 4096];
                if when != When::Unasked && !matches!(stream.read(&mut bytes).await, Ok(1..)) {
                    continue;
                }
                // The client may have left.
                drop(stream.write_all(says.as_bytes()).await);
                if when != When::Asked {
                    kept.push(stream);
                }
            }
        });
        Self { address, _serving: serving }
    }
}

/// Runs the program until it exits.
async fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = weir(directory);
    command.args(arguments).envs(environment.iter().copied());
    in_time(spawn_blocking(move || command.output().unwrap())).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Settings for upstreams: a name, an address, and more lines.
fn settings(upstreams: &[(&str, String, &str)]) -> String {
    let mut text = String::new();
    for (name, address, more) in upstreams {
        writeln!(text, "[[upstream]]\nname = \"{name}\"\nbase_url = \"{address}\"\n{more}")
            .unwrap();
    }
    text
}

/// The report on an upstream's first key.
fn said(report: &Value, name: &str) -> Value {
    let upstream =
        report["upstreams"].as_array().unwrap().iter().find(|upstream| upstream["name"] == name);
    upstream.unwrap_or_else(|| panic!("no {name} in {report:#}"))["keys"][0].clone()
}

fn check(report: &Value, expected: &[(&str, &str, &str, &str)]) {
    for (name, code, what, advice) in expected {
        let said = said(report, name);
        assert_eq!((&said["ok"], &said["code"]), (&json!(false), &json!(code)), "{name}: {said:#}");
        assert!(said["message"].as_str().unwrap().contains(what), "{name}: {said:#}");
        assert!(said["advice"].as_str().unwrap().contains(advice), "{name}: {said:#}");
    }
}

const KEY: &str = "api_key = \"sk-marker\"";

#[tokio::test]
async fn connection_failures_are_distinguished() {
    let directory = TempDir::new().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let encrypted = TestServer::open_with(CertificatePair::new().plan()).await;
    let clear =
        Talker::start(When::Asked, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let ssh = Talker::start(When::Unasked, "SSH-2.0-OpenSSH_9.9\r\n").await;
    let smtp = Talker::start(When::Asked, "500 what?\r\n").await;
    let closer = Talker::start(When::Asked, "").await;
    let silent = Talker::start(When::AskedAndStays, "").await;
    let encrypted_port = encrypted.address.port();
    let settings = settings(&[
        ("name", "http://no-such-host.invalid/v1".into(), KEY),
        ("gone", format!("http://{gone}/v1"), KEY),
        ("untrusted", format!("https://localhost:{encrypted_port}/v1"), KEY),
        ("clear", format!("https://{}/v1", clear.address), KEY),
        ("tls-port", format!("http://localhost:{encrypted_port}/v1"), KEY),
        ("ssh", format!("http://{}/v1", ssh.address), KEY),
        ("smtp", format!("http://{}/v1", smtp.address), KEY),
        ("closer", format!("http://{}/v1", closer.address), KEY),
        ("silent", format!("http://{}/v1", silent.address), "headers_timeout = \"200ms\""),
    ]);
    fs::write(directory.path().join("weir.toml"), settings).unwrap();
    let output = run(directory.path(), &["upstream", "test", "--json"], &[]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = serde_json::from_slice(&output.stdout).unwrap();
    check(
        &report,
        &[
            ("name", "unknown_host", "host name is unknown", "http://no-such-host.invalid/v1"),
            ("gone", "connection_refused", "nothing listens", "Is it running"),
            (
                "untrusted",
                "tls_failed",
                "not signed by an authority that this machine trusts",
                "ca_file",
            ),
            ("clear", "tls_failed", "does not speak TLS", "http://"),
            ("ssh", "not_http", "does not speak HTTP", "https://"),
            ("smtp", "not_http", "does not speak HTTP", "port"),
            ("closer", "closed", "closed the connection before it responded", "https://"),
            ("silent", "timeout", "did not respond within 200ms", "later"),
        ],
    );
    // Weir's HTTPS port reports it in clear text; other servers close, or respond with TLS.
    assert_eq!(said(&report, "tls-port")["ok"], false, "{report:#}");
    assert!(!text(&output.stdout).contains("marker"));
    encrypted.close().await;
}

#[tokio::test]
async fn error_responses_are_distinguished() {
    let directory = TempDir::new().unwrap();
    let lab = Upstream::start().await.unwrap();
    lab.require_keys(&["sk-good-marker"]);
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
    let page = Talker::start(When::Asked, page).await;
    let moved = "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://there.example/v1/models?key=marker\r\ncontent-length: 0\r\n\r\n";
    let moved = Talker::start(When::Asked, moved).await;
    let other = Talker::start(When::Asked, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    // Servers with their own format of the model list.
    let bare = Talker::start(
        When::Asked,
        "HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\n[{\"id\":\"a\"},{\"id\":\"b\"}]",
    )
    .await;
    let named = Talker::start(
        When::Asked,
        "HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"models\":[{\"name\":\"a\"}]}",
    )
    .await;
    let url = |talker: &Talker| format!("http://{}/v1", talker.address);
    let settings = settings(&[
        ("wrong-key", lab.base_url(), KEY),
        ("no-key", lab.base_url(), ""),
        ("lacks", format!("http://{}", lab.address()), KEY),
        ("doubles", format!("http://{}/v1/v1", lab.address()), KEY),
        ("page", url(&page), KEY),
        ("moved", url(&moved), KEY),
        ("other", url(&other), KEY),
        ("bare", url(&bare), KEY),
        ("named", url(&named), KEY),
        ("good", lab.base_url(), "api_key = [\"sk-good-marker\", \"sk-bad-marker\"]"),
    ]);
    fs::write(directory.path().join("weir.toml"), settings).unwrap();
    let output = run(directory.path(), &["upstream", "test", "--json"], &[]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    check(
        &report,
        &[
            ("wrong-key", "key_refused", "the key 1 is refused (401)", "expired"),
            ("no-key", "key_missing", "requires a key (401)", "api_key_env"),
            ("lacks", "not_found", "no list of models", "lacks its version"),
            ("doubles", "not_found", "no list of models", "twice"),
            ("page", "page", "web page", "login"),
            ("moved", "redirect", "redirects (308) to https://there.example/v1/models", "base_url"),
            ("other", "not_understood", "did not return a list of models", "model server"),
        ],
    );
    for (name, models) in [("bare", 2), ("named", 1)] {
        let said = said(&report, name);
        assert_eq!(
            (&said["ok"], &said["models"]),
            (&json!(true), &json!(models)),
            "{name}: {said:#}"
        );
    }
    let good = report["upstreams"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&good["keys"][0]["ok"], &good["keys"][0]["models"]),
        (&json!(true), &json!(1)),
        "{good:#}"
    );
    assert_eq!(good["keys"][1]["code"], "key_refused", "each key is tested: {good:#}");

    let output = run(directory.path(), &["upstream", "test", "good"], &[]).await;
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "one of its keys is wrong");
    assert!(
        printed.contains("  1: well: it lists 1 model (")
            && printed.contains("  2: FAILED: the key 2 is refused (401)\n    Is it complete"),
        "{printed}"
    );
    assert!(!printed.contains("marker") && !report.to_string().contains("marker"), "{printed}");
    let output = run(directory.path(), &["upstream", "test", "nobody"], &[]).await;
    assert!(
        output.status.code() == Some(1) && text(&output.stderr).contains("no upstream \"nobody\""),
        "{output:?}"
    );
}

#[tokio::test]
async fn a_model_is_called_and_its_failures_are_distinguished() {
    let directory = TempDir::new().unwrap();
    let lab = Upstream::start().await.unwrap();
    let settings = format!(
        "{}[[route]]\nmodel = \"fast\"\nupstreams = [\"lab:lab-model\"]\n",
        settings(&[("lab", lab.base_url(), KEY)])
    );
    fs::write(directory.path().join("weir.toml"), settings).unwrap();
    let ask = async |model: &str| {
        let output =
            run(directory.path(), &["upstream", "test", "lab", "--model", model, "--json"], &[])
                .await;
        (output.status.code(), said(&serde_json::from_slice(&output.stdout).unwrap(), "lab"))
    };
    let (status, well) = ask("fast").await;
    assert_eq!(
        (status, &well["model"], &well["models"]),
        (Some(0), &json!("lab-model"), &json!(1)),
        "{well:#}"
    );
    assert!(
        well["first_token_ms"].is_u64()
            && well["total_ms"].as_u64() >= well["first_token_ms"].as_u64(),
        "{well:#}"
    );
    let asked = lab.requests().pop().unwrap().body;
    assert_eq!((&asked["model"], &asked["stream"]), (&json!("lab-model"), &json!(true)), "{asked}");

    for (script, code, what) in [
        (Script::refused(402, VendorError::Quota), "no_quota", "no credit or quota left (402)"),
        (Script::refused(429, VendorError::Quota), "no_quota", "no credit or quota left (429)"),
        (Script::refused(429, VendorError::RateLimit), "rate_limited", "is rate limited (429)"),
        (
            Script::refused(403, VendorError::Permission),
            "forbidden",
            "is not permitted to do this (403)",
        ),
        (Script::refused(404, VendorError::NotFound), "model_not_found", "it has no model \"x\""),
        (Script::refused(503, VendorError::Overloaded), "overloaded", "overloaded (503)"),
        (Script::refused(500, VendorError::Internal), "upstream_error", "it failed (500)"),
        (
            Script::new().role().content("Once").failure(VendorError::Internal).end(),
            "upstream_error",
            "its response was cut off",
        ),
        (
            Script::new().role().content("Once").done().end(),
            "upstream_truncated",
            "its response was cut off",
        ),
        (Script::new().role().content("Once").rst(), "upstream_cut", "its response was cut off"),
    ] {
        lab.script(script);
        let (status, failed) = ask("x").await;
        assert_eq!((status, &failed["code"]), (Some(1), &json!(code)), "{failed:#}");
        assert!(failed["message"].as_str().unwrap().contains(what), "{failed:#}");
    }
    assert_eq!(lab.scripts_left(), 0);
}

#[tokio::test]
async fn an_upstream_without_a_model_list_is_ok_if_it_responds() {
    let directory = TempDir::new().unwrap();
    let lab = Upstream::start().await.unwrap();
    let address = format!("http://{}/openai/deployments/ours", lab.address());
    fs::write(
        directory.path().join("weir.toml"),
        settings(&[("lab", address, "kind = \"azure\"\napi_key = \"sk-marker\"")]),
    )
    .unwrap();
    let output = run(directory.path(), &["upstream", "test", "--json"], &[]).await;
    check(
        &serde_json::from_slice(&output.stdout).unwrap(),
        &[("lab", "not_found", "no list of models", "--model NAME")],
    );
    let output = run(directory.path(), &["upstream", "test", "--model", "x"], &[]).await;
    let printed = text(&output.stdout);
    assert!(
        output.status.success() && printed.contains("  1: well: x began to answer after "),
        "{output:?}"
    );
}

#[tokio::test]
async fn proxy_failures_are_distinguished() {
    let directory = TempDir::new().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let wants = Talker::start(
        When::Asked,
        "HTTP/1.1 407 Who?\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let mistaken =
        "HTTP/1.1 401 Who?\r\nwww-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\n\r\n";
    let mistaken = Talker::start(When::Asked, mistaken).await;
    let forbids = Talker::start(
        When::Asked,
        "HTTP/1.1 403 No\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    )
    .await;
    let proxy =
        |scheme: &str, address: &str| format!("proxy = \"{scheme}://me:pass-marker@{address}\"");
    let (clear, encrypted) = ("http://models.invalid/v1", "https://models.invalid/v1");
    let cases = [
        ("gone", clear, proxy("http", &gone.to_string())),
        ("gone-tunnel", encrypted, proxy("http", &gone.to_string())),
        ("gone-socks", clear, proxy("socks5", &gone.to_string())),
        ("no-socks", clear, proxy("socks5", &forbids.address)),
        ("wants", clear, proxy("http", &wants.address)),
        ("wants-tunnel", encrypted, proxy("http", &wants.address)),
        ("mistaken", clear, proxy("http", &mistaken.address)),
        ("forbids", clear, proxy("http", &forbids.address)),
        ("forbids-tunnel", encrypted, proxy("http", &forbids.address)),
    ];
    let upstreams: Vec<_> = cases
        .iter()
        .map(|(name, address, more)| (*name, (*address).to_owned(), more.as_str()))
        .collect();
    fs::write(directory.path().join("weir.toml"), settings(&upstreams)).unwrap();
    let output = run(directory.path(), &["upstream", "test", "--json"], &[]).await;
    let report = serde_json::from_slice(&output.stdout).unwrap();
    let password = "user:password@host:port";
    check(
        &report,
        &[
            (
                "gone",
                "proxy_unreachable",
                "its proxy cannot be reached",
                "http://(hidden)@127.0.0.1:",
            ),
            (
                "gone-tunnel",
                "proxy_unreachable",
                "its proxy cannot be reached",
                "Is the proxy running",
            ),
            (
                "gone-socks",
                "proxy_unreachable",
                "its proxy cannot be reached",
                "socks5://(hidden)@127.0.0.1:",
            ),
            ("no-socks", "proxy_unreachable", "of another kind", "is it of the kind"),
            ("wants", "proxy_password", "does not accept the user and password", password),
            ("wants-tunnel", "proxy_password", "does not accept the user and password", password),
            ("mistaken", "proxy_password", "does not accept the user and password", password),
            (
                "forbids",
                "proxy_refused",
                "its proxy responded in its place (403)",
                "see the log of the proxy",
            ),
            ("forbids-tunnel", "proxy_refused", "cannot connect to it", "see the log of the proxy"),
        ],
    );
    assert!(
        !text(&output.stdout).contains("marker") && !text(&output.stderr).contains("marker"),
        "{output:?}"
    );
}

#[tokio::test]
async fn the_list_shows_the_settings_and_the_state_of_a_running_server() {
    let directory = TempDir::new().unwrap();
    let lab = Upstream::start().await.unwrap();
    lab.require_keys(&["sk-good-marker"]);
    lab.default_script(Script::text(&["hi"]));
    let more = "api_key = [\"sk-bad-marker\", \"sk-good-marker\"]\nkey_strategy = \"order\"\nmodels = [\"m\"]\nproxy = \"none\"";
    let far = "proxy = \"http://me:pass-marker@proxy.invalid:3128\"";
    let upstreams =
        settings(&[("lab", lab.base_url(), more), ("far", "https://far.invalid/v1".into(), far)]);
    let route = "[[route]]\nmodel = \"fast\"\nupstreams = [\"lab:m\", \"far\"]\nweights = [\"2\", \"1\"]\nstrategy = \"round_robin\"\n";
    fs::write(directory.path().join("weir.toml"), format!("{upstreams}{route}")).unwrap();

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let alone = run(directory.path(), &["upstream", "list", "--listen", &gone], &[]).await;
    let (printed, hints) = (text(&alone.stdout), text(&alone.stderr));
    assert!(alone.status.success() && hints.contains("No server listens on"), "{alone:?}");
    for expected in [
        format!("lab   compatible  chat  {}", lab.base_url()),
        "1, 2".to_owned(),
        "https://far.invalid/v1 through http://(hidden)@proxy.invalid:3128".to_owned(),
        "(what it lists)".to_owned(),
        "fast   round_robin  lab:m (weight 2), far (weight 1)".to_owned(),
    ] {
        assert!(printed.contains(&expected), "{expected:?} in\n{printed}");
    }

    let server = Service::start(weir(directory.path())).await;
    assert_eq!(
        server
            .json(&Request::post("/v1/responses", &json!({ "model": "m", "input": "hi" })))
            .await
            .0,
        200
    );
    let address = server.address.to_string();
    let list = async |more: &[&str], key: &str| {
        let arguments = [&["upstream", "list", "--listen", &address], more].concat();
        run(directory.path(), &arguments, &[("WEIR_API_KEY", key)]).await
    };
    let asked = text(&list(&[], "").await.stdout);
    assert!(
        asked.contains("1 (refused for 30 s), 2") && asked.contains("  0 running\n"),
        "{asked}"
    );
    let document: Value = serde_json::from_slice(&list(&["--json"], "").await.stdout).unwrap();
    assert_eq!(document["server"], format!("http://{address}"), "{document:#}");
    let state = &document["upstreams"][0]["state"];
    assert_eq!(
        (&state["circuit"], &state["waiting"]),
        (&json!("closed"), &json!(0)),
        "{document:#}"
    );
    assert_eq!(
        (&state["keys"][0]["state"], &state["keys"][1]["state"]),
        (&json!("refused"), &json!("well")),
        "{document:#}"
    );
    assert_eq!(
        document["routes"][0]["upstreams"][0],
        json!({ "upstream": "lab", "model": "m", "weight": 2 })
    );

    // If keys are configured, an administrator's is required.
    let make = async |arguments: &[&str]| {
        text(&run(directory.path(), arguments, &[]).await.stdout).trim().to_owned()
    };
    let (user, admin) = (make(&["key", "create"]).await, make(&["key", "create", "--admin"]).await);
    let seen = async |request: Request| server.json(&request).await;
    let (status, body) = seen(Request::get("/v1/upstreams").bearer(&user)).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("admin_key_required")), "{body}");
    assert_eq!(seen(Request::get("/v1/upstreams")).await.0, 401);
    assert_eq!(seen(Request::get("/v1/upstreams").bearer(&admin)).await.0, 200);
    let refused = list(&[], &user).await;
    assert!(
        refused.status.success() && text(&refused.stderr).contains("key create --admin"),
        "{refused:?}"
    );
    assert!(text(&list(&[], "").await.stderr).contains("WEIR_API_KEY"));
    assert!(text(&list(&[], &admin).await.stdout).contains("refused for"));
    let everything = [alone.stdout, alone.stderr, refused.stdout, refused.stderr].concat();
    assert!(
        !text(&everything).contains("marker")
            && !document.to_string().contains("marker")
            && !asked.contains("marker")
    );
}
