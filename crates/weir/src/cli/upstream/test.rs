//! `weir upstream test`: calls every upstream with each of its keys, as the server would.

use std::time::Duration;

use anyhow::{Result, bail};
use protocol::visible::visible_in_line;
use provider::config::{KeyConfig, UpstreamConfig};
use provider::upstream::{Answered, Trouble, Upstream};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::output::Printed;
use super::words::{self, Finding};
use super::{CheckOutcome, TestArguments, address, label};
use crate::config::settings::Settings;

/// The longest wait for a head: loading a model may take this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shorter than the timeout of a list of models, so that an error shows which of the two was too
/// slow.
const CONNECTING: Duration = Duration::from_secs(4);

/// The result of testing one key.
struct Tried {
    key: String,
    /// The number of models listed, and how long that took.
    listed: Option<(usize, Duration)>,
    /// The model that was called, and its result.
    answered: Option<(String, Answered)>,
    finding: Option<Finding>,
}

/// Tests the upstreams.
pub(super) async fn run(settings: &Settings, arguments: &TestArguments) -> Result<CheckOutcome> {
    let all = &settings.provider.upstreams;
    if let Some(unknown) =
        arguments.names.iter().find(|name| !all.iter().any(|config| config.name == **name))
    {
        let known: Vec<&str> = all.iter().map(|config| config.name.as_str()).collect();
        bail!(
            "there is no upstream {unknown:?}; there {}",
            if known.is_empty() {
                "is none".to_owned()
            } else {
                format!("is {}", known.join(", "))
            }
        );
    }
    let chosen = all
        .iter()
        .filter(|config| arguments.names.is_empty() || arguments.names.contains(&config.name));
    let mut tested = Vec::new();
    for config in chosen {
        let model = arguments.model.as_ref().and_then(|model| model_at(settings, config, model));
        let keys: Vec<Option<&KeyConfig>> = if config.keys.is_empty() {
            vec![None]
        } else {
            config.keys.iter().map(Some).collect()
        };
        let mut tries = Vec::new();
        for key in keys {
            tries.push(try_key(config, key, model.as_deref()).await);
        }
        tested.push((config, tries));
    }
    let is_well = tested.iter().all(|(_, tries)| tries.iter().all(|tried| tried.finding.is_none()));
    let hints = if tested.is_empty() {
        "There is no upstream to test: the demo needs none.\n".to_owned()
    } else {
        String::new()
    };
    let out = if arguments.json {
        let upstreams: Vec<Value> =
            tested.iter().map(|(config, tries)| document(config, tries)).collect();
        format!("{:#}\n", json!({ "ok": is_well, "upstreams": upstreams }))
    } else {
        tested.iter().map(|(config, tries)| text(config, tries)).collect()
    };
    Ok(CheckOutcome { printed: Printed { out, hints }, is_well })
}

/// The name of a model at an upstream; `None` if a route sends it elsewhere.
fn model_at(settings: &Settings, config: &UpstreamConfig, model: &str) -> Option<String> {
    let Some(route) = settings.provider.routes.iter().find(|route| route.model == model) else {
        return Some(model.to_owned());
    };
    let target = route.upstreams.iter().find(|target| target.upstream == config.name)?;
    Some(target.model.clone().unwrap_or_else(|| model.to_owned()))
}

async fn try_key(config: &UpstreamConfig, key: Option<&KeyConfig>, model: Option<&str>) -> Tried {
    let mut alone = config.clone();
    alone.keys = key.cloned().into_iter().collect();
    alone.timeouts.connect = alone.timeouts.connect.min(CONNECTING);
    alone.timeouts.headers = alone.timeouts.headers.min(PATIENCE);
    let tried =
        |listed, answered, finding| Tried { key: label(key).to_owned(), listed, answered, finding };
    let upstream = match Upstream::new(&alone) {
        Ok(upstream) => upstream,
        Err(error) => return tried(None, None, Some(Finding::unusable(&error))),
    };
    let begun = Instant::now();
    let (listed, unlisted) = match upstream.probe().await {
        Ok(models) => (Some((models.len(), begun.elapsed())), None),
        Err(trouble) => (None, Some(trouble)),
    };
    // Some upstreams have no list and work nevertheless; after a failed connection or a rejected
    // key further calls are pointless.
    let has_no_list = unlisted.as_ref().is_none_or(|trouble| match trouble {
        Trouble::Refused(refusal) => matches!(refusal.status, 403..=405 | 501),
        Trouble::Unparsed { .. } => true,
        Trouble::Connect(_) | Trouble::Failed(_) | Trouble::Unsupported(_) => false,
    });
    let finding = |trouble: &Trouble, model| Some(words::finding(config, key, trouble, model));
    match (model.filter(|_| has_no_list), unlisted) {
        (Some(model), _) => match upstream.probe_answer(model, PATIENCE).await {
            Ok(answered) => tried(listed, Some((model.to_owned(), answered)), None),
            Err(trouble) => tried(listed, None, finding(&trouble, Some(model))),
        },
        (None, Some(trouble)) => tried(None, None, finding(&trouble, None)),
        (None, None) => tried(listed, None, None),
    }
}

fn text(config: &UpstreamConfig, tries: &[Tried]) -> String {
    let head = format!("{} ({})\n", config.name, address(config));
    std::iter::once(head).chain(tries.iter().map(line)).collect()
}

/// The report on one key: a line with the result, and one with advice.
fn line(tried: &Tried) -> String {
    let listed = tried.listed.map(|(count, took)| {
        let ending = if count == 1 { "" } else { "s" };
        format!("it lists {count} model{ending} ({} ms)", took.as_millis())
    });
    let answered = tried.answered.as_ref().map(|(model, answered)| {
        let (first, total) = (answered.first_token.as_millis(), answered.total.as_millis());
        format!("{model} began to answer after {first} ms and ended after {total} ms")
    });
    let (word, what, advice) = match &tried.finding {
        None => ("well", None, String::new()),
        Some(finding) => (
            "FAILED",
            Some(visible_in_line(&finding.what).into_owned()),
            format!("    {}\n", visible_in_line(&finding.advice)),
        ),
    };
    let said: Vec<String> = [listed, answered, what].into_iter().flatten().collect();
    format!("  {}: {word}: {}\n{advice}", tried.key, said.join("; "))
}

fn document(config: &UpstreamConfig, tries: &[Tried]) -> Value {
    let key = |tried: &Tried| {
        json!({
            "key": tried.key,
            "ok": tried.finding.is_none(),
            "code": tried.finding.as_ref().map(|finding| &finding.code),
            "message": tried.finding.as_ref().map(|finding| &finding.what),
            "advice": tried.finding.as_ref().map(|finding| &finding.advice),
            "models": tried.listed.map(|(count, _)| count),
            "model": tried.answered.as_ref().map(|(model, _)| model),
            "first_token_ms": tried.answered.as_ref().map(|(_, answered)| milliseconds(answered.first_token)),
            "total_ms": tried.answered.as_ref().map(|(_, answered)| milliseconds(answered.total)),
        })
    };
    json!({ "name": config.name, "address": address(config), "keys": tries.iter().map(key).collect::<Vec<_>>() })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
