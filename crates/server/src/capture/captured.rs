//! The captured packets, and the connections of this server that they belong to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use lens::capture::PacketRecording;
use lens::capture::captured::{CapturedPacket, PacketDirection};
use lens::flow::FlowTable;
use lens::flow::connection::TcpConnection;
use lens::flow::limits::FlowLimits;
use lens::flow::side::{PerSide, Side};
use lens::moment::Moment;
use lens::packet::tcp::TcpFlags;
use lens::packet::{DecodedPacket, TransportPayload, decode};

use crate::listen::ConnectionView;

/// The connections that were captured on a port.
#[derive(Debug)]
pub(crate) struct PortConnections {
    flows: FlowTable,
    listen: SocketAddr,
    /// On which interface each direction was seen first. A packet that passes several, such as a
    /// bridge and the interface below it, is captured on each, and would look like a
    /// retransmission.
    interfaces: HashMap<(SocketAddr, SocketAddr), FirstSeen>,
    /// Packets that the kernel has dropped.
    lost: u64,
    forgotten: u64,
}

/// Where a direction of a connection was seen first.
#[derive(Clone, Copy, Debug)]
struct FirstSeen {
    interface: u32,
    /// The number of its SYN. Another one starts another connection, which may be seen on another
    /// interface.
    initial: Option<u32>,
}

/// The limit on directions with a known interface; above it, all are determined anew.
const MOST_KNOWN: usize = 4096;

impl PortConnections {
    /// The packets to and from `listen`, which may be every address of this machine.
    pub(super) fn new(limits: FlowLimits, listen: SocketAddr) -> Self {
        let flows = FlowTable::new(limits).with_server_port(listen.port());
        Self { flows, listen, interfaces: HashMap::new(), lost: 0, forgotten: 0 }
    }

    pub(super) fn take_in(&mut self, recording: PacketRecording) {
        self.forgotten += recording.forgotten;
        self.lost = self.lost.max(recording.statistics.dropped);
        for packet in recording.packets {
            let Ok(decoded) = decode(packet.link, &packet.bytes) else { continue };
            if self.is_ours_and_first(&packet, &decoded) {
                self.flows.push(packet.at, packet.original_length as u64, &decoded);
            }
        }
    }

    /// How many packets were captured and then dropped, or not captured at all.
    pub(crate) fn dropped(&self) -> u64 {
        self.lost + self.forgotten
    }

    /// Whether a packet goes to where the server listens or comes from there, and was not captured
    /// on another interface already. Requests of this machine to the same port of another, such as
    /// a model server's, do not count.
    fn is_ours_and_first(&mut self, captured: &CapturedPacket, packet: &DecodedPacket<'_>) -> bool {
        let (Some(network), TransportPayload::Tcp(tcp)) = (&packet.network, &packet.transport)
        else {
            return false;
        };
        let source = SocketAddr::new(network.source, tcp.source_port);
        let destination = SocketAddr::new(network.destination, tcp.destination_port);
        if self.interfaces.len() >= MOST_KNOWN {
            self.interfaces.clear();
        }
        let is_ours = match captured.direction {
            PacketDirection::Incoming => {
                self.is_here(destination)
                    || self.is_here(source) && self.is_answer(source, destination)
            }
            PacketDirection::Outgoing => self.is_here(source),
            PacketDirection::Other => false,
        };
        if !is_ours {
            return false;
        }
        let direction = (source, destination);
        let initial = tcp.flags.contains(TcpFlags::SYN).then_some(tcp.sequence);
        let first = self
            .interfaces
            .entry(direction)
            .or_insert(FirstSeen { interface: captured.interface, initial });
        if initial.is_some() && first.initial != initial {
            *first = FirstSeen { interface: captured.interface, initial };
        }
        first.interface == captured.interface
    }

    /// Whether an address can be the one that the server listens on.
    fn is_here(&self, address: SocketAddr) -> bool {
        address.port() == self.listen.port()
            && (self.listen.ip().is_unspecified() || is_same(address, self.listen))
    }

    /// Packets over loopback are captured once, as incoming, those of the server too. They are
    /// known as the server's where it listens on one address, or by the packets to it.
    fn is_answer(&self, source: SocketAddr, destination: SocketAddr) -> bool {
        !self.listen.ip().is_unspecified() || self.interfaces.contains_key(&(destination, source))
    }

    /// The packets of a connection, if they were captured.
    pub(crate) fn of(&self, view: &ConnectionView) -> Option<&TcpConnection> {
        let is_ours = |connection: &TcpConnection| {
            let (client, server) = (connection.addresses.client, connection.addresses.server);
            is_same(client, view.peer)
                && view.local.is_some_and(|local| is_same(server, local))
                && was_there(connection, view)
        };
        // Of those that had the same address one after another, the last that had started by then.
        self.flows
            .iter()
            .map(|(_, connection)| connection)
            .filter(|connection| is_ours(connection))
            .last()
    }
}

/// An IPv4 client has an IPv6 address where a socket takes both.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip().to_canonical(), one.port()) == (other.ip().to_canonical(), other.port())
}

/// Whether these packets can be those of a connection that was accepted and ended then. A client's
/// port is reused, and another connection's packets must not be shown.
fn was_there(connection: &TcpConnection, view: &ConnectionView) -> bool {
    let accepted = moment(view.record.accepted);
    let end = accepted + view.record.close.map_or(view.record.age, |close| close.at);
    if connection.handshake.syn.is_none() {
        // The capture started in the middle of it.
        return (accepted..=end).contains(&connection.started);
    }
    // A connection is accepted after its handshake, and not closed before. What replaces it starts
    // with a handshake, too.
    let is_over = connection.closing().over_at.is_some_and(|over| over < accepted);
    let is_replaced = connection.replaced.is_some_and(|replaced| replaced <= accepted);
    connection.started <= accepted && !is_over && !is_replaced
}

/// The range of a connection that its packets cover.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaptureExtent {
    /// Whether its handshake was captured.
    has_start: bool,
    /// Bytes of each side.
    bytes: PerSide<u64>,
}

impl CaptureExtent {
    /// That of these packets.
    pub(crate) fn of(connection: &TcpConnection) -> Self {
        let bytes = |side: Side| {
            let direction = connection.directions.of(side);
            // The SYN has a number too, and so has the FIN.
            let reached = direction.next.saturating_sub(1 + u64::from(direction.fin.is_some()));
            reached.max(
                direction.counts.payload_bytes.saturating_sub(direction.counts.retransmitted_bytes),
            )
        };
        let bytes = PerSide { client: bytes(Side::Client), server: bytes(Side::Server) };
        Self { has_start: connection.handshake.syn.is_some(), bytes }
    }

    /// Whether there is nothing among them but this connection's known requests and their
    /// responses. What the server has not read may be another caller's request, or belong to
    /// another connection whose start was missed.
    pub(crate) fn is_within(self, view: &ConnectionView) -> bool {
        self.has_start && self.bytes.client <= view.most_claimed() && self.bytes.server <= view.sent
    }
}

fn moment(time: SystemTime) -> Moment {
    let nanoseconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Moment(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
