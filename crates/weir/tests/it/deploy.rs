//! The files in `deploy` match the program: they parse, their settings exist, their timeouts suffice, and the log is
//! documented.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};
use tempfile::TempDir;

use crate::service::weir;

/// What a shutdown takes in addition to its delay and grace period.
const LAST_WORDS: u64 = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The objects of a manifest, by kind.
fn objects(path: &str) -> BTreeMap<String, Value> {
    let text = read(path);
    let objects =
        Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    objects.map(|object| (object["kind"].as_str().unwrap().to_owned(), object)).collect()
}

/// The value of a setting in the output of `weir config`.
fn setting(shown: &str, path: &str) -> String {
    let line = shown
        .lines()
        .find(|line| line.split_whitespace().next() == Some(path))
        .unwrap_or_else(|| panic!("{path}: {shown}"));
    line.split_whitespace().nth(1).unwrap().to_owned()
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap_or_else(|_| panic!("not in seconds: {text}"))
}

/// The configuration that the program derives from these settings.
fn config(variables: &[(String, String)], file: Option<&str>) -> String {
    let directory = TempDir::new().unwrap();
    let mut command = weir(directory.path());
    if let Some(text) = file {
        fs::write(directory.path().join("weir.toml"), text).unwrap();
    }
    let output = command.envs(variables.iter().cloned()).arg("config").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kubernetes_waits_long_enough_for_a_shutdown() {
    let objects = objects("deploy/kubernetes/weir.yaml");
    let pod = &objects["StatefulSet"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let variables: Vec<(String, String)> =
        container["env"].as_sequence().unwrap().iter().map(variable).collect();
    let shown = config(&variables, objects["ConfigMap"]["data"]["weir.toml"].as_str());
    let needed = seconds(&setting(&shown, "shutdown.delay"))
        + seconds(&setting(&shown, "shutdown.grace"))
        + LAST_WORDS;
    assert!(
        pod["terminationGracePeriodSeconds"].as_u64().unwrap() > needed,
        "{needed} s are needed"
    );
    let port = setting(&shown, "server.listen");
    assert!(
        port.ends_with(&format!(":{}", container["ports"][0]["containerPort"].as_u64().unwrap())),
        "{port}"
    );
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["httpHeaders"][0]["value"], "localhost");
    }
    let mounts: Vec<&str> = container["volumeMounts"]
        .as_sequence()
        .unwrap()
        .iter()
        .filter_map(|mount| mount["name"].as_str())
        .collect();
    let volumes: Vec<&str> = pod["volumes"]
        .as_sequence()
        .unwrap()
        .iter()
        .filter_map(|volume| volume["name"].as_str())
        .collect();
    assert_eq!(mounts, volumes);
    let job = &self::objects("deploy/kubernetes/first-key.yaml")["Job"]["spec"]["template"]["spec"];
    assert_eq!(job["volumes"][0], pod["volumes"][0], "the key goes where the server looks for it");
    assert_eq!(job["containers"][0]["image"], container["image"]);
    assert_eq!(job["securityContext"], pod["securityContext"]);
}

fn variable(entry: &Value) -> (String, String) {
    (entry["name"].as_str().unwrap().to_owned(), entry["value"].as_str().unwrap().to_owned())
}

#[test]
fn the_images_settings_are_valid_and_it_does_not_run_as_root() {
    let text = read("Dockerfile");
    let instruction = |name: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .next_back()
            .unwrap()
            .trim()
            .to_owned()
    };
    let variables: Vec<(String, String)> = instruction("ENV WEIR")
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| {
            (
                if name.starts_with('_') { format!("WEIR{name}") } else { name.to_owned() },
                value.to_owned(),
            )
        })
        .collect();
    let shown = config(&variables, None);
    assert_eq!(setting(&shown, "server.listen"), "0.0.0.0:8000");
    assert_eq!(setting(&shown, "log.format"), "json");
    assert_eq!(
        (instruction("USER "), instruction("EXPOSE ")),
        ("65532:65532".to_owned(), "8000".to_owned())
    );
    assert!(
        text.contains("CMD [\"/weir\", \"health\"]") && instruction("ENTRYPOINT ") == "[\"/weir\"]"
    );
}

#[test]
fn the_unit_is_valid_and_waits_long_enough_for_a_shutdown() {
    let unit = read("deploy/systemd/weir.service");
    let value = |name: &str| {
        unit.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("{name}"))
    };
    let shown = config(&[], None);
    let needed = seconds(&setting(&shown, "shutdown.delay"))
        + seconds(&setting(&shown, "shutdown.grace"))
        + LAST_WORDS;
    assert!(seconds(value("TimeoutStopSec")) > needed, "{needed} s are needed");
    assert_eq!((value("Type"), value("RestartPreventExitStatus")), ("notify", "78"));
    assert!(value("RestrictAddressFamilies").contains("AF_UNIX"), "systemd could not be told");
    // systemd-analyze, if available. It requires the program to exist.
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("weir.service");
    fs::write(&path, unit.replace("/usr/local/bin/weir", env!("CARGO_BIN_EXE_weir"))).unwrap();
    if let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&path).output() {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("weir.service"), "{said}");
    }
}

#[test]
fn every_log_line_is_documented() {
    let documented = read("docs/reference/log.md");
    let mut lines = Vec::new();
    for room in ["engine", "provider", "server", "store", "traces", "weir"] {
        collect(&root().join("crates").join(room).join("src"), &mut lines);
    }
    assert!(lines.len() > 20, "only {} lines were found", lines.len());
    // Parts in brackets or placeholders vary.
    let known = |line: &String| {
        documented.contains(line.split(['(', '{']).next().unwrap_or(line).trim_end())
    };
    let missing: Vec<&String> = lines.iter().filter(|line| !known(line)).collect();
    assert!(missing.is_empty(), "docs/reference/log.md does not explain: {missing:#?}");
}

/// The last string among a call's arguments, which is the message.
fn last_text(call: &str) -> Option<String> {
    let (mut depth, mut last, mut text) = (0, None, None::<String>);
    for next in call.chars() {
        match (next, text.as_mut()) {
            ('"', Some(_)) => last = text.take(),
            (other, Some(text)) => text.push(other),
            ('"', None) => text = Some(String::new()),
            ('(', None) => depth += 1,
            (')', None) if depth == 0 => return last,
            (')', None) => depth -= 1,
            (_, None) => {}
        }
    }
    None
}

/// The messages at `info` and above in all files of `directory`, except those made of variables.
fn collect(directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, lines);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let calls = ["tracing::info!(", "tracing::warn!(", "tracing::error!("]
                .iter()
                .flat_map(|call| text.split(call).skip(1));
            lines.extend(calls.filter_map(last_text).filter(|message| !message.starts_with('{')));
        }
    }
}
