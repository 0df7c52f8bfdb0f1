//! Cancelling, for each provider: at every point of a response, by one client or two, once or twice. One end, one
//! settled usage, and the upstream's socket closed at once.

use client::soon;
use client::{BodyEnd, Request, Stream};
use fakes::{Script, Vendor};
use serde_json::{Value, json};

use super::vendors::{VendorServers, WaitLimit, model};
use crate::leaving::{Slowest, cancel, id_of, read_until};
use crate::metrics::scrape;
use crate::test_server::TestServerPlan;

/// How far the response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    BeforeHead,
    BeforeFirstToken,
    InReasoning,
    InText,
}

const PHASES: [Phase; 4] =
    [Phase::BeforeHead, Phase::BeforeFirstToken, Phase::InReasoning, Phase::InText];

impl Phase {
    fn script(self) -> Script {
        match self {
            Self::BeforeHead => Script::no_head(),
            Self::BeforeFirstToken => Script::new().role().comment().stall(),
            Self::InReasoning => Script::new().role().reason("Let me think.").stall(),
            Self::InText => Script::new()
                .role()
                .reason("Let me think.")
                .signature("c2VhbA==")
                .content("Once upon")
                .stall(),
        }
    }

    /// Reads up to this point.
    async fn reach(self, vendors: &VendorServers, vendor: Vendor, stream: &mut Stream) {
        let kind = match (self, vendor) {
            // The head is not visible to a client: only that the vendor is responding.
            (Self::BeforeHead | Self::BeforeFirstToken, _) => {
                return soon(vendors.fake(vendor).wait_streams(1)).await.unwrap();
            }
            (Self::InReasoning, _) => "response.reasoning_text.delta",
            (Self::InText, _) => "response.output_text.delta",
        };
        read_until(stream, kind).await;
    }

