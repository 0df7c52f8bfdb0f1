//! What was on the wire: the packets of a cell's connections, put together and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lens::capture::Recorder;
use lens::capture::captured::Captured;
use lens::flow::Flows;
use lens::flow::close::{Closed, Ending, Steps};
use lens::flow::connection::Connection;
use lens::flow::limits::Limits;
use lens::flow::side::Side;
use lens::http::{Conversation, read_connection};
use lens::moment::Moment;
use lens::packet::tcp::Flags;
use lens::packet::{Transport, decode};

use super::bytes::{BothWays, of_sums};
use super::numbers::{Spread, Wire, milliseconds};
use crate::runtime::now;

/// Closing takes a round trip; more time than this it has not.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at what came.
const STEP: Duration = Duration::from_millis(2);

/// A long poll over HTTP/1.0 has a connection for each token.
const LIMITS: Limits = Limits { connections: 8192, segments: 1 << 16, stream_bytes: 16 << 20, pending_bytes: 1 << 20 };

/// What was caught of some connections.
#[derive(Debug)]
pub struct Caught {
    /// The connections.
    pub flows: Flows,
    /// Their packets, in order, each with its connection and its number there.
    pub packets: Vec<(Captured, u64, u64)>,
    /// How many packets the capture had no room for.
    pub forgotten: u64,
}

/// What one connection says.
#[derive(Debug)]
pub struct Read<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// What it held.
    pub conversation: Conversation,
    /// By kind; `None` if there is something that could not be told.
    pub bytes: Option<BothWays>,
}

impl Caught {
    /// Collects the packets of the client's ports until all their connections are over.
    pub async fn collect(recorder: &Recorder, ports: &BTreeSet<u16>) -> Self {
        let mut caught = Self { flows: Flows::new(LIMITS), packets: Vec::new(), forgotten: 0 };
        let begin = now();
        loop {
            caught.take(recorder, ports);
            let over = caught.flows.iter().filter(|(_, connection)| connection.ending().is_over()).count();
            if over >= ports.len() || begin.elapsed() > PATIENCE {
                return caught;
            }
            tokio::time::sleep(STEP).await;
        }
    }

    fn take(&mut self, recorder: &Recorder, ports: &BTreeSet<u16>) {
        let recording = recorder.take();
        self.forgotten += recording.forgotten;
        for packet in recording.packets {
            let Ok(decoded) = decode(packet.link, &packet.bytes) else { continue };
            let Transport::Tcp(tcp) = &decoded.transport else { continue };
            if !ports.contains(&tcp.source_port) && !ports.contains(&tcp.destination_port) {
                continue;
            }
            let seen = self.flows.push(packet.at, packet.original_length as u64, &decoded);
            if let Some(seen) = seen {
                self.packets.push((packet, seen.connection.0, seen.segment.number));
            }
        }
    }

    /// Each connection with what it held, the first first.
    pub fn read(&self) -> Vec<Read<'_>> {
        let read = |connection| {
            let conversation = read_connection(connection);
            let sums = |side| of_sums(&conversation.readings.of(side).sums());
            let bytes = sums(Side::Client).zip(sums(Side::Server)).map(|(up, down)| BothWays { up, down });
            Read { connection, conversation, bytes }
        };
        self.flows.iter().map(|(_, connection)| read(connection)).collect()
    }

    /// Segments with FIN that were sent before a moment.
    pub fn fins_before(&self, moment: Moment) -> u64 {
        let segments = self.flows.iter().flat_map(|(_, connection)| connection.segments());
        segments.filter(|segment| segment.flags.contains(Flags::FIN) && segment.at < moment).count() as u64
    }

    /// The sums.
    pub fn wire(&self) -> Wire {
        let mut wire = Wire { connections: self.flows.total(), ..Wire::default() };
        let mut handshakes = Vec::new();
        for (_, connection) in self.flows.iter() {
            let (up, down) = (connection.directions.client.counts, connection.directions.server.counts);
            wire.segments_up += up.segments;
            wire.segments_down += down.segments;
            wire.bytes_up += up.wire_bytes;
            wire.bytes_down += down.wire_bytes;
            for counts in [up, down] {
                wire.syn += counts.syn;
                wire.fin += counts.fin;
                wire.rst += counts.rst;
                wire.pure_acks += counts.pure_acks;
                wire.retransmissions += counts.retransmitted_segments;
                wire.header_bytes += counts.header_bytes();
            }
            handshakes.extend(connection.handshake.round_trip().map(milliseconds));
            count(&mut wire.endings, ending(connection.ending()));
            for side in Side::ALL.into_iter().filter(|side| connection.ending().holds_time_wait(*side)) {
                count(&mut wire.time_wait, name(side).to_owned());
            }
        }
        wire.handshake_ms = Spread::of(handshakes);
        wire
    }
}

/// One more of these.
pub fn count(counts: &mut BTreeMap<String, u64>, name: String) {
    *counts.entry(name).or_default() += 1;
}

/// A side, as it is printed.
pub fn name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// An ending, as it is printed.
pub fn ending(ending: Ending) -> String {
    match ending {
        Ending::Open => "open".to_owned(),
        Ending::HalfClosed { by } => format!("half-closed by the {}", name(by)),
        Ending::Closing { first } => format!("closing, {} first", name(first)),
        Ending::Closed(Closed { is_simultaneous: true, .. }) => "both at once, 4 segments".to_owned(),
        Ending::Closed(Closed { first, steps: Steps::Three, .. }) => format!("{} first, 3 segments", name(first)),
        Ending::Closed(Closed { first, steps: Steps::Four, .. }) => format!("{} first, 4 segments", name(first)),
        Ending::Reset { by } => format!("reset by the {}", name(by)),
    }
}
