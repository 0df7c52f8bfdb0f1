//! Settings from their sources, and the problems in them.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::on_leave::OnLeave;
use provider::config::{Strategy, WireKind};

use super::example::example;
use super::problem::Problems;
use super::settings::{LogConfig, LogFormat};
use super::*;

pub(crate) type TestResult = Result<(), Box<dyn Error>>;

pub(crate) fn environment(pairs: &[(&str, &str)]) -> Environment {
    // A home, so that there is a data directory.
    let home = [("HOME", "/home/ada"), ("LOCALAPPDATA", r"C:\Users\ada")];
    home.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), value.into())).collect()
}

pub(crate) fn file(text: &str) -> FileText {
    FileText { name: PathBuf::from("weir.toml"), text: text.to_owned() }
}

pub(crate) fn settings(
    flags: &[(&'static str, &str)],
    environment: &Environment,
    file: Option<&FileText>,
) -> Result<Settings, Problems> {
    let flags = flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    let read = |path: &Path| match path.to_str() {
        Some("secrets/key") => Ok("sk-file\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    settle(&ConfigSources { flags: &flags, environment, file, read: &read })
}

fn of_file(text: &str) -> Result<Settings, Problems> {
    settings(&[], &environment(&[]), Some(&file(text)))
}

fn complaints(result: Result<Settings, Problems>) -> Vec<String> {
    result
        .err()
        .map(|problems| problems.to_string().lines().map(str::to_owned).collect())
        .unwrap_or_default()
}

#[test]
fn the_defaults_of_the_table_are_those_of_each_module() -> TestResult {
    let kept = settings(&[], &environment(&[]), None)?;
    assert_eq!((kept.engine.kept_bytes, kept.durability), (8 << 30, store::Durability::Process));
    let settings = settings(&[("data", ":memory:")], &environment(&[]), None)?;
    assert_eq!(settings.server, server::Config::default());
    assert_eq!(settings.engine, engine::Config::default());
    assert_eq!(settings.provider, provider::Config::default());
    assert_eq!(settings.log, LogConfig::default());
    assert_eq!(settings.tls, TlsConfig::Off);
    Ok(())
}

#[test]
fn https_needs_a_certificate_and_its_key_or_makes_both() -> TestResult {
    let file = FileText {
        name: PathBuf::from("etc/weir.toml"),
        text: "[server]\ntls_cert = \"chain.pem\"\n".to_owned(),
    };
    let key = [("tls-key", "/run/key.pem")];
    let files =
        TlsConfig::Files { certificate: "etc/chain.pem".into(), key: "/run/key.pem".into() };
    assert_eq!(settings(&key, &environment(&[]), Some(&file))?.tls, files);
    assert_eq!(
        settings(&[], &environment(&[("WEIR_SERVER_TLS", "self-signed")]), None)?.tls,
        TlsConfig::SelfSigned
    );
    assert_eq!(
        settings(&[("tls", "off"), key[0]], &environment(&[]), Some(&file))?.tls,
        TlsConfig::Off
    );

    let alone = complaints(settings(&key, &environment(&[]), None));
    assert_eq!(
        alone,
        [
            "--tls-key: server.tls_key: the certificate is missing; say server.tls_cert (--tls-cert), too"
        ]
    );
    let alone = complaints(settings(&[], &environment(&[]), Some(&file)));
    assert_eq!(
        alone,
        [
            "etc/weir.toml:2:12: server.tls_cert: the key is missing; say server.tls_key (--tls-key), too"
        ]
    );
    let both =
        complaints(settings(&[("tls", "self-signed"), key[0]], &environment(&[]), Some(&file)));
    assert_eq!(
        both,
        [
            "--tls: server.tls: self-signed makes its own certificate; leave out server.tls_cert and server.tls_key"
        ]
    );
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn the_data_directory_has_a_default() -> TestResult {
    let place = PathBuf::from("/home/ada/.local/share/weir");
    assert_eq!(settings(&[], &environment(&[]), None)?.data, DataLocation::Directory(place));
    let homeless = complaints(settings(&[], &Environment::new(), None));
    assert_eq!(
        homeless,
        [
            "data: there is no home directory to keep it in; say --data DIR, or --data :memory: to keep nothing"
        ]
    );
    assert_eq!(
        settings(&[("data", ":memory:")], &Environment::new(), None)?.data,
        DataLocation::Memory
    );
    Ok(())
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() -> TestResult {
    let file = file(
        "data = \"from-file\"\n[server]\nlisten = \"127.0.0.1:1\"\nheartbeat = \"1s\"\n[engine]\nrunning = 5",
    );
    let environment = environment(&[
        ("WEIR_SERVER_LISTEN", "127.0.0.1:2"),
        ("WEIR_SERVER_HEARTBEAT", "2s"),
        ("WEIR_ENGINE_RUNNING", ""),
    ]);
    let settings = settings(&[("listen", "127.0.0.1:3")], &environment, Some(&file))?;
    assert_eq!(settings.server.listen.port(), 3);
    assert_eq!(settings.server.heartbeat, Duration::from_secs(2));
    assert_eq!(settings.engine.running, 5);
    assert_eq!(settings.data, DataLocation::Directory("from-file".into()));
    Ok(())
}

#[test]
fn the_file_may_contain_every_kind_of_value() -> TestResult {
    let settings = of_file(
        r#"
        data = "data"
        log = { format = "json", level = "warn,weir=debug" }
        timeouts.idle = "30s"
        [server]
        hosts = ["Chat.example.org"]
        origins = ["https://chat.example.org/"]
        body_bytes = 0x100_000
        head_bytes = "16KiB"
        fin_leaves_json = false
        hold = "0s"
        [engine]
        on_leave_stored = "cancel"
        on_leave_stateless = "finish"
        running = 1_000
        [demo]
        enabled = false
        tokens_per_second = 1.5
        "#,
    )?;
    assert_eq!(settings.server.hosts, ["chat.example.org"]);
    assert_eq!(settings.server.origins, ["https://chat.example.org"]);
    assert_eq!((settings.server.body_bytes, settings.server.head_bytes), (1 << 20, 16 << 10));
    assert!(!settings.server.fin_leaves_json && settings.server.hold.is_zero());
    assert_eq!(
        (settings.engine.on_leave_stored, settings.engine.on_leave_stateless),
        (OnLeave::Cancel, OnLeave::Finish)
    );
    assert_eq!(settings.engine.running, 1_000);
    assert!(!settings.provider.demo.enabled);
    assert!((settings.provider.demo.tokens_per_second - 1.5).abs() < f64::EPSILON);
    assert_eq!(
        settings.log,
        LogConfig { format: LogFormat::Json, level: "warn,weir=debug".to_owned() }
    );
    assert_eq!(
        settings.notes,
        ["there is no model: demo.enabled is false and there is no upstream"]
    );
    Ok(())
}

#[test]
fn all_problems_are_reported_together_with_their_locations() {
    let file = file(
        "dta = 1\nserver = 5\n[engine]\nrunning = 0\nanswer_bytes = \"soon\"\ncolour = \"red\"\n[upstream]\nname = \"x\"\n[logs]\n",
    );
    let environment = environment(&[
        ("WEIR_UPSTREAM_IDLE_TIMEOUT", "30"),
        ("WEIR_HEARTBEAT", "15s"),
        ("WEIR_LISTEN", "127.0.0.1:1"),
        ("WEIR_SERVER_LISTEN", "127.0.0.1:2"),
        ("WEIR_SERVICE_PORT", "8000"),
        ("WEIR_CONFIG", "weir.toml"),
        ("OPENAI_BASE_URL", "api.openai.com"),
    ]);
    let result =
        settings(&[("listen", "everywhere"), ("log-format", "xml")], &environment, Some(&file));
    let expected = [
        "weir.toml:1:1: dta: unknown setting; did you mean data?",
        "weir.toml:2:10: server: expected a table; write [server]",
        "weir.toml:4:11: engine.running: must be at least 1, got 0",
        "weir.toml:5:16: engine.answer_bytes: expected a number of bytes such as 32MiB, got \"soon\"",
        "weir.toml:6:1: engine.colour: unknown setting",
        "weir.toml:7:1: upstream: expected tables; write [[upstream]], once for each",
        "weir.toml:9:2: logs: unknown setting; did you mean log?",
        "OPENAI_BASE_URL: expected an address that begins with http:// or https://",
        "WEIR_HEARTBEAT: unknown setting; did you mean WEIR_SERVER_HEARTBEAT?",
        "WEIR_SERVER_LISTEN: the same setting as WEIR_LISTEN and WEIR_SERVER_LISTEN; set one of them",
        "WEIR_UPSTREAM_IDLE_TIMEOUT: expected a duration such as 30s, 500ms, 2m or 1h, got \"30\"",
        "--listen: expected an address and a port such as 127.0.0.1:8000, got \"everywhere\"",
        "--log-format: expected text or json, got \"xml\"",
    ];
    assert_eq!(complaints(result), expected);
}

#[test]
fn syntax_errors_have_locations_and_do_not_repeat_the_line() {
    let problems = complaints(of_file("[server\nlisten = \n[[upstream]]\napi_key = sk-hunter2\n"));
    assert!(problems.len() >= 2, "{problems:?}");
    assert!(
        problems
            .iter()
            .all(|problem| problem.starts_with("weir.toml:") && !problem.contains("hunter2")),
        "{problems:?}"
    );
}

#[test]
fn a_response_may_not_be_larger_than_the_store() {
    let problems = complaints(of_file("[store]\nbytes = \"1MiB\""));
    assert_eq!(
        problems,
        ["weir.toml:2:9: engine.answer_bytes (16MiB) must not be larger than store.bytes (1MiB)"]
    );
}

#[test]
fn upstreams_keep_their_order_keys_and_timeouts() -> TestResult {
    let file = FileText {
        name: PathBuf::from("secrets/weir.toml"),
        text: r#"
            timeouts.idle = "20s"
            [[upstream]]
            name = "one"
            base_url = "http://localhost:1/v1/"
            api_key_file = "key"
            models = ["a", "b"]
            connect_timeout = "1s"
            [[upstream]]
            name = "two"
            base_url = "https://example.org/v1"
            api_key_env = "TWO_KEY"
            "#
        .to_owned(),
    };
    let environment = environment(&[
        ("TWO_KEY", "sk-two"),
        ("OPENAI_API_KEY", "sk-openai\n"),
        ("WEIR_UPSTREAM_IDLE_TIMEOUT", "30s"),
    ]);
    let upstreams = settings(&[], &environment, Some(&file))?.provider.upstreams;
    let seen: Vec<_> = upstreams
        .iter()
        .map(|one| {
            (
                one.name.as_str(),
                one.base_url.as_str(),
                one.keys.first().map(|key| key.secret.reveal()),
                one.models.len(),
            )
        })
        .collect();
    let expected = [
        ("one", "http://localhost:1/v1", Some("sk-file"), 2),
        ("two", "https://example.org/v1", Some("sk-two"), 0),
        ("openai", "https://api.openai.com/v1", Some("sk-openai"), 0),
    ];
    assert_eq!(seen, expected);
    assert!(upstreams.iter().all(|one| one.timeouts.idle == Duration::from_secs(30)));
    assert_eq!(upstreams[0].timeouts.connect, Duration::from_secs(1));
    assert_eq!(upstreams[1].timeouts.connect, Duration::from_secs(10));
    Ok(())
}

#[test]
fn the_environment_alone_adds_openai() -> TestResult {
    let upstreams =
        settings(&[], &environment(&[("OPENAI_BASE_URL", "http://localhost:1/v1")]), None)?
            .provider
            .upstreams;
    assert_eq!(upstreams.len(), 1);
    assert_eq!(
        (upstreams[0].base_url.as_str(), upstreams[0].keys.len()),
        ("http://localhost:1/v1", 0)
    );
    assert!(
        settings(&[], &environment(&[("OPENAI_API_KEY", "")]), None)?.provider.upstreams.is_empty()
    );
    Ok(())
}

#[test]
fn a_key_that_the_file_uses_elsewhere_is_not_sent_to_openai() -> TestResult {
    let environment = environment(&[("OPENAI_API_KEY", "sk-1")]);
    for text in [
        "[[upstream]]\nname = \"mine\"\nbase_url = \"https://example.org/v1\"\napi_key_env = \"OPENAI_API_KEY\"",
        "[[upstream]]\nname = \"openai\"\nbase_url = \"https://example.org/v1\"",
    ] {
        let settings = settings(&[], &environment, Some(&file(text)))?;
        assert_eq!(settings.provider.upstreams.len(), 1);
        assert_eq!(settings.notes.len(), 1);
    }
    Ok(())
}

#[test]
fn problems_of_an_upstream_do_not_repeat_its_key() {
    let text = r#"
[[upstream]]
base_url = "https://me:hunter2@example.org/v1"
api_key = 5
api_ky = "hunter2"
[[upstream]]
name = "two words"
api_key = "hunter2 hunter2"
models = "gpt-5"
[[upstream]]
name = "three"
base_url = "http://localhost"
api_key = "hunter2"
api_key_env = "HUNTER"
idle_timeout = "0s"
[[upstream]]
name = "three"
base_url = "http://localhost"
api_key_env = "UNSET"
[[upstream]]
name = "four"
base_url = "http://localhost"
api_key_file = "missing"
"#;
    let problems = complaints(of_file(text));
    let expected = [
        "weir.toml:2:1: upstream.name: missing; it is the upstream's name in logs",
        "weir.toml:3:12: upstream.base_url: a name or password does not belong into the address; use api_key",
        "weir.toml:4:11: upstream.api_key: expected a text between quotes, or a list of them",
        "weir.toml:5:1: upstream.api_ky: unknown setting; did you mean api_key?",
        "weir.toml:6:1: upstream.base_url: missing; it is the upstream's address up to and with /v1",
        "weir.toml:7:8: upstream.name: expected letters, digits, - _ and .",
        "weir.toml:8:11: upstream.api_key: not a key: a key is one word of letters, digits and signs",
        "weir.toml:9:10: upstream.models: expected a list of texts, got \"gpt-5\"",
        "weir.toml:14:15: upstream.api_key_env: an upstream's keys come from one place; say api_key, api_key_env or api_key_file",
        "weir.toml:15:16: upstream.idle_timeout: must be at least 1ms, got 0s",
        "weir.toml:17:8: upstream.name: there is already an upstream \"three\"",
        "weir.toml:19:15: upstream.api_key_env: \"UNSET\" is not set; it should be the name of a variable that holds the key",
        "weir.toml:23:16: upstream.api_key_file: cannot read missing: entity not found",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_possible_key_in_the_wrong_field_is_not_repeated() {
    for key in [
        "sk-TOPSECRET4",
        "TOPSECRET.4",
        "hunter2hunter2HUNTER",
        "eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJlc2ln",
        "abc/DEF+gh123456==",
    ] {
        for field in ["api_key_env", "api_key_file"] {
            let text = format!(
                "[[upstream]]\nname = \"mine\"\nbase_url = \"http://localhost\"\n{field} = \"{key}\"\n"
            );
            let problems = complaints(of_file(&text));
            assert!(
                problems.len() == 1 && problems[0].contains(field) && !problems[0].contains(key),
                "{problems:?}"
            );
        }
    }
    for path in ["missing", "/run/secrets/openai", "./Key1", "keys/openai.key", "openai_key"] {
        let text = format!(
            "[[upstream]]\nname = \"mine\"\nbase_url = \"http://localhost\"\napi_key_file = \"{path}\"\n"
        );
        let problems = complaints(of_file(&text));
        assert!(problems[0].contains(path.trim_start_matches("./")), "{problems:?}");
    }
}

#[test]
fn a_setting_may_have_its_former_name_but_not_both() -> TestResult {
    assert!(of_file("server.chat_hold = \"0s\"")?.server.hold.is_zero());
    let former = environment(&[("WEIR_SERVER_CHAT_HOLD", "7s")]);
    assert_eq!(settings(&[], &former, None)?.server.hold, Duration::from_secs(7));
    let twice = complaints(of_file("[server]\nchat_hold = \"1s\"\nhold = \"2s\"\n"));
    assert_eq!(
        twice,
        ["weir.toml:3:1: server.hold: the same setting under two names; its name is server.hold"]
    );
    Ok(())
}

#[test]
fn no_setting_has_two_definitions() {
    let mut names: Vec<String> = SETTINGS
        .iter()
        .flat_map(|one| one.all_variables().into_iter().chain([one.path.to_owned()]))
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(SETTINGS.iter().all(|definition| !definition.help.is_empty()));
}

#[test]
fn the_committed_example_is_up_to_date() -> TestResult {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weir.example.toml");
    assert_eq!(
        fs::read_to_string(path)?,
        example(),
        "write it again: cargo run -- config --example > weir.example.toml"
    );
    Ok(())
}

#[test]
fn the_example_means_the_defaults_with_and_without_its_comment_marks() -> TestResult {
    let plain = of_file(&example())?;
    let text = example();
    let settings_part = text.split("# Models of others").next().unwrap_or_default();
    // A commented setting has one word before its equals sign; prose has more.
    let unmarked = settings_part.lines().map(|line| {
        match line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")) {
            Some((key, value)) if !key.contains(' ') => format!("{key} = {value}\n"),
            Some(_) | None => format!("{line}\n"),
        }
    });
    let all = of_file(&unmarked.collect::<String>())?;
    assert!(all.in_force.iter().all(|row| row.place != ValueSource::Default), "{:?}", all.in_force);
    assert_eq!(plain.server, all.server);
    assert_eq!(plain.engine, all.engine);
    assert_eq!(plain.provider, all.provider);
    assert_eq!(plain.log, all.log);
    assert_eq!(plain.tls, all.tls);
    assert_eq!(all.data, DataLocation::Directory("/var/lib/weir".into()));
    Ok(())
}

#[test]
fn kinds_have_default_addresses_and_variables_and_keys_may_be_several() -> TestResult {
    let text = r#"
        [[upstream]]
        name = "claude"
        kind = "anthropic"
        [[upstream]]
        name = "pool"
        base_url = "https://example.org/v1"
        wire = "responses"
        api_key_file = "keys"
        key_weights = ["3", "1"]
        key_strategy = "round_robin"
        key_concurrency = 8
        proxy = "socks5://me:secret@proxy:1080"
        headers = ["X-Title: Weir"]
        total_timeout = "10m"
        [[route]]
        model = "fast"
        upstreams = ["pool:gpt:mini", "claude"]
        strategy = "least_busy"
        on_leave = "finish_within 30s"
    "#;
    let environment = environment(&[("ANTHROPIC_API_KEY", "sk-ant")]);
    let read = |_: &Path| Ok("# two keys\nsk-1\n\nsk-2\n".to_owned());
    let file = file(text);
    let settings = settle(&ConfigSources {
        flags: &FlagValues::new(),
        environment: &environment,
        file: Some(&file),
        read: &read,
    })?;
    let [claude, pool] = &settings.provider.upstreams[..] else {
        return Err("two were expected".into());
    };
    assert_eq!(
        (claude.wire, claude.base_url.as_str()),
        (WireKind::Anthropic, "https://api.anthropic.com/v1")
    );
    assert_eq!(
        (&*claude.keys[0].label, claude.keys[0].secret.reveal()),
        ("ANTHROPIC_API_KEY", "sk-ant")
    );
    let keys: Vec<_> = pool
        .keys
        .iter()
        .map(|key| (&*key.label, key.secret.reveal(), key.weight, key.concurrency))
        .collect();
    assert_eq!(keys, [("1", "sk-1", 3, 8), ("2", "sk-2", 1, 8)]);
    assert_eq!(
        (pool.wire, pool.strategy, pool.timeouts.total),
        (WireKind::Responses, Strategy::RoundRobin, Duration::from_secs(600))
    );
    let route = &settings.provider.routes[0];
    let targets: Vec<_> = route
        .upstreams
        .iter()
        .map(|target| (target.upstream.as_str(), target.model.as_deref()))
        .collect();
    assert_eq!(
        (targets, route.strategy),
        (vec![("pool", Some("gpt:mini")), ("claude", None)], Strategy::LeastBusy)
    );
    assert!(
        settings
            .in_force
            .iter()
            .all(|row| !row.value.contains("secret") && !row.value.contains("sk-")),
        "{:?}",
        settings.in_force
    );
    Ok(())
}

#[test]
fn problems_of_routes_are_reported() {
    let text = r#"
[[upstream]]
name = "north"
base_url = "http://localhost/v1"
[[route]]
upstreams = ["north"]
[[route]]
model = "a"
upstreams = ["south"]
on_leave = "never"
[[route]]
model = "b"
upstreams = ["north", "north:c"]
weights = ["1"]
"#;
    let expected = [
        "weir.toml:5:1: route.model: missing",
        "weir.toml:9:13: route.upstreams: there is no upstream \"south\"",
        "weir.toml:10:12: route.on_leave: expected cancel, finish, or finish_within with a time (30s), a number of tokens (500 tokens) or both (30s, 500 tokens), got \"never\"",
        "weir.toml:14:11: route.weights: expected 2, one for each, got 1",
    ];
    assert_eq!(complaints(of_file(text)), expected);
}

#[test]
fn a_server_cannot_be_its_own_upstream() {
    let text = "[[upstream]]\nname = \"local\"\nkind = \"vllm\"\n";
    let expected = "upstream.base_url: local: Weir itself listens there (127.0.0.1:8000); change base_url or server.listen";
    assert_eq!(complaints(of_file(text)), [expected]);
    assert_eq!(
        complaints(of_file(&format!("[server]\nlisten = \"127.0.0.1:8001\"\n{text}"))),
        Vec::<String>::new()
    );
}
