//! A tap as JSON: every event with its times.

use std::time::Duration;

use serde_json::{Value, json};

use crate::tap::recording::{Recording, TapEnd};
use crate::tap::summary::Summary;

/// The version of the document.
const SCHEMA: u32 = 1;

pub(super) fn document(recording: &Recording) -> Value {
    let start = recording.exchanges.first().map(|exchange| exchange.opened);
    let events: Vec<Value> = recording
        .events
        .iter()
        .map(|event| {
            let taken = start.map(|start| event.taken.saturating_duration_since(start));
            json!({
                "sequence_number": event.position,
                "type": event.kind,
                "bytes": event.data.len(),
                "logged_ms": event.logged.map(milliseconds),
                "taken_ms": taken.map(milliseconds),
                "event": event.value(),
            })
        })
        .collect();
    json!({
        "schema": SCHEMA,
        "response_id": recording.response_id,
        "server": recording.server,
        "created_at_ms": recording.created_ms,
        "from": recording.from,
        "end": match recording.end {
            TapEnd::Complete => "complete",
            TapEnd::Stopped => "stopped",
            TapEnd::Cut => "cut",
        },
        "connections": recording.exchanges.len(),
        "summary": Summary::of(recording).json(),
        "events": events,
    })
}

/// To a tenth, which is as fine as times are recorded.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
