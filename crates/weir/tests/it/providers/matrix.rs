//! The matrix: every provider, in every dialect and frame, in every case; and its table.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use fakes::Vendor;
use futures_util::stream::{StreamExt, iter};

use super::cases::{self, VendorCase};
use super::cells::{self, CellTransport, WAYS};
use super::vendors::{VendorServers, WaitLimit, model};
use crate::scenarios::table::ExpectedOutcome;
use crate::test_server::TestServerPlan;

/// How many cells run at once; waiting cells cost nothing.
const AT_ONCE: usize = 64;

#[tokio::test]
async fn every_provider_in_every_dialect_and_frame() {
    matrix("HTTP/1.1", false).await;
}

#[tokio::test]
async fn every_provider_in_every_dialect_and_frame_over_http_2() {
    matrix("HTTP/2", true).await;
}

async fn matrix(protocol: &str, is_http2: bool) {
    let began = client::now();
    let cases: Vec<(Vendor, Arc<VendorCase>)> = Vendor::ALL
        .into_iter()
        .flat_map(|vendor| cases::of(vendor).into_iter().map(move |case| (vendor, Arc::new(case))))
        .collect();
    let models = cases.iter().filter(|(vendor, _)| *vendor == Vendor::OpenAi);
    let models: Vec<(&str, WaitLimit)> =
        models.map(|(_, case)| (case.scenario.name.as_str(), case.patience)).collect();
    let vendors = VendorServers::open_with(TestServerPlan::default(), &models, |upstream| {
        upstream.connection.http2 = is_http2;
    })
    .await;
    let vendors = Arc::new(vendors);
    for (vendor, case) in &cases {
        vendors.fake(*vendor).default_script_for_model(
            &model(*vendor, &case.scenario.name),
            case.scenario.script.clone(),
        );
    }
    // Over HTTP/2 a breaking connection affects all its streams: such cells run one after another.
    let is_alone = |case: &VendorCase| is_http2 && case.scenario.name.starts_with("FIN");
    let mut results = vec![false; cases.len() * WAYS.len()];
    for (alone, at_once) in [(false, AT_ONCE), (true, 1)] {
        let cells = cases
            .iter()
            .zip((0..).step_by(WAYS.len()))
            .filter(|((_, case), _)| is_alone(case) == alone);
        let cells = cells.flat_map(|((vendor, case), first)| {
            WAYS.into_iter()
                .zip(first..)
                .map(move |(way, number)| (number, *vendor, Arc::clone(case), way))
        });
        let passed: Vec<(usize, bool)> = iter(cells)
            .map(|(number, vendor, case, way)| {
                let vendors = Arc::clone(&vendors);
                // A failing cell does not stop the others.
                let cell = tokio::spawn(async move {
                    cells::check(&vendors.test_server, vendor, &case, way).await;
                });
                async move { (number, cell.await.is_ok()) }
            })
            .buffer_unordered(at_once)
            .collect()
            .await;
        for (number, passed) in passed {
            results[number] = passed;
        }
    }
    let failed = results.iter().filter(|passed| !**passed).count();
    let mut table = table(&cases, &results);
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        table,
        "{} cells with upstreams over {protocol}, {failed} failed, {seconds:.1} s",
        results.len()
    )
    .unwrap();
    // Not with `eprintln`, which is captured unless the test fails.
    std::io::stderr().write_all(table.as_bytes()).unwrap();
    assert_eq!(failed, 0);
    for (vendor, case) in &cases {
        check_requests(&vendors, *vendor, case);
        assert!(
            vendors.fake(*vendor).requests().iter().all(|request| request.is_http2 == is_http2)
        );
    }
    Arc::into_inner(vendors).unwrap().close().await;
}

/// Promise 8, and the bill: each cell made exactly one call.
fn check_requests(vendors: &VendorServers, vendor: Vendor, case: &VendorCase) {
    let name = model(vendor, &case.scenario.name);
    let requests = vendors.fake(vendor).requests();
    let requests: Vec<_> =
        requests.iter().filter(|request| request.model.as_ref() == Some(&name)).collect();
    assert_eq!(requests.len(), WAYS.len(), "{name}");
    if let Some((place, value)) = case.asks.sent(vendor) {
        for request in requests {
            assert_eq!(request.body.pointer(place), Some(&value), "{name}: {}", request.body);
        }
    }
}

/// A row for each case, a column for each provider: which ways passed, and how the case ends.
fn table(cases: &[(Vendor, Arc<VendorCase>)], results: &[bool]) -> String {
    let mut table = format!("{:<22}", "");
    for vendor in Vendor::ALL {
        write!(table, "{:<31}", vendor.name()).unwrap();
    }
    let legend = WAYS.map(|way| match way {
        CellTransport::Responses(frame) => format!("responses {frame:?}"),
        CellTransport::Socket => "responses WebSocket".to_owned(),
        CellTransport::Chat(frame) => format!("chat {frame:?}"),
    });
    let mut text =
        format!("each + is a way, in this order: {}\n{}\n", legend.join(", "), table.trim_end());
    let of_each = cases.len() / Vendor::ALL.len();
    for row in 0..of_each {
        write!(text, "{:<22}", cases[row].1.scenario.name).unwrap();
        for column in 0..Vendor::ALL.len() {
            let number = column * of_each + row;
            let passed = &results[number * WAYS.len()..][..WAYS.len()];
            let mut cell: String =
                passed.iter().map(|passed| if *passed { '+' } else { '!' }).collect();
            cell.insert(4, ' ');
            let outcome = match cases[number].1.scenario.outcome {
                ExpectedOutcome::Completed(reason) | ExpectedOutcome::Incomplete(_, reason) => {
                    reason.to_owned()
                }
                ExpectedOutcome::Fails { status, code, .. } => {
                    format!("{status} {}", code.strip_prefix("upstream_").unwrap_or(code))
                }
            };
            let end = if column + 1 == Vendor::ALL.len() { "\n" } else { " " };
            let outcome: String = outcome.chars().take(21).collect();
            write!(text, "{cell} {outcome:<21}{end}").unwrap();
        }
    }
    text
}
