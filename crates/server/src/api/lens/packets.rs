//! The packets of a connection as JSON: the handshake, counts of each side, and how it ended. Never
//! their content.

use lens::flow::close::{ClosingSteps, ConnectionEnding};
use lens::flow::connection::{TcpConnection, TcpHandshake};
use lens::flow::counts::SegmentCounts;
use lens::flow::side::Side;
use lens::moment::Moment;
use serde_json::{Value, json};

use super::time::milliseconds;

/// The packets of a connection.
pub(super) fn object(connection: &TcpConnection) -> Value {
    let counts = |side| counts(&connection.directions.of(side).counts);
    json!({
        "total": connection.total_segments(),
        "listed": connection.segments().len(),
        "handshake": handshake(connection),
        "client": counts(Side::Client),
        "server": counts(Side::Server),
        "ending": ending(connection),
    })
}

/// The three segments of the handshake (RFC 9293 §3.5); `null` where it was not captured.
fn handshake(connection: &TcpConnection) -> Value {
    let TcpHandshake { syn, syn_ack, ack, is_repeated } = connection.handshake;
    let step = |step: Option<(u64, Moment)>| {
        let (number, at) = step?;
        let segment = connection.segments().get(usize::try_from(number).ok()?)?;
        Some(json!({
            "from": name(segment.from),
            "sequence": segment.sequence,
            "relative_sequence": segment.relative_sequence,
            "acknowledgment": segment.acknowledgment,
            "relative_acknowledgment": segment.relative_acknowledgment,
            "at_ms": milliseconds(at.since(connection.started)),
        }))
    };
    syn.map_or(Value::Null, |_| {
        json!({
            "syn": step(syn),
            "syn_ack": step(syn_ack),
            "ack": step(ack),
            "round_trip_ms": connection.handshake.round_trip().map(milliseconds),
            "is_repeated": is_repeated,
        })
    })
}

fn counts(counts: &SegmentCounts) -> Value {
    json!({
        "segments": counts.segments,
        "data_segments": counts.data_segments,
        "pure_acks": counts.pure_acks,
        "retransmissions": counts.retransmitted_segments,
        "retransmitted_bytes": counts.retransmitted_bytes,
        "duplicate_acks": counts.duplicate_acks,
        "syn": counts.syn,
        "fin": counts.fin,
        "rst": counts.rst,
        "payload_bytes": counts.payload_bytes,
        "wire_bytes": counts.wire_bytes,
    })
}

/// How it ended (RFC 9293, section 3.6), and which side holds TIME-WAIT.
fn ending(connection: &TcpConnection) -> Value {
    let ending = connection.ending();
    let (state, by, segments) = match ending {
        ConnectionEnding::Open => ("open", None, None),
        ConnectionEnding::HalfClosed { by } => ("half_closed", Some(by), None),
        ConnectionEnding::Closing { first } => ("closing", Some(first), None),
        ConnectionEnding::Closed(closed) => ("closed", Some(closed.first), Some(closed.steps)),
        ConnectionEnding::Reset { by } => ("reset", Some(by), None),
    };
    let segments = segments.map(|steps| match steps {
        ClosingSteps::Three => 3,
        ClosingSteps::Four => 4,
    });
    let is_simultaneous =
        matches!(ending, ConnectionEnding::Closed(closed) if closed.is_simultaneous);
    let time_wait: Vec<&str> =
        Side::ALL.into_iter().filter(|side| ending.holds_time_wait(*side)).map(name).collect();
    let fins = connection.closing().fins;
    let fin_at = |side| fins.of(side).map(|fin| milliseconds(fin.at.since(connection.started)));
    json!({
        "state": state,
        "by": by.map(name),
        "segments": segments,
        "is_simultaneous": is_simultaneous,
        "time_wait": time_wait,
        "client_fin_ms": fin_at(Side::Client),
        "server_fin_ms": fin_at(Side::Server),
    })
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}
