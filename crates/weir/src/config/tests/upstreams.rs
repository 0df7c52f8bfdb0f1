//! Upstreams and routes, from the file and the environment.

use super::*;

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
        "weir.toml:3:12: upstream.base_url: the address must not contain a name or password; use api_key",
        "weir.toml:4:11: upstream.api_key: expected a quoted string, or a list of them",
        "weir.toml:5:1: upstream.api_ky: unknown setting; did you mean api_key?",
        "weir.toml:6:1: upstream.base_url: missing; it is the upstream's address up to and with /v1",
        "weir.toml:7:8: upstream.name: expected letters, digits, - _ and .",
        "weir.toml:8:11: upstream.api_key: not a key: a key is one word of letters, digits and signs",
        "weir.toml:9:10: upstream.models: expected a list of texts, got \"gpt-5\"",
        "weir.toml:14:15: upstream.api_key_env: an upstream's keys come from one place; set only one of api_key, api_key_env and api_key_file",
        "weir.toml:15:16: upstream.idle_timeout: must be at least 1ms, got 0s",
        "weir.toml:17:8: upstream.name: there is already an upstream \"three\"",
        "weir.toml:19:15: upstream.api_key_env: \"UNSET\" is not set; it should be the name of a variable that holds the key",
        "weir.toml:23:16: upstream.api_key_file: cannot read missing: entity not found",
    ];
    assert_eq!(problems, expected);
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

#[test]
fn a_variable_may_hold_several_keys() -> TestResult {
    let keys = |variables: &[(&str, &str)], file: Option<&FileText>| {
        let upstreams = settings(&[], &environment(variables), file)?.provider.upstreams;
        let key = |key: &provider::config::KeyConfig| {
            (key.label.to_string(), key.secret.reveal().to_owned())
        };
        Ok::<_, Box<dyn std::error::Error>>(upstreams[0].keys.iter().map(key).collect::<Vec<_>>())
    };
    let of = |name: &str| {
        [1, 2].map(|number| (format!("{name} {number}"), format!("sk-{number}"))).to_vec()
    };
    assert_eq!(keys(&[("OPENAI_API_KEY", "sk-1,sk-2")], None)?, of("OPENAI_API_KEY"));
    assert_eq!(keys(&[("ANTHROPIC_API_KEY", " sk-1, sk-2,\n")], None)?, of("ANTHROPIC_API_KEY"));
    let named = file("[[upstream]]\nname = \"a\"\nkind = \"openai\"\napi_key_env = \"POOL\"\n");
    assert_eq!(keys(&[("POOL", "sk-1,sk-2")], Some(&named))?, of("POOL"));
    let alone = keys(&[("OPENAI_API_KEY", "sk-1")], None)?;
    assert_eq!(alone, [("OPENAI_API_KEY".to_owned(), "sk-1".to_owned())]);
    let empty = settings(&[], &environment(&[("OPENAI_API_KEY", "sk-1,,sk-2")]), None);
    assert!(empty.is_err(), "a part that is empty is a mistake");
    Ok(())
}

#[test]
fn a_route_may_lead_to_the_demo() -> TestResult {
    let text = "[[upstream]]\nname = \"north\"\nbase_url = \"http://localhost/v1\"\n[[route]]\nmodel = \"gpt-3.5-turbo\"\nupstreams = [\"demo\"]\n";
    let file = file(text);
    let provider = settings(&[], &environment(&[]), Some(&file))?.provider;
    assert!(provider.demo.enabled);
    assert_eq!(provider.routes[0].upstreams[0].upstream, "demo");
    let refused = complaints(of_file(&format!("demo.enabled = false\n{text}")));
    assert_eq!(
        refused,
        [
            "weir.toml:7:13: route.upstreams: demo.enabled is false, so no route can lead to the demo"
        ]
    );
    Ok(())
}
