//! A caller with a key that asks for as much as one key can, as fast as it can, while others stream by another key.

use std::time::Duration;

use anyhow::Result;
use client::{Connection, Request};
use serde_json::{Value, json};
use socket2::SockRef;

use crate::neighbour::{AttackKind, AttackTarget};

/// Calls of one request, and as many outputs: all that a request may hold.
const CALLS: usize = 5_000;

/// Zeros of one body: 30 MiB of them, which is below the limit of a body.
const ZEROS: usize = 15 << 20;

/// Text of an answer that is stored, in bytes: below what the demo model reads.
const STORED: usize = 200 << 10;

/// The request of this kind, made once.
pub(crate) fn request(kind: AttackKind) -> Option<Request> {
    let responses = |body: &Value| Request::post("/v1/responses", body);
    let request = match kind {
        AttackKind::Calls => {
            responses(&json!({ "model": "demo", "store": false, "input": calls() }))
        }
        AttackKind::Zeros => {
            let body = format!(r#"{{"model":"demo","input":"x","x":[{}0]}}"#, "0,".repeat(ZEROS));
            Request::new("POST", "/v1/responses")
                .header("content-type", "application/json")
                .body(body)
        }
        AttackKind::Sessions => Request::post("/v1/tickets", &json!({ "cookie": true })),
        AttackKind::Stored => responses(
            &json!({ "model": "demo", "store": true, "input": "word ".repeat(STORED / 5) }),
        ),
        AttackKind::Background => responses(
            &json!({ "model": "demo", "store": true, "background": true, "input": "/lorem 2000" }),
        ),
        _ => return None,
    };
    Some(request)
}

/// Calls, and outputs that all belong to the last one.
fn calls() -> Vec<Value> {
    let call = |index| json!({ "type": "function_call", "call_id": format!("c{index}"), "name": "f", "arguments": "{}" });
    let output = json!({ "type": "function_call_output", "call_id": format!("c{}", CALLS - 1), "output": "x" });
    (0..CALLS).map(call).chain((0..CALLS).map(|_| output.clone())).collect()
}

/// Sends it once, on a connection of its own; the status it got.
pub(crate) async fn ask(target: &AttackTarget, request: &Request) -> Result<String> {
    let mut connection = Connection::open(target.address).await?;
    // A close is a reset, which leaves no port in `TIME_WAIT`: the number of ports is limited.
    SockRef::from(&*connection.stream()).set_linger(Some(Duration::ZERO))?;
    let mut response = match &target.key {
        Some(key) => connection.send(&request.clone().bearer(key)).await?,
        None => connection.send(request).await?,
    };
    response.collect().await?;
    Ok(format!("{}", response.status))
}
