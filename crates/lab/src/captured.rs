//! The captured packets of a cell's connections, reassembled and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lens::capture::PacketRecorder;
use lens::capture::captured::CapturedPacket;
use lens::flow::FlowTable;
use lens::flow::close::{Closed, ClosingSteps, ConnectionEnding};
use lens::flow::connection::TcpConnection;
use lens::flow::limits::FlowLimits;
use lens::flow::side::Side;
use lens::http::{ConnectionReading, read_connection};
use lens::moment::Moment;
use lens::packet::tcp::TcpFlags;
use lens::packet::{TransportPayload, decode};

use super::bytes::{BothDirections, of_sums};
use super::numbers::{WireCounts, milliseconds};
use super::spread::Spread;
use client::now;

/// The longest wait until connections are closed, which takes a round trip.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// The interval of polling.
const STEP: Duration = Duration::from_millis(2);

/// Sufficient for long polling over HTTP/1.0, which needs a connection for each token.
const LIMITS: FlowLimits = FlowLimits {
    connections: 8192,
    segments: 1 << 16,
    stream_bytes: 16 << 20,
    pending_bytes: 1 << 20,
};

/// The captured packets of some connections.
#[derive(Debug)]
pub struct CapturedConnections {
    /// The connections.
    pub flows: FlowTable,
    /// Their packets in order, each with its connection and its number in it.
    pub packets: Vec<(CapturedPacket, u64, u64)>,
    /// The number of packets that the capture dropped.
    pub forgotten: u64,
}

impl Default for CapturedConnections {
    fn default() -> Self {
        Self { flows: FlowTable::new(LIMITS), packets: Vec::new(), forgotten: 0 }
    }
}

/// A decoded connection.
#[derive(Debug)]
pub struct ReadConnection<'a> {
    /// Its number among those that were captured together.
    pub id: u64,
    /// The connection.
    pub connection: &'a TcpConnection,
    /// Its contents.
    pub conversation: ConnectionReading,
    /// Its bytes by kind; `None` if some could not be classified.
    pub bytes: Option<BothDirections>,
}

impl CapturedConnections {
    /// Collects the packets of the client's ports until all their connections have ended.
    pub async fn collect(recorder: &PacketRecorder, ports: &BTreeSet<u16>) -> Self {
        let mut captured = Self::default();
        captured.wait(&[recorder], ports, TIMEOUT).await;
        captured
    }

    /// Adds the packets of the client's ports until all their connections have ended, or until
    /// `timeout`.
    pub async fn wait(
        &mut self,
        recorders: &[&PacketRecorder],
        ports: &BTreeSet<u16>,
        timeout: Duration,
    ) {
        let begin = now();
        loop {
            for recorder in recorders {
                self.take(recorder, ports);
            }
            let over =
                self.flows.iter().filter(|(_, connection)| connection.ending().is_over()).count();
            if over >= ports.len() || begin.elapsed() > timeout {
                return;
            }
            tokio::time::sleep(STEP).await;
        }
    }

    fn take(&mut self, recorder: &PacketRecorder, ports: &BTreeSet<u16>) {
        let recording = recorder.take();
        self.forgotten += recording.forgotten;
        for packet in recording.packets {
            let Ok(decoded) = decode(packet.link, &packet.bytes) else { continue };
            let TransportPayload::Tcp(tcp) = &decoded.transport else { continue };
            if !ports.contains(&tcp.source_port) && !ports.contains(&tcp.destination_port) {
                continue;
            }
            let seen = self.flows.push(packet.at, packet.original_length as u64, &decoded);
            if let Some(seen) = seen {
                self.packets.push((packet, seen.connection.0, seen.segment.number));
            }
        }
    }

    /// Decodes the connections, in order of their start.
    pub fn read(&self) -> Vec<ReadConnection<'_>> {
        let read = |id, connection| {
            let conversation = read_connection(connection);
            let sums = |side| of_sums(&conversation.readings.of(side).sums());
            let bytes = sums(Side::Client)
                .zip(sums(Side::Server))
                .map(|(up, down)| BothDirections { up, down });
            ReadConnection { id, connection, conversation, bytes }
        };
        self.flows.iter().map(|(id, connection)| read(id.0, connection)).collect()
    }

    /// The number of segments with FIN before a moment.
    pub fn fins_before(&self, moment: Moment) -> u64 {
        let segments = self.flows.iter().flat_map(|(_, connection)| connection.segments());
        segments
            .filter(|segment| segment.flags.contains(TcpFlags::FIN) && segment.at < moment)
            .count() as u64
    }

    /// The sums over all connections.
    pub fn wire(&self) -> WireCounts {
        let mut wire = WireCounts { connections: self.flows.total(), ..WireCounts::default() };
        let mut handshakes = Vec::new();
        for (_, connection) in self.flows.iter() {
            let (up, down) =
                (connection.directions.client.counts, connection.directions.server.counts);
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
            for side in
                Side::ALL.into_iter().filter(|side| connection.ending().holds_time_wait(*side))
            {
                count(&mut wire.time_wait, side_name(side).to_owned());
            }
        }
        wire.handshake_ms = Spread::of(handshakes);
        wire
    }
}

/// Increments a count.
pub fn count(counts: &mut BTreeMap<String, u64>, name: String) {
    *counts.entry(name).or_default() += 1;
}

/// The name of a side.
pub fn side_name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// Describes how a connection ended.
pub fn ending(ending: ConnectionEnding) -> String {
    match ending {
        ConnectionEnding::Open => "open".to_owned(),
        ConnectionEnding::HalfClosed { by } => format!("half-closed by the {}", side_name(by)),
        ConnectionEnding::Closing { first } => format!("closing, {} first", side_name(first)),
        ConnectionEnding::Closed(Closed { is_simultaneous: true, .. }) => {
            "both at once, 4 segments".to_owned()
        }
        ConnectionEnding::Closed(Closed { first, steps: ClosingSteps::Three, .. }) => {
            format!("{} first, 3 segments", side_name(first))
        }
        ConnectionEnding::Closed(Closed { first, steps: ClosingSteps::Four, .. }) => {
            format!("{} first, 4 segments", side_name(first))
        }
        ConnectionEnding::Reset { by } => format!("reset by the {}", side_name(by)),
    }
}
