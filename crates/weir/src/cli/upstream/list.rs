//! `weir upstream list`: the configured upstreams, and their state in a running server.

use anyhow::Result;
use engine::secret::Secret;
use provider::config::{RouteConfig, Strategy, UpstreamConfig};
use serde_json::{Value, json};

use super::super::output::{Printed, columns};
use super::{ListArguments, address, wire};
use crate::chat;
use crate::config;
use crate::config::settings::Settings;

/// Lists the upstreams.
pub(super) async fn run(settings: &Settings, arguments: &ListArguments) -> Result<Printed> {
    let running = Running::ask(settings).await;
    if arguments.json {
        let out = format!("{:#}\n", document(settings, &running));
        return Ok(Printed { out, hints: running.hint });
    }
    let upstreams = &settings.provider.upstreams;
    let demo = settings.provider.demo.enabled.then(|| {
        ["demo", "demo", "", "(in the server itself)", "", provider::demo::MODEL, ""]
            .map(str::to_owned)
    });
    let mut out = String::new();
    if demo.is_some() || !upstreams.is_empty() {
        let heading = ["name", "kind", "wire", "address", "keys", "models", running.heading()]
            .map(str::to_owned);
        let rows = upstreams.iter().map(|config| row(config, &running));
        out += &columns(&[heading].into_iter().chain(demo).chain(rows).collect::<Vec<_>>());
    }
    if !settings.provider.routes.is_empty() {
        let heading = ["route", "strategy", "upstreams"].map(str::to_owned);
        out.push('\n');
        out += &columns(
            &[heading]
                .into_iter()
                .chain(settings.provider.routes.iter().map(route))
                .collect::<Vec<_>>(),
        );
    }
    let none = if upstreams.is_empty() {
        "There is no upstream except the demo; docs/how-to/upstreams.md explains how to add one.\n"
    } else {
        ""
    };
    Ok(Printed { out, hints: format!("{none}{}", running.hint) })
}

/// The state reported by the server at the configured address.
struct Running {
    address: Option<String>,
    upstreams: Vec<Value>,
    /// Why there is none.
    hint: String,
}

impl Running {
    async fn ask(settings: &Settings) -> Self {
        let silent = |hint: String| Self { address: None, upstreams: Vec::new(), hint };
        let key =
            std::env::var(config::API_KEY).ok().filter(|key| !key.is_empty()).map(Secret::new);
        let server = match chat::configured(settings, None, key).await {
            Ok(Some(server)) => server,
            Ok(None) => {
                return silent(format!(
                    "No server listens on {}, so the state of the upstreams is unknown.\n",
                    settings.server.listen
                ));
            }
            Err(error) => {
                return silent(format!(
                    "The server on {} cannot be queried for the state of the upstreams: {error:#}\n",
                    settings.server.listen
                ));
            }
        };
        match server.json(&server.request("GET", "/v1/upstreams")).await {
            Ok(list) => {
                let upstreams = list["data"].as_array().cloned().unwrap_or_default();
                Self { address: Some(server.address()), upstreams, hint: String::new() }
            }
            Err(trouble) => silent(format!(
                "The server on {} does not provide the state of the upstreams: {trouble}\n",
                server.address()
            )),
        }
    }

    fn of(&self, name: &str) -> Option<&Value> {
        self.upstreams.iter().find(|upstream| upstream["id"] == name)
    }

    fn heading(&self) -> &'static str {
        if self.address.is_some() { "state" } else { "" }
    }

    /// A short description of the state of an upstream.
    fn state(&self, name: &str) -> String {
        let Some(state) = self.of(name) else {
            return if self.address.is_some() {
                "not known to the running server".to_owned()
            } else {
                String::new()
            };
        };
        let circuit = match (state["circuit"].as_str(), state["circuit_seconds"].as_u64()) {
            (Some("open"), Some(seconds)) => format!("circuit open for {seconds} s, "),
            (Some("half_open"), _) => "probing, ".to_owned(),
            (Some(_) | None, _) => String::new(),
        };
        let waiting = match state["waiting"].as_u64() {
            Some(0) | None => String::new(),
            Some(count) => format!(", {count} waiting"),
        };
        format!("{circuit}{} running{waiting}", state["running"])
    }

    /// The state of a key; `None` if it is well or unknown.
    fn key(&self, name: &str, label: &str) -> Option<String> {
        let keys = self.of(name)?["keys"].as_array()?;
        let key = keys.iter().find(|key| key["label"] == label)?;
        let state = key["state"].as_str().filter(|state| *state != "well")?;
        Some(
            key["state_seconds"]
                .as_u64()
                .map_or_else(|| state.to_owned(), |seconds| format!("{state} for {seconds} s")),
        )
    }
}

fn row(config: &UpstreamConfig, running: &Running) -> [String; 7] {
    let key = |label: &str| match running.key(&config.name, label) {
        Some(state) => format!("{label} ({state})"),
        None => label.to_owned(),
    };
    let keys: Vec<String> = config.keys.iter().map(|one| key(&one.label)).collect();
    let or_else = |list: Vec<String>, otherwise: &str| {
        if list.is_empty() { otherwise.to_owned() } else { list.join(", ") }
    };
    [
        config.name.clone(),
        config.preset.word().to_owned(),
        wire(config).to_owned(),
        address(config),
        or_else(keys, "(none)"),
        or_else(config.models.clone(), "(what it lists)"),
        running.state(&config.name),
    ]
}

fn route(route: &RouteConfig) -> [String; 3] {
    let is_weighed = route.upstreams.iter().any(|target| target.weight != 1);
    let target = |target: &provider::config::TargetConfig| {
        let model = target.model.as_ref().map(|model| format!(":{model}")).unwrap_or_default();
        let weight =
            if is_weighed { format!(" (weight {})", target.weight) } else { String::new() };
        format!("{}{model}{weight}", target.upstream)
    };
    let targets: Vec<String> = route.upstreams.iter().map(target).collect();
    [route.model.clone(), strategy(route.strategy).to_owned(), targets.join(", ")]
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Order => "order",
        Strategy::Random => "random",
        Strategy::RoundRobin => "round_robin",
        Strategy::LeastBusy => "least_busy",
    }
}

fn document(settings: &Settings, running: &Running) -> Value {
    let upstream = |config: &UpstreamConfig| {
        json!({
            "name": config.name,
            "kind": config.preset.word(),
            "wire": wire(config),
            "address": address(config),
            "keys": config.keys.iter().map(|key| &*key.label).collect::<Vec<_>>(),
            "models": (!config.models.is_empty()).then_some(&config.models),
            "state": running.of(&config.name),
        })
    };
    let route = |route: &RouteConfig| {
        let target = |target: &provider::config::TargetConfig| json!({ "upstream": target.upstream, "model": target.model, "weight": target.weight });
        let targets: Vec<Value> = route.upstreams.iter().map(target).collect();
        json!({ "model": route.model, "strategy": strategy(route.strategy), "upstreams": targets })
    };
    json!({
        "server": running.address,
        "demo": settings.provider.demo.enabled,
        "upstreams": settings.provider.upstreams.iter().map(upstream).collect::<Vec<_>>(),
        "routes": settings.provider.routes.iter().map(route).collect::<Vec<_>>(),
    })
}
