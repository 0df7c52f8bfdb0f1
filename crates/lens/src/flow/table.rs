//! All connections of a capture.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::connection::Connection;
use super::limits::Limits;
use super::segment::Segment;
use super::side::Both;
use crate::moment::Moment;
use crate::packet::network::Network;
use crate::packet::tcp::{Flags, Tcp};
use crate::packet::{Packet, Transport};

/// The number of a connection in a capture, from 0, in the order of their first segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a packet was.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection it belongs to.
    pub connection: ConnectionId,
    /// What it said.
    pub segment: Segment,
}

/// The connections that packets make.
#[derive(Clone, Debug)]
pub struct Flows {
    limits: Limits,
    server_port: Option<u16>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// The last connection between two addresses, the smaller one first.
    by_addresses: HashMap<(SocketAddr, SocketAddr), ConnectionId>,
    next: u64,
    other_packets: u64,
}

impl Flows {
    /// No connections yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            server_port: None,
            connections: BTreeMap::new(),
            by_addresses: HashMap::new(),
            next: 0,
            other_packets: 0,
        }
    }

    /// If the start of a connection was not captured, its server is the side with this port.
    #[must_use]
    pub fn with_server_port(self, port: u16) -> Self {
        Self { server_port: Some(port), ..self }
    }

    /// Takes the next packet of a capture, which was `wire_bytes` long on the wire. `None` if it is
    /// no whole TCP segment.
    pub fn push(&mut self, at: Moment, wire_bytes: u64, packet: &Packet<'_>) -> Option<Seen> {
        let (Some(network), Transport::Tcp(tcp)) = (&packet.network, &packet.transport) else {
            self.other_packets += 1;
            return None;
        };
        let source = SocketAddr::new(network.source, tcp.source_port);
        let destination = SocketAddr::new(network.destination, tcp.destination_port);
        let key = (source.min(destination), source.max(destination));
        let known =
            self.by_addresses.get(&key).copied().filter(|id| !self.is_another(*id, source, tcp));
        let connection = known.unwrap_or_else(|| self.add(key, at, network, tcp));
        let segment =
            self.connections.get_mut(&connection)?.push(at, wire_bytes, packet, network, tcp);
        Some(Seen { connection, segment })
    }

    /// A connection.
    pub fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// All connections that are held, the first first.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.connections.iter().map(|(id, connection)| (*id, connection))
    }

    /// How many connections there were, held or not.
    pub fn total(&self) -> u64 {
        self.next
    }

    /// How many packets were no TCP segments, or only parts of one.
    pub fn other_packets(&self) -> u64 {
        self.other_packets
    }

    /// Whether a segment is of a connection that has the same addresses as one before it, whose
    /// start may have been missed.
    fn is_another(&self, id: ConnectionId, source: SocketAddr, tcp: &Tcp<'_>) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        let own = connection.directions.of(connection.side(source));
        if tcp.flags.contains(Flags::SYN) && !tcp.flags.contains(Flags::ACK) {
            return connection.ending().is_over() || own.initial != Some(tcp.sequence);
        }
        // What is late lies before the end; a reset may answer anything.
        let is_late = own.relative(tcp.sequence).is_some_and(|number| number <= own.next);
        connection.ending().is_over() && !is_late && !tcp.flags.contains(Flags::RST)
    }

    fn add(
        &mut self,
        key: (SocketAddr, SocketAddr),
        at: Moment,
        network: &Network<'_>,
        tcp: &Tcp<'_>,
    ) -> ConnectionId {
        while self.connections.len() >= self.limits.connections.max(1) {
            self.forget_one();
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        self.connections
            .insert(id, Connection::new(sides(network, tcp, self.server_port), at, self.limits));
        if let Some(before) =
            self.by_addresses.insert(key, id).and_then(|before| self.connections.get_mut(&before))
        {
            before.replaced = Some(at);
        }
        id
    }

    fn forget_one(&mut self) {
        let over = self.connections.iter().find(|(_, connection)| connection.ending().is_over());
        let Some(id) = over.or_else(|| self.connections.iter().next()).map(|(id, _)| *id) else {
            return;
        };
        self.connections.remove(&id);
        self.by_addresses.retain(|_, other| *other != id);
    }
}

/// Which end is the client: the sender of a SYN. Without a SYN, the server has the port that is
/// known to be a server's, or else the smaller one.
fn sides(network: &Network<'_>, tcp: &Tcp<'_>, server_port: Option<u16>) -> Both<SocketAddr> {
    let source = SocketAddr::new(network.source, tcp.source_port);
    let destination = SocketAddr::new(network.destination, tcp.destination_port);
    let is_servers = |port: u16| server_port == Some(port);
    let is_from_server = match (tcp.flags.contains(Flags::SYN), tcp.flags.contains(Flags::ACK)) {
        (true, is_answer) => is_answer,
        (false, _) if is_servers(tcp.source_port) != is_servers(tcp.destination_port) => {
            is_servers(tcp.source_port)
        }
        (false, _) => tcp.source_port < tcp.destination_port,
    };
    if is_from_server {
        Both { client: destination, server: source }
    } else {
        Both { client: source, server: destination }
    }
}
