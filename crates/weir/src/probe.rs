//! `weir probe`: examines a streaming endpoint and prints what was found.

mod progress;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::Trust;
use probe::canvas::Colours;
use probe::check::Check;
use probe::dialect::Credentials;
use probe::examine::{Chosen, Plan, examine};
use probe::measure::Transport;
use probe::render::{Style, render};
use probe::target::Ask;
use probe::text::Language;
use probe::threshold::{Judgement, Threshold};
use protocol::visible::visible_json;

use crate::cli::output::{self, Printed};
use crate::cli::probe::{CheckName, LanguageName, ProbeArguments, TransportName};
use progress::ProgressLine;

/// Something was found, or a threshold was crossed.
const EXIT_FOUND: u8 = 1;

/// The arguments are wrong, or nothing was reached.
const EXIT_UNUSABLE: u8 = 2;

/// The silences that the check idle tries: those at which usual timeouts lie.
const SILENCES: [u64; 4] = [15, 30, 60, 120];

/// Runs the command.
pub(crate) fn run(arguments: &ProbeArguments) -> ExitCode {
    run_probe(arguments).unwrap_or_else(|error| {
        output::complain(&format_args!("weir: {error:#}"));
        ExitCode::from(EXIT_UNUSABLE)
    })
}

fn run_probe(arguments: &ProbeArguments) -> Result<ExitCode> {
    let plan = plan(arguments)?;
    let language = language(arguments.lang);
    // One thread: what stalls it shows in the measurement and in the watch for stalls alike.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let progress = ProgressLine::start(language);
        let shown = |text: &probe::text::Text| progress.show(text);
        examine(&plan, &shown).await
    })?;
    let thresholds: Vec<(Threshold, Judgement)> = arguments
        .fail_if
        .iter()
        .map(|threshold| (threshold.clone(), threshold.judge(&report)))
        .collect();
    if arguments.json {
        let document = format!("{:#}\n", probe::json::document(&report, &thresholds));
        output::write_out(&visible_json(&document))?;
    } else {
        let is_coloured = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let colours = if is_coloured { Colours::On } else { Colours::Off };
        let text = render(&report, &thresholds, Style { language, colours });
        match colours {
            Colours::On => output::write_out(&text)?,
            Colours::Off => output::print(&Printed { out: text, hints: String::new() })?,
        }
    }
    let is_kept = thresholds.iter().all(|(_, judgement)| *judgement == Judgement::Kept);
    let is_good = report.is_clean() && is_kept;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FOUND) })
}

fn plan(arguments: &ProbeArguments) -> Result<Plan> {
    let transports = transports(&arguments.transports);
    let transports_chosen =
        if arguments.transports.is_empty() { Chosen::ByDefault } else { Chosen::ByUser };
    let checks_chosen = if arguments.checks.is_empty() && !arguments.deep {
        Chosen::ByDefault
    } else {
        Chosen::ByUser
    };
    let trust = arguments.fingerprint.clone().map_or(Trust::System, Trust::Fingerprint);
    let silences = if arguments.idle.is_empty() { &SILENCES[..] } else { &arguments.idle };
    let ask = Ask {
        credentials: Credentials { key: key(arguments)?, headers: arguments.headers.clone() },
        model: arguments.model.clone(),
        body: body(arguments.body.as_deref())?,
    };
    Ok(Plan {
        edge: arguments.url.clone(),
        origin: arguments.origin.clone(),
        trust,
        ask,
        transports,
        transports_chosen,
        checks: checks(arguments),
        checks_chosen,
        silences: silences.iter().copied().map(Duration::from_secs).collect(),
        runs: arguments.runs.into(),
        timeout: Duration::from_secs(arguments.timeout),
        longest: Duration::from_secs(arguments.longest),
    })
}

fn transports(names: &[TransportName]) -> Vec<Transport> {
    if names.is_empty() || names.contains(&TransportName::Auto) {
        return vec![Transport::Sse, Transport::Ndjson, Transport::WebSocket];
    }
    let transport = |name: &TransportName| match name {
        TransportName::Auto | TransportName::Sse => Transport::Sse,
        TransportName::Ndjson => Transport::Ndjson,
        TransportName::Websocket => Transport::WebSocket,
    };
    names.iter().map(transport).collect()
}

fn checks(arguments: &ProbeArguments) -> Vec<Check> {
    let named = |name: &CheckName| match name {
        CheckName::Buffering => Check::Buffering,
        CheckName::Framing => Check::Framing,
        CheckName::Resume => Check::Resume,
        CheckName::Stop => Check::Stop,
        CheckName::Truncation => Check::Truncation,
        CheckName::Connections => Check::Connections,
        CheckName::Idle => Check::Idle,
    };
    let wants_idle = arguments.deep || !arguments.idle.is_empty();
    let mut checks: Vec<Check> = if arguments.checks.is_empty() {
        Check::ALL.into_iter().filter(|check| *check != Check::Idle).collect()
    } else {
        arguments.checks.iter().map(named).collect()
    };
    if wants_idle && !checks.contains(&Check::Idle) {
        checks.push(Check::Idle);
    }
    checks
}

/// The key, which is read from a variable so that no list of processes shows it.
fn key(arguments: &ProbeArguments) -> Result<Option<String>> {
    let Some(variable) = &arguments.key_env else { return Ok(None) };
    match std::env::var(variable) {
        Ok(key) if key.bytes().all(|byte| byte.is_ascii_graphic()) && !key.is_empty() => {
            Ok(Some(key))
        }
        Ok(_) => bail!("--key-env {variable}: the variable holds no key"),
        Err(_) => bail!("--key-env {variable}: there is no such environment variable"),
    }
}

fn body(text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text else { return Ok(None) };
    match text.strip_prefix('@') {
        None => Ok(Some(text.to_owned())),
        Some(file) => {
            let read = std::fs::read_to_string(file).with_context(|| format!("--body @{file}"))?;
            Ok(Some(read))
        }
    }
}

/// The language that was asked for, or that of the locale (POSIX, section 8.2).
fn language(name: Option<LanguageName>) -> Language {
    match name {
        Some(LanguageName::En) => Language::English,
        Some(LanguageName::Zh) => Language::Chinese,
        None => {
            let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            let locale = set("LC_ALL").or_else(|| set("LC_MESSAGES")).or_else(|| set("LANG"));
            let is_chinese = locale.is_some_and(|locale| locale.starts_with("zh"));
            if is_chinese { Language::Chinese } else { Language::English }
        }
    }
}
