//! What was captured, and which of it belongs to which of our connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use lens::capture::Recording;
use lens::flow::connection::Connection;
use lens::flow::{Flows, Limits};
use lens::moment::Moment;
use lens::packet::{Packet, Transport, decode};

use crate::listen::View;

/// The connections that were captured on a port.
#[derive(Debug)]
pub(crate) struct Sight {
    flows: Flows,
    port: u16,
    /// On which interface each direction was seen first. A packet that passes several, such as a bridge and what is below it,
    /// is told by each, and would look like a repetition.
    interfaces: HashMap<(SocketAddr, SocketAddr), u32>,
}

/// Directions whose interface is known; when there are more, all are learnt again.
const MOST_KNOWN: usize = 4096;

impl Sight {
    pub(super) fn new(limits: Limits, port: u16) -> Self {
        Self { flows: Flows::new(limits).with_server_port(port), port, interfaces: HashMap::new() }
    }

    pub(super) fn take_in(&mut self, recording: Recording) {
        for packet in recording.packets {
            if let Ok(decoded) = decode(packet.link, &packet.bytes)
                && self.is_first(packet.interface, &decoded)
            {
                self.flows.push(packet.at, packet.original_length as u64, &decoded);
            }
        }
    }

    fn is_first(&mut self, interface: u32, packet: &Packet<'_>) -> bool {
        let (Some(network), Transport::Tcp(tcp)) = (&packet.network, &packet.transport) else { return true };
        if self.interfaces.len() >= MOST_KNOWN {
            self.interfaces.clear();
        }
        let direction = (SocketAddr::new(network.source, tcp.source_port), SocketAddr::new(network.destination, tcp.destination_port));
        *self.interfaces.entry(direction).or_insert(interface) == interface
    }

    /// The packets of one of our connections, if they are among what was captured.
    pub(crate) fn of(&self, view: &View) -> Option<&Connection> {
        let accepted = moment(view.record.accepted);
        let end = accepted + view.record.close.map_or(view.record.age, |close| close.at);
        let is_ours = |connection: &Connection| {
            let (client, server) = (connection.addresses.client, connection.addresses.server);
            is_same(client, view.peer) && server.port() == self.port && was_there(connection, accepted, end)
        };
        // Of those that had the same address one after another, the last that had begun by then.
        self.flows.iter().map(|(_, connection)| connection).filter(|connection| is_ours(connection)).last()
    }
}

/// An IPv4 client has an IPv6 address where a socket takes both.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip().to_canonical(), one.port()) == (other.ip().to_canonical(), other.port())
}

/// Whether these packets can be those of a connection that was accepted and ended then. A client's port comes back, and
/// another's packets must not be shown.
fn was_there(connection: &Connection, accepted: Moment, end: Moment) -> bool {
    if connection.handshake.syn.is_none() {
        // The capture began in the middle of it.
        return (accepted..=end).contains(&connection.began);
    }
    let over = connection.closing().over_since().and_then(|number| usize::try_from(number).ok());
    let over = over.and_then(|number| connection.segments().get(number)).map(|segment| segment.at);
    // We accept behind the handshake, and before we do we close nothing.
    connection.began <= accepted && over.is_none_or(|over| over >= accepted)
}

fn moment(time: SystemTime) -> Moment {
    let nanoseconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Moment(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use lens::capture::{Captured, Direction};
    use lens::packet::link::Link;

    use super::super::LIMITS;
    use super::*;

    /// A SYN over IPv4 to port 8000.
    fn syn(interface: u32, source_port: u16) -> Captured {
        let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        bytes.extend([source_port.to_be_bytes(), 8000_u16.to_be_bytes()].concat());
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xFF, 0xFF, 0, 0, 0, 0]);
        Captured { at: Moment(1), link: Link::Raw, interface, direction: Direction::Incoming, original_length: bytes.len(), bytes }
    }

    #[test]
    fn a_packet_that_passes_two_interfaces_is_one() {
        let mut sight = Sight::new(LIMITS, 8000);
        let packets = vec![syn(2, 40_000), syn(3, 40_000), syn(3, 40_001)];
        sight.take_in(Recording { packets, ..Recording::default() });
        let seen: Vec<(u64, u64)> = sight.flows.iter().map(|(id, connection)| (id.0, connection.total_segments())).collect();
        assert_eq!(seen, [(0, 1), (1, 1)]);
    }
}
