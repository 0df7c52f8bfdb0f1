//! The matrix: every provider, in every dialect and frame, in every case; and the table of it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use futures_util::stream::{StreamExt, iter};
use lab::upstream::Vendor;

use super::cases::{self, Case};
use super::cells::{self, WAYS, Way};
use super::vendors::{Patience, Vendors, model};
use crate::house::Plan;
use crate::scenarios::table::Outcome;

/// How many cells run at once: enough that those which wait cost nothing.
const AT_ONCE: usize = 64;

#[tokio::test]
async fn every_provider_in_every_dialect_and_frame() {
    let began = lab::now();
    let cases: Vec<(Vendor, Arc<Case>)> =
        Vendor::ALL.into_iter().flat_map(|vendor| cases::of(vendor).into_iter().map(move |case| (vendor, Arc::new(case)))).collect();
    let models = cases.iter().filter(|(vendor, _)| *vendor == Vendor::OpenAi);
    let models: Vec<(&str, Patience)> = models.map(|(_, case)| (case.scenario.name.as_str(), case.patience)).collect();
    let vendors = Arc::new(Vendors::open_with(Plan::default(), &models, |_| {}).await);
    for (vendor, case) in &cases {
        vendors.fake(*vendor).default_script_for_model(&model(*vendor, &case.scenario.name), case.scenario.script.clone());
    }
    let cells = cases.iter().flat_map(|(vendor, case)| WAYS.into_iter().map(move |way| (*vendor, Arc::clone(case), way)));
    let results: Vec<bool> = iter(cells)
        .map(|(vendor, case, way)| {
            let vendors = Arc::clone(&vendors);
            // A cell that fails takes none of the others with it.
            let cell = tokio::spawn(async move { cells::check(&vendors.house, vendor, &case, way).await });
            async { cell.await.is_ok() }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let failed = results.iter().filter(|passed| !**passed).count();
    let mut table = table(&cases, &results);
    let seconds = began.elapsed().as_secs_f64();
    writeln!(table, "{} cells, {failed} failed, {seconds:.1} s", results.len()).unwrap();
    // Not by `eprintln`, which would be heard only when the test fails.
    std::io::stderr().write_all(table.as_bytes()).unwrap();
    assert_eq!(failed, 0);
    for (vendor, case) in &cases {
        check_requests(&vendors, *vendor, case);
    }
    Arc::into_inner(vendors).unwrap().close().await;
}

/// Promise 8, and the bill: each cell asked once, for what its caller asked.
fn check_requests(vendors: &Vendors, vendor: Vendor, case: &Case) {
    let name = model(vendor, &case.scenario.name);
    let requests = vendors.fake(vendor).requests();
    let requests: Vec<_> = requests.iter().filter(|request| request.model.as_ref() == Some(&name)).collect();
    assert_eq!(requests.len(), WAYS.len(), "{name}");
    if let Some((place, value)) = case.asks.sent(vendor) {
        for request in requests {
            assert_eq!(request.body.pointer(place), Some(&value), "{name}: {}", request.body);
        }
    }
}

/// A line for each case, a column for each provider: which ways have passed, and how the case ends.
fn table(cases: &[(Vendor, Arc<Case>)], results: &[bool]) -> String {
    let mut table = format!("{:<22}", "");
    for vendor in Vendor::ALL {
        write!(table, "{:<31}", vendor.word()).unwrap();
    }
    let legend = WAYS.map(|way| match way {
        Way::Responses(frame) => format!("responses {frame:?}"),
        Way::Socket => "responses WebSocket".to_owned(),
        Way::Chat(frame) => format!("chat {frame:?}"),
    });
    let mut text = format!("each + is a way, in this order: {}\n{}\n", legend.join(", "), table.trim_end());
    let of_each = cases.len() / Vendor::ALL.len();
    for row in 0..of_each {
        write!(text, "{:<22}", cases[row].1.scenario.name).unwrap();
        for column in 0..Vendor::ALL.len() {
            let number = column * of_each + row;
            let passed = &results[number * WAYS.len()..][..WAYS.len()];
            let mut cell: String = passed.iter().map(|passed| if *passed { '+' } else { '!' }).collect();
            cell.insert(4, ' ');
            let outcome = match cases[number].1.scenario.outcome {
                Outcome::Completed(reason) | Outcome::Incomplete(_, reason) => reason.to_owned(),
                Outcome::Fails { status, code, .. } => format!("{status} {}", code.strip_prefix("upstream_").unwrap_or(code)),
            };
            let end = if column + 1 == Vendor::ALL.len() { "\n" } else { " " };
            let outcome: String = outcome.chars().take(21).collect();
            write!(text, "{cell} {outcome:<21}{end}").unwrap();
        }
    }
    text
}
