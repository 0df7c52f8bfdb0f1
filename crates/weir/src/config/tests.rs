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

mod problems;
mod table;
mod upstreams;

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
            "--tls-key: server.tls_key: the certificate is missing; set server.tls_cert (--tls-cert) as well"
        ]
    );
    let alone = complaints(settings(&[], &environment(&[]), Some(&file)));
    assert_eq!(
        alone,
        [
            "etc/weir.toml:2:12: server.tls_cert: the key is missing; set server.tls_key (--tls-key) as well"
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
    let source = PathBuf::from("/home/ada/.local/share/weir");
    assert_eq!(settings(&[], &environment(&[]), None)?.data, DataLocation::Directory(source));
    let homeless = complaints(settings(&[], &Environment::new(), None));
    assert_eq!(
        homeless,
        [
            "data: there is no home directory to keep it in; set --data DIR, or --data :memory: to keep nothing"
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
