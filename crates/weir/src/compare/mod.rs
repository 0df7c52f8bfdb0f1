//! `weir compare`: the same conversation on every transport, measured at both ends and on the wire, and shown.

mod files;
mod ground;
pub(crate) mod stamped;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use lab::compare::claims::{self, Bilingual};
use lab::compare::plan::{Cell, Plan, cells};
use lab::compare::report::{self, Report};
use lens::namespace::Network;

use crate::cli::compare::CompareArguments;
use crate::cli::output::{self, Meter};
use crate::config::Settings;
use files::Files;
use ground::Ground;

/// Compares.
pub(crate) fn run(settings: &Settings, arguments: &CompareArguments) -> Result<ExitCode> {
    let pace = Duration::from_millis(arguments.pace.unwrap_or(if arguments.quick { 5 } else { 10 }).into());
    // Before any thread is started: a user namespace is entered by whole processes only.
    let network = if arguments.loopback {
        Err("On loopback, as was asked for: segments are as long as 64 KB there, and nothing is ever late.".to_owned())
    } else {
        Network::enter().map_err(|unable| {
            format!("On loopback, since there can be no network of our own: {unable}. Segments are as long as 64 KB there.")
        })
    };
    let ground = Ground::own(settings, pace, network)?;
    let plan = plan(arguments, pace);
    let mut files = Files::create(&arguments.output, ground.interface)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&ground, &plan, &mut files));
    let report = Report { conversation: conversation(arguments, &plan, pace), ..report? };
    let written = files.report(&report)?;
    let is_well = report.disagreements().next().is_none();
    let disagreements = report.disagreements().map(|what| format!("The counts do not agree: {what}"));
    let paths = written.iter().map(|path| path.display().to_string());
    let lines: Vec<String> = std::iter::once(report::table(&report)).chain(disagreements).chain(paths).collect();
    let hints = report.notes.join("\n") + "\n";
    output::print(&output::Printed { out: lines.join("\n") + "\n", hints: if report.notes.is_empty() { String::new() } else { hints } })?;
    ground.close();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures every cell, and gathers evidence.
async fn measure(ground: &Ground, plan: &Plan, files: &mut Files) -> Result<Report> {
    let (mut measured, mut meter) = (Vec::new(), Meter::new("measuring"));
    let all = plan.cells.len() as u64;
    for (done, cell) in plan.cells.iter().enumerate() {
        meter.show(done as u64, Some(all));
        let outcome = ground.bench.measure(*cell, plan).await?;
        if let Some(caught) = &outcome.caught {
            files.packets(*cell, caught, &outcome.key_lines)?;
        }
        measured.push(outcome.measured);
    }
    let (evidence, missing) = claims::gather(&ground.bench, plan, &measured).await;
    meter.done();
    let verdicts = claims::judge(&evidence);
    let notes = ground.notes.iter().cloned().chain(missing).collect();
    Ok(Report {
        program: concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned(),
        at: engine::clock::unix_seconds(),
        machine: format!("{} {}, {} processors", std::env::consts::OS, std::env::consts::ARCH, std::thread::available_parallelism()?),
        place: ground.place(),
        conversation: Bilingual::new("", ""),
        notes,
        cells: measured,
        evidence,
        verdicts,
        ladders: files.ladders(),
    })
}

fn conversation(arguments: &CompareArguments, plan: &Plan, pace: Duration) -> Bilingual {
    let (turns, pace) = (plan.questions.len(), pace.as_millis());
    match (&arguments.text, plan.questions.first()) {
        (None, Some(question)) => {
            let tokens = question.trim_start_matches("/lorem ");
            Bilingual::new(
                format!("Each cell: {turns} questions in one conversation, {tokens} tokens in each answer, one every {pace} ms."),
                format!("每个单元格：同一会话中 {turns} 个问题，每个回答 {tokens} 个 token，每 {pace} 毫秒一个。"),
            )
        }
        _ => Bilingual::new(
            format!("Each cell: {turns} questions in one conversation, a token every {pace} ms."),
            format!("每个单元格：同一会话中 {turns} 个问题，每 {pace} 毫秒一个 token。"),
        ),
    }
}

fn plan(arguments: &CompareArguments, pace: Duration) -> Plan {
    let dialects: Vec<_> = arguments.dialects.iter().map(|name| name.0).collect();
    let transports: Vec<_> = arguments.transports.iter().map(|name| name.0).collect();
    let versions: Vec<_> = arguments.versions.iter().map(|name| name.0).collect();
    let cells: Vec<Cell> = cells(&dialects, &transports, &versions, arguments.encrypted.each());
    let turns = arguments.turns.unwrap_or(if arguments.quick { 3 } else { 5 });
    let question = match &arguments.text {
        Some(text) => format!("/echo {text}"),
        None => format!("/lorem {}", arguments.tokens.unwrap_or(if arguments.quick { 12 } else { 40 })),
    };
    let questions = (0..turns).map(|_| question.clone()).collect();
    Plan { cells, questions, model: arguments.model.clone(), pace: Some(pace), experiments: true }
}