    fn check(self, response: &Value, what: &str) {
        assert_eq!(
            (&response["status"], &response["error"]),
            (&json!("cancelled"), &Value::Null),
            "{what}"
        );
        assert_eq!(response["incomplete_details"], json!({ "reason": "cancelled" }), "{what}");
        let said = response["output"].to_string();
        match self {
            Self::BeforeHead | Self::BeforeFirstToken => {
                assert_eq!(
                    (&response["usage"], &response["output"]),
                    (&Value::Null, &json!([])),
                    "{what}"
                );
            }
            Self::InReasoning | Self::InText => {
                let usage = &response["usage"];
                assert_eq!(usage["source"], "counted", "{what}: {usage}");
                assert!(
                    usage["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0),
                    "{what}: {usage}"
                );
                assert!(
                    usage["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0),
                    "{what}: {usage}"
                );
                assert!(said.contains("Let me think."), "{what}: {said}");
                assert_eq!(said.contains("Once upon"), self == Self::InText, "{what}: {said}");
            }
        }
    }
}

/// The usage that the responses reported.
#[derive(Default)]
struct Settled {
    answers: u32,
    input: u64,
    output: u64,
}

impl Settled {
    fn add(&mut self, usage: &Value) {
        if usage.is_null() {
            return;
        }
        self.answers += 1;
        self.input += usage["input_tokens"].as_u64().unwrap();
        self.output += usage["output_tokens"].as_u64().unwrap();
    }

    /// The metrics, which count settled responses, agree: none was settled twice.
    async fn check(&self, vendors: &VendorServers, vendor: Vendor) {
        let seen = scrape(&vendors.test_server).await;
        let name = model(vendor, "text");
        let tokens = |kind: &str, part: &str| {
            seen.sum(
                &format!("gen_ai_client_token_usage_{part}"),
                &[("gen_ai_request_model", &name), ("gen_ai_token_type", kind)],
            )
        };
        for (kind, sum) in [("input", self.input), ("output", self.output)] {
            let sum = f64::from(u32::try_from(sum).unwrap());
            assert_eq!(
                (tokens(kind, "count"), tokens(kind, "sum")),
                (f64::from(self.answers), sum),
                "{vendor:?}, {kind}"
            );
        }
    }
}

fn question(vendor: Vendor) -> Request {
    Request::post(
        "/v1/responses",
        &json!({ "model": model(vendor, "text"), "input": "hi", "stream": true }),
    )
    .header("prefer", "wait=0")
}

/// Reads to the end, of which there is exactly one; returns its response.
async fn end(stream: &mut Stream, what: &str) -> Value {
    let (events, end) = soon(stream.collect()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean, "{what}");
    let events: Vec<Value> = events.iter().filter_map(|event| event.json().ok()).collect();
    let ends = ["response.completed", "response.failed", "response.incomplete"];
    let mut ends =
        events.iter().filter(|event| ends.contains(&event["type"].as_str().unwrap_or_default()));
    let terminal = ends.next().unwrap_or_else(|| panic!("{what}: no end"));
    assert!(ends.next().is_none(), "{what}: two ends");
    assert_eq!(Some(terminal), events.last(), "{what}: something after the end");
    terminal["response"].clone()
}

#[tokio::test]
async fn a_cancel_closes_every_provider_at_once_and_settles_once() {
    stop_everywhere("HTTP/1.1", false).await;
}

#[tokio::test]
async fn a_cancel_resets_the_stream_of_every_provider_over_http_2() {
    stop_everywhere("HTTP/2", true).await;
}

async fn stop_everywhere(protocol: &str, is_http2: bool) {
    let models = [("text", WaitLimit::Usual)];
    let vendors = VendorServers::open_with(TestServerPlan::default(), &models, |upstream| {
        upstream.connection.http2 = is_http2;
    })
    .await;
    let mut slowest = Slowest::default();
    for vendor in Vendor::ALL {
        let mut settled = Settled::default();
        for phase in PHASES {
            for is_by_two in [false, true] {
                let what = format!("{}, {phase:?}, by two clients: {is_by_two}", vendor.name());
                let fake = vendors.fake(vendor);
                let number = fake.requests().len();
                fake.script(phase.script());
                let mut stream = vendors.test_server.stream(&question(vendor)).await;
                let id = id_of(&stream);
                soon(fake.wait_requests(number + 1)).await.unwrap();
                phase.reach(&vendors, vendor, &mut stream).await;
                let act = client::now();
                let cancel = cancel(&id);
                let cancelled = if is_by_two {
                    let (one, other) = tokio::join!(
                        vendors.test_server.json(&cancel),
                        vendors.test_server.json(&cancel)
                    );
                    assert_eq!(one, other, "{what}");
                    one
                } else {
                    vendors.test_server.json(&cancel).await
                };
                slowest.wait(fake, number, act, &what).await;
                let (status, cancelled) = cancelled;
                assert_eq!(status, 200, "{what}: {cancelled}");
                phase.check(&cancelled, &what);
                settled.add(&cancelled["usage"]);
                assert_eq!(end(&mut stream, &what).await, cancelled, "{what}");
                // A later cancel changes nothing.
                assert_eq!(
                    vendors.test_server.json(&cancel).await,
                    (200, cancelled.clone()),
                    "{what}: again"
                );
                assert_eq!(
                    vendors.test_server.get(&format!("/v1/responses/{id}")).await,
                    (200, cancelled),
                    "{what}: as it is kept"
                );
                assert_eq!(fake.requests().len(), number + 1, "{what}: asked once");
                soon(fake.wait_streams(0)).await.unwrap();
            }
        }
        settled.check(&vendors, vendor).await;
        if is_http2 {
            assert_eq!(
                (vendors.fake(vendor).accepted_connections(), vendors.fake(vendor).resets()),
                (1, 2 * PHASES.len()),
                "{vendor:?}"
            );
        }
    }
    slowest.tell(&format!("a cancel, every provider over {protocol}"));
    vendors.close().await;
}

#[tokio::test]
async fn a_cancel_after_the_end_changes_nothing() {
    let vendors = VendorServers::open().await;
    for vendor in Vendor::ALL {
        vendors.fake(vendor).script(Script::text(&["Once ", "upon"]));
        let mut stream = vendors.test_server.stream(&question(vendor)).await;
        let (id, what) = (id_of(&stream), vendor.name());
        let done = end(&mut stream, what).await;
        assert_eq!(
            (&done["status"], &done["usage"]["source"]),
            (&json!("completed"), &json!("provider")),
            "{what}"
        );
        for _ in 0..2 {
            assert_eq!(vendors.test_server.json(&cancel(&id)).await, (200, done.clone()), "{what}");
        }
        assert_eq!(
            vendors.test_server.get(&format!("/v1/responses/{id}")).await,
            (200, done),
            "{what}"
        );
        assert_eq!(
            vendors.fake(vendor).open_connections(),
            1,
            "{what}: it was heard to its end, and is kept for the next"
        );
    }
    vendors.close().await;
}
