//! `weir compare`: the same conversation on every transport, measured at both ends and on the wire.

mod capture_file;
mod files;
mod local_server;
mod stamped;
mod testbed;

use std::num::NonZero;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::{Request, Trust};
use lab::bilingual::Bilingual;
use lab::claims::gather::{EXPERIMENTS, gather};
use lab::claims::judge::judge;
use lab::claims::packets::PacketSet;
use lab::load::{LoadMeter, MachineLoad};
use lab::numbers::Measured;
use lab::plan::{Cell, Plan, cells};
use lab::repeat::{CellRuns, order};
use lab::report::data::Report;
use lab::report::table::table;
use lab::run::RunKind;
use lens::namespace::NamespaceNetwork;
use lens::namespace::link::settings::LinkSettings;
use provider::demo;
use serde_json::Value;

use crate::address::Address;
use crate::cli::compare::CompareArguments;
use crate::cli::output::{self, ProgressMeter};
use crate::config;
use crate::config::settings::Settings;
use capture_file::Authentication;
use files::ComparisonFiles;
use testbed::{LocalOptions, TestBed};

/// The program in the report. The processor times of a debug build are not those of a release.
const PROGRAM: &str = if cfg!(debug_assertions) {
    concat!("weir ", env!("CARGO_PKG_VERSION"), " (debug build)")
} else {
    concat!("weir ", env!("CARGO_PKG_VERSION"))
};

