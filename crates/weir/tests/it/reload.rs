//! Settings that are reloaded while responses run, systemd notifications, and `weir health`.

use std::fmt::Write;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use client::websocket::Message;
use client::{BodyEnd, Connection, Request};
use fakes::{Script, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::service::{Service, in_time, weir};

const AGAIN: &str = "reloaded the settings";

/// A server with its own settings file.
struct Settled {
    directory: TempDir,
    server: Service,
}

impl Settled {
    async fn start(settings: &str) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("weir.toml"), settings).unwrap();
        let server = Service::start(weir(directory.path())).await;
        Self { directory, server }
    }

    fn write(&self, settings: &str) {
        fs::write(self.directory.path().join("weir.toml"), settings).unwrap();
    }

    async fn models(&self) -> Vec<String> {
        let (_, list) = self.server.json(&Request::get("/v1/models")).await;
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn upstream(upstream: &Upstream, key: &str) -> String {
    let mut text = String::new();
    writeln!(
        text,
        "[[upstream]]\nname = \"lab\"\nmodels = [\"m\"]\nbase_url = \"{}\"\napi_key = \"{key}\"",
        upstream.base_url()
    )
    .unwrap();
    text
}

fn names(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_changed_file_affects_new_requests_only() {
    let (first, second) = (Upstream::start().await.unwrap(), Upstream::start().await.unwrap());
    let test_server = Settled::start(&upstream(&first, "sk-first-secret")).await;
    let gate = Arc::new(Notify::new());
    first.script(
        Script::new()
            .role()
            .content("old")
            .wait_for(&gate)
            .content(" upstream")
            .finish("stop")
            .done(),
    );
    let ask = |stream: bool| {
        Request::post("/v1/responses", &json!({ "model": "m", "input": "hi", "stream": stream }))
    };
    let mut running = test_server.server.send(&ask(true)).await.events().unwrap();
    running.next().await.unwrap().unwrap();
    let kept = Connection::open(test_server.server.address).await.unwrap();
    let foreign = Request::get("/v1/models").header("origin", "https://app.example.org");
    let mut refused = kept.send(&foreign).await.unwrap();
    assert_eq!(refused.status, 403);
    refused.collect().await.unwrap();
    let kept = refused.into_connection().await.unwrap();
    assert_eq!(test_server.models().await, ["m"]);

    let more = "[server]\norigins = [\"https://app.example.org\"]\nlisten = \"127.0.0.1:1\"\nhead_timeout = \"9s\"\n[demo]\nenabled = true\n[log]\nlevel = \"debug\"\nformat = \"text\"\n";
    test_server.write(&format!("{more}{}", upstream(&second, "sk-second-secret")));
    let line = test_server.server.logged(AGAIN, 1).await;
    for name in [
        "demo.enabled",
        "server.origins",
        "server.head_timeout",
        "log.level",
        "upstream.lab.api_key",
        "upstream.lab.base_url",
    ] {
        assert!(names(&line, "applied").contains(name), "{name}: {line}");
    }
    // --listen and --log-format take precedence over the file, so nothing has changed there.
    assert!(line["needs_restart"].is_null() && line["level"] == "INFO", "{line}");
    assert_eq!(test_server.models().await, ["demo", "m"]);
    assert_eq!(
        kept.send(&foreign).await.unwrap().status,
        200,
        "an old connection obeys the new settings"
    );
    second.script(Script::text(&["new upstream"]));
    assert_eq!(
        test_server.server.json(&ask(false)).await.1["output"][0]["content"][0]["text"],
        "new upstream"
    );
    gate.notify_one();
    let (events, end) = in_time(running.collect()).await.unwrap();
    let last = events[events.len() - 2].json().unwrap();
    assert_eq!(
        (&last["response"]["output"][0]["content"][0]["text"], end),
        (&json!("old upstream"), BodyEnd::Clean)
    );
    in_time(async {
        while !test_server.server.log().contains("\"DEBUG\"") {
            drop(test_server.server.send(&Request::get("/healthz")).await);
        }
    })
    .await;
    assert!(!test_server.server.log().contains("-secret"), "{}", test_server.server.log());
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_is_reported() {
    let test_server = Settled::start("").await;
    test_server.write("[demo]\nenabled = false\n[server]\nheartbeat = \"soon\"\nwibble = 1\n");
    test_server.server.signal("HUP");
    let line = test_server.server.logged("the new settings are invalid", 1).await;
    let problems = names(&line, "problems");
    assert!(
        problems.contains("weir.toml:4:13: server.heartbeat")
            && problems.contains("weir.toml:5:1: server.wibble"),
        "{line}"
    );
    assert_eq!(test_server.models().await, ["demo"]);

    test_server.write("[shutdown]\ndelay = \"1ms\"\n[wibble]\n");
    test_server.server.signal("HUP");
    test_server.server.logged("the new settings are invalid", 2).await;
    test_server.write(
        "data = \"elsewhere\"\n[server]\ntls = \"self-signed\"\n[shutdown]\ndelay = \"1ms\"\n",
    );
    test_server.server.signal("HUP");
    let line = test_server.server.logged(AGAIN, 1).await;
    assert_eq!(
        (names(&line, "applied"), names(&line, "needs_restart")),
        ("shutdown.delay".into(), "server.tls".into()),
        "{line}"
    );
    fs::remove_file(test_server.directory.path().join("weir.toml")).unwrap();
    test_server.server.signal("HUP");
    assert!(
        names(&test_server.server.logged("has vanished", 1).await, "problems")
            .contains("weir.toml")
    );
}

#[tokio::test]
async fn a_changed_key_file_is_reloaded_and_its_key_is_never_shown() {
    let lab = Upstream::start().await.unwrap();
    let settings = |file: &str| {
        let base_url = lab.base_url();
        format!(
            "[[upstream]]\nname = \"lab\"\nmodels = [\"m\"]\nbase_url = \"{base_url}\"\napi_key_file = \"{file}\"\n"
        )
    };
    let directory = TempDir::new().unwrap();
    let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    put("a.key", "sk-first-secret\n");
    put("weir.toml", &settings("a.key"));
    let server = Service::start(weir(directory.path())).await;
    let asked_with = async || {
        lab.script(Script::text(&["hi"]));
        assert_eq!(
            server
                .json(&Request::post("/v1/responses", &json!({ "model": "m", "input": "hi" })))
                .await
                .0,
            200
        );
        lab.requests().last().unwrap().headers.get("authorization").unwrap().to_owned()
    };
    assert_eq!(asked_with().await, "Bearer sk-first-secret");

    put("a.key", "sk-other-secret\n");
    let line = server.logged(AGAIN, 1).await;
    assert_eq!(
        (names(&line, "why"), names(&line, "applied")),
        ("change".into(), "upstream.lab.api_key".into()),
        "{line}"
    );
    assert_eq!(asked_with().await, "Bearer sk-other-secret");

    // Replaced like a Kubernetes Secret: the name is a link with a new target.
    put("later", "sk-third-secret\n");
    std::os::unix::fs::symlink("later", directory.path().join("link")).unwrap();
    fs::rename(directory.path().join("link"), directory.path().join("a.key")).unwrap();
    server.logged(AGAIN, 2).await;
    assert_eq!(asked_with().await, "Bearer sk-third-secret");

    // A missing file is awaited, and the old key is used until then.
    put("weir.toml", &settings("b.key"));
    let line = server.logged("the new settings are invalid", 1).await;
    assert!(names(&line, "problems").contains("b.key"), "{line}");
    assert_eq!(asked_with().await, "Bearer sk-third-secret");
    put("b.key", "sk-fourth-secret\n");
    server.logged(AGAIN, 3).await;
    assert_eq!(asked_with().await, "Bearer sk-fourth-secret");

    // An invalid key is reported by its file, and not shown.
    put("b.key", "fifth-secret and more\n");
    let line = server.logged("the new settings are invalid", 2).await;
    assert!(names(&line, "problems").contains("upstream.api_key_file"), "{line}");
    assert!(!server.log().contains("-secret"), "{}", server.log());
}

#[tokio::test]
async fn the_classic_api_uses_the_model_of_the_new_settings() {
    let (first, second) = (Upstream::start().await.unwrap(), Upstream::start().await.unwrap());
    first.models(vec!["one".into()]);
    second.models(vec!["two".into()]);
    // Without `models` in the settings, the upstream is asked for its list.
    let listing = |upstream: &Upstream| {
        format!("[[upstream]]\nname = \"lab\"\nbase_url = \"{}\"\n", upstream.base_url())
    };
    let test_server = Settled::start(&listing(&first)).await;
    let mut socket = client::websocket::connect(test_server.server.address, "/websocket/ada", &[])
        .await
        .unwrap()
        .socket;
    let mut asked = async |upstream: &Upstream| {
        let models = || {
            upstream
                .requests()
                .iter()
                .map(|asked| asked.body["model"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let before = models().len();
        upstream.script(Script::text(&["hi"]));
        let mut events =
            test_server.server.send(&Request::get("/chat?message=hello")).await.events().unwrap();
        in_time(events.collect()).await.unwrap();
        // A socket opened before the reload uses it too.
        upstream.script(Script::text(&["hi"]));
        socket.send_text("hello").await.unwrap();
        while in_time(socket.next()).await.unwrap() != Some(Message::Text("[DONE]".into())) {}
        models()[before..].to_vec()
    };
    assert_eq!(asked(&first).await, ["one", "one"]);

    test_server.write(&listing(&second));
    test_server.server.logged(AGAIN, 1).await;
    assert_eq!(asked(&second).await, ["two", "two"]);

    test_server.write(&format!("[classic]\nmodel = \"three\"\n{}", listing(&second)));
    test_server.server.logged(AGAIN, 2).await;
    assert_eq!(asked(&second).await, ["three", "three"]);

    test_server.write(&listing(&first));
    test_server.server.logged(AGAIN, 3).await;
    assert_eq!(asked(&first).await, ["one", "one"]);
}

#[tokio::test]
async fn systemd_is_notified_of_ready_reloading_and_stopping() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notify");
    let socket = Arc::new(UnixDatagram::bind(&path).unwrap());
    let heard = || {
        let socket = Arc::clone(&socket);
        in_time(async {
            let words = spawn_blocking(move || {
                let mut buffer = [0; 512];
                let count = socket.recv(&mut buffer).unwrap();
                String::from_utf8_lossy(&buffer[..count]).into_owned()
            });
            words.await.unwrap()
        })
    };
    let mut command = weir(directory.path());
    command.env("NOTIFY_SOCKET", &path).env("WEIR_SHUTDOWN_GRACE", "7s");
    let mut server = Service::start(command).await;
    assert!(heard().await.starts_with("READY=1\n"));
    server.signal("HUP");
    let reloading = heard().await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(heard().await.starts_with("READY=1\n"));
    server.signal("TERM");
    let stopping = heard().await;
    assert!(
        stopping.starts_with("STOPPING=1\n") && stopping.contains("EXTEND_TIMEOUT_USEC=11000000\n"),
        "{stopping}"
    );
    assert!(server.ended().await.0.success());
}

#[tokio::test]
async fn health_checks_a_running_server() {
    let directory = TempDir::new().unwrap();
    let mut server = Service::start(weir(directory.path())).await;
    let ask = |url: String| {
        let mut command = weir(directory.path());
        in_time(async {
            spawn_blocking(move || command.args(["health", &url]).output().unwrap()).await.unwrap()
        })
    };
    let alive = ask(format!("http://{}", server.address)).await;
    assert!(alive.status.success() && alive.stdout.starts_with(b"{\"status\":\"ok\""), "{alive:?}");
    assert!(ask(format!("http://{}/readyz", server.address)).await.status.success());
    assert!(!ask(format!("http://{}/nothing", server.address)).await.status.success());
    server.signal("TERM");
    server.ended().await;
    let dead = ask(format!("http://{}", server.address)).await;
    assert!(
        dead.status.code() == Some(1)
            && String::from_utf8_lossy(&dead.stderr).contains("does not respond"),
        "{dead:?}"
    );
    assert!(client::send(server.address, &Request::get("/healthz")).await.is_err());
}

#[tokio::test]
async fn a_capture_disabled_by_a_reload_ends_at_once() {
    let test_server = Settled::start("[log]\nlevel = \"debug\"\n").await;
    let state = async || {
        test_server.server.json(&Request::get("/v1/lens/connections")).await.1["capture"]["state"]
            .clone()
    };
    let is_captured = state().await == "on";
    test_server.write("[log]\nlevel = \"debug\"\n[lens]\ncapture = \"off\"\n");
    test_server.server.logged(AGAIN, 1).await;
    if is_captured {
        test_server.server.logged("stopped packet capture", 1).await;
    }
    assert_eq!(state().await, "off");
}
