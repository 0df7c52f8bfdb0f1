//! The problems in settings: all of them, with their locations, and without secrets.

use super::*;

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
        "OPENAI_BASE_URL: expected an address that starts with http:// or https://",
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