/// Runs the comparison and prints its result.
pub(crate) fn run(settings: &Settings, arguments: &CompareArguments) -> Result<ExitCode> {
    let pace = Duration::from_millis(
        arguments.pace.unwrap_or(if arguments.quick { 5 } else { 10 }).into(),
    );
    // Before any thread starts: only a process with a single thread can enter a user namespace.
    let network = network(arguments);
    if let (Err(why), true) = (&network, path(arguments) != LinkSettings::default()) {
        bail!("there can be no delay and no bandwidth: {}", why.en);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut testbed, model) = match (&arguments.server, network) {
        (Some(url), _) => runtime.block_on(elsewhere(url, arguments))?,
        (None, network) => (
            TestBed::own(settings, LocalOptions { network, path: path(arguments), pace })?,
            demo::MODEL.to_owned(),
        ),
    };
    let plan = plan(arguments, pace, &testbed, model);
    if plan.cells.is_empty() {
        bail!(
            "there is no such cell: a WebSocket needs HTTP/1.1 at least, and --encrypted must fit the server (see --help)"
        );
    }
    // A response takes as long as the model's pace, and some experiments have two.
    testbed.harness.timeout += 2 * pace * u32::from(tokens(arguments));
    let authentication =
        if testbed.harness.key.is_some() { Authentication::Key } else { Authentication::None };
    let mut files = ComparisonFiles::create(&arguments.output, testbed.interface, authentication)?;
    let report = runtime.block_on(measure(&testbed, &plan, &mut files));
    let report = Report { conversation: conversation(arguments, &plan, pace), ..report? };
    let written = files.report(&report)?;
    let is_well = report.disagreements().next().is_none()
        && report.cells.iter().all(|cell| cell.failed.is_none());
    let disagreements =
        report.disagreements().map(|what| format!("The counts do not agree: {what}"));
    let paths = written.iter().map(|path| path.display().to_string());
    let lines: Vec<String> = std::iter::once(table(&report, output::width()))
        .chain(disagreements)
        .chain(paths)
        .collect();
    let notes: Vec<&str> = report.notes.iter().map(|note| note.en.as_str()).collect();
    let hints = if notes.is_empty() { String::new() } else { notes.join("\n") + "\n" };
    output::print(&output::Printed { out: lines.join("\n") + "\n", hints })?;
    testbed.close();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The private network, or why there is none.
fn network(arguments: &CompareArguments) -> Result<NamespaceNetwork, Bilingual> {
    match (&arguments.server, arguments.loopback) {
        (Some(_), _) => Err(Bilingual::new("", "")),
        (None, true) => Err(Bilingual::new(
            "On loopback, as was asked for: segments are as long as 64 KB there, and nothing is ever late or lost.",
            "按要求在回环接口上测量：那里的报文段可长达 64 KB，也没有延迟和丢失。",
        )),
        (None, false) => NamespaceNetwork::enter().map_err(|error| {
            Bilingual::new(
                format!("On loopback, since there can be no network of our own: {error}. Segments are as long as 64 KB there, and nothing is ever late or lost."),
                format!("无法建立独立网络，因此在回环接口上测量：{error}。那里的报文段可长达 64 KB，也没有延迟和丢失。"),
            )
        }),
    }
}

/// The delay and bandwidth of the path.
fn path(arguments: &CompareArguments) -> LinkSettings {
    let kilobytes =
        arguments.bandwidth.and_then(|kilobytes| NonZero::new(kilobytes.saturating_mul(1000)));
    LinkSettings {
        delay: Duration::from_millis(arguments.delay.unwrap_or(0).into()),
        bytes_per_second: kilobytes,
    }
}

/// The given server, and the model to use there.
async fn elsewhere(url: &str, arguments: &CompareArguments) -> Result<(TestBed, String)> {
    let place = Address::read(url)?;
    let trust = arguments.fingerprint.clone().map_or(Trust::System, Trust::Fingerprint);
    let key = arguments
        .key
        .clone()
        .or_else(|| std::env::var(config::API_KEY).ok())
        .filter(|key| !key.is_empty());
    let testbed = TestBed::elsewhere(&place, trust, key).await?;
    if let Some(model) = &arguments.model {
        return Ok((testbed, model.clone()));
    }
    let mut control = testbed.harness.control(place.is_encrypted)?;
    let listing = client::soon(control.fetch(Request::get("/v1/models"), 200))
        .await
        .and_then(|listing| listing);
    let hint = if place.is_encrypted {
        "; if you know its certificate, trust it by --fingerprint and its SHA-256"
    } else {
        ""
    };
    let models: Value =
        serde_json::from_slice(&listing.with_context(|| format!("{place}{hint}"))?)?;
    let model = models["data"][0]["id"]
        .as_str()
        .context("the server names no model: say --model")?
        .to_owned();
    Ok((testbed, model))
}

/// Measures every cell, and gathers the evidence.
async fn measure(testbed: &TestBed, plan: &Plan, files: &mut ComparisonFiles) -> Result<Report> {
    let average_before = MachineLoad::average();
    let load = LoadMeter::start();
    let mut meter = ProgressMeter::new("measuring");
    testbed.harness.warm_up(plan).await.context("the first connection")?;
    let measured = measure_cells(testbed, plan, files, &mut meter).await?;
    let all = steps(plan) + EXPERIMENTS;
    let mut done = steps(plan);
    let mut written = Ok(());
    let mut step = |packets: Option<PacketSet>| {
        done += 1;
        meter.show(done, Some(all));
        if let (Some(packets), Ok(())) = (packets, &written) {
            written = files.experiment(&packets);
        }
    };
    let (evidence, missing) = gather(&testbed.harness, plan, &measured, &mut step).await;
    meter.done();
    written?;
    let mut verdicts = judge(&evidence);
    files.cite(&mut verdicts);
    let missing = missing
        .into_iter()
        .map(|what| Bilingual::new(format!("Not measured: {what}."), format!("未测量：{what}。")));
    let of_cells = measured.iter().flat_map(of_cell);
    let notes = testbed.notes.iter().cloned().chain(missing).chain(of_cells).collect();
    let processors = std::thread::available_parallelism()?.get();
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    Ok(Report {
        program: PROGRAM.to_owned(),
        at: engine::clock::unix_seconds(),
        machine: Bilingual::new(
            format!("{system} {architecture}, {processors} processors"),
            format!("{system} {architecture}，{processors} 个处理器"),
        ),
        load: MachineLoad::of(processors, average_before, load.others_share(), &measured),
        place: testbed.place(),
        conversation: Bilingual::new("", ""),
        notes,
        cells: measured,
        evidence,
        verdicts,
        ladders: files.ladders(),
    })
}

/// The runs of all cells.
fn steps(plan: &Plan) -> u64 {
    (plan.cells.len() * plan.runs) as u64
}

/// Measures every cell several times. The packets of the first run are kept.
async fn measure_cells(
    testbed: &TestBed,
    plan: &Plan,
    files: &mut ComparisonFiles,
    meter: &mut ProgressMeter,
) -> Result<Vec<Measured>> {
    let mut cells: Vec<CellRuns> = plan.cells.iter().map(|_| CellRuns::default()).collect();
    let (mut place, all) = (0, steps(plan) + EXPERIMENTS);
    let mut once = async |cell: Cell, kind: RunKind| {
        let load = LoadMeter::start();
        let mut outcome = testbed.harness.measure(cell, plan, kind).await;
        (outcome.run.place, outcome.run.others_share) = (place, load.others_share());
        place += 1;
        meter.show(place.min(steps(plan)), Some(all));
        outcome
    };
    for run in 0..plan.runs {
        let kind = if run == 0 { RunKind::First } else { RunKind::Again };
        for index in order(plan.cells.len(), run, plan.runs) {
            if cells[index].has_failed() {
                continue;
            }
            let outcome = once(plan.cells[index], kind).await;
            if run == 0 {
                files.cell(plan.cells[index], &outcome.packets)?;
            }
            cells[index].add(outcome);
        }
    }
    for (cell, runs) in plan.cells.iter().zip(&mut cells) {
        if runs.has_outlier() {
            runs.add_repetition(once(*cell, RunKind::Again).await);
        }
    }
    Ok(cells.into_iter().map(CellRuns::measured).collect())
}

/// Notes on what could not be measured in a cell.
fn of_cell(measured: &Measured) -> impl Iterator<Item = Bilingual> {
    let cell = measured.cell.map(|cell| cell.to_string()).unwrap_or_default();
    measured.missing.iter().map(move |what| {
        Bilingual::new(
            format!("{cell}: not measured: {what}."),
            format!("{cell}：未测量：{what}。"),
        )
    })
}

fn conversation(arguments: &CompareArguments, plan: &Plan, pace: Duration) -> Bilingual {
    let (turns, runs) = (plan.questions.len(), plan.runs);
    let (pace_en, pace_zh) = match plan.pace {
        Some(_) => (
            format!(", a token every {} ms", pace.as_millis()),
            format!("，每 {} 毫秒一个 token", pace.as_millis()),
        ),
        None => (format!("; the model is {}", plan.model), format!("；模型是 {}", plan.model)),
    };
    let tokens = plan
        .questions
        .first()
        .and_then(|question| question.strip_prefix("/lorem "))
        .filter(|_| arguments.text.is_none());
    let (tokens_en, tokens_zh) = match tokens {
        Some(tokens) => {
            (format!(", {tokens} tokens in each answer"), format!("，每个回答 {tokens} 个 token"))
        }
        None => (String::new(), String::new()),
    };
    Bilingual::new(
        format!(
            "Each cell, a combination of API, transport and version of HTTP: {turns} questions in one conversation{tokens_en}{pace_en}; measured in {runs} runs. \
             Counts and bytes are those of the first run, times are of all."
        ),
        format!(
            "每个组合（API、传输方式与 HTTP 版本）：同一会话中 {turns} 个问题{tokens_zh}{pace_zh}；共测量 {runs} 轮。计数与字节数取自第一轮，时间取自全部各轮。"
        ),
    )
}

/// The number of tokens of each answer.
fn tokens(arguments: &CompareArguments) -> u16 {
    arguments.tokens.unwrap_or(if arguments.quick { 12 } else { 40 })
}

fn plan(arguments: &CompareArguments, pace: Duration, testbed: &TestBed, model: String) -> Plan {
    let dialects: Vec<_> = arguments.dialects.iter().map(|name| name.0).collect();
    let transports: Vec<_> = arguments.transports.iter().map(|name| name.0).collect();
    let versions: Vec<_> = arguments.versions.iter().map(|name| name.0).collect();
    let (has_clear, has_tls) =
        (testbed.harness.clear.is_some(), testbed.harness.encrypted.is_some());
    let tls: Vec<bool> = arguments
        .encrypted
        .each()
        .iter()
        .copied()
        .filter(|tls| if *tls { has_tls } else { has_clear })
        .collect();
    let cells: Vec<Cell> = cells(&dialects, &transports, &versions, &tls);
    let turns = arguments.turns.unwrap_or(if arguments.quick { 3 } else { 5 });
    let tokens = tokens(arguments);
    let is_demo = model == demo::MODEL;
    // Long enough for a path with a delay.
    let round_trips = Duration::from_millis(arguments.delay.unwrap_or(0).into()) * 12;
    let long = 150 + round_trips.as_millis() / pace.as_millis().max(1);
    let question = match &arguments.text {
        Some(text) if is_demo => format!("/echo {text}"),
        Some(text) => text.clone(),
        None if is_demo => format!("/lorem {tokens}"),
        None => format!("Count from 1 to {tokens} in English words, nothing else."),
    };
    let questions = (0..turns).map(|_| question.clone()).collect();
    let long_question = if is_demo {
        format!("/lorem {long}")
    } else {
        format!("Count from 1 to {long} in English words, nothing else.")
    };
    // A server elsewhere may cost money.
    let runs = arguments.runs.unwrap_or(match (&arguments.server, arguments.quick) {
        (Some(_), _) => 1,
        (None, true) => 2,
        (None, false) => 3,
    });
    Plan {
        cells,
        runs: runs.into(),
        questions,
        model,
        pace: Some(pace).filter(|_| arguments.server.is_none()),
        long_question,
    }
}
