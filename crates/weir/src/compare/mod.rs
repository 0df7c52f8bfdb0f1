//! `weir compare`: the same conversation on every transport, measured at both ends and on the wire, and shown.

mod ground;
pub(crate) mod stamped;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use lab::compare::plan::{Cell, Plan, cells};
use lens::namespace::Network;

use crate::cli::compare::CompareArguments;
use crate::cli::output;
use crate::config::Settings;
use ground::Ground;

/// Compares.
pub(crate) fn run(settings: Settings, arguments: &CompareArguments) -> Result<ExitCode> {
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut measured = Vec::new();
        for cell in &plan.cells {
            let outcome = ground.bench.measure(*cell, &plan).await?;
            output::write_out(&format!("{}\n", serde_json::to_string(&outcome.measured)?))?;
            measured.push(outcome.measured);
        }
        let (evidence, missing) = lab::compare::claims::gather(&ground.bench, &plan, &measured).await;
        output::write_out(&format!("{}\n{missing:?}\n", serde_json::to_string_pretty(&evidence)?))?;
        for verdict in lab::compare::claims::judge(&evidence) {
            output::write_out(&format!("{} {:?}\n  {}\n  {}\n", verdict.id, verdict.ruling, verdict.claim.en, verdict.evidence.en))?;
        }
        anyhow::Ok(())
    })?;
    ground.close();
    Ok(ExitCode::SUCCESS)
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
