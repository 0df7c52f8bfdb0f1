//! All connections of a capture.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::connection::TcpConnection;
use super::limits::FlowLimits;
use super::segment::Segment;
use super::side::PerSide;
use crate::moment::Moment;
use crate::packet::network::IpPacket;
use crate::packet::tcp::{TcpFlags, TcpSegment};
use crate::packet::{DecodedPacket, TransportPayload};

/// The number of a connection in a capture, from 0, in the order of their first segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a packet was.
#[derive(Clone, Debug)]
pub struct CapturedSegment {
    /// Which connection it belongs to.
    pub connection: ConnectionId,
    /// What it said.
    pub segment: Segment,
}

/// The connections that packets make.
#[derive(Clone, Debug)]
pub struct FlowTable {
    limits: FlowLimits,
    server_port: Option<u16>,
    connections: BTreeMap<ConnectionId, TcpConnection>,
    /// The last connection between two addresses, the smaller one first.
    by_addresses: HashMap<(SocketAddr, SocketAddr), ConnectionId>,
    next: u64,
    other_packets: u64,
}

impl FlowTable {
    /// No connections yet.
    pub fn new(limits: FlowLimits) -> Self {
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
    pub fn push(
        &mut self,
        at: Moment,
        wire_bytes: u64,
        packet: &DecodedPacket<'_>,
    ) -> Option<CapturedSegment> {
        let (Some(network), TransportPayload::Tcp(tcp)) = (&packet.network, &packet.transport)
        else {
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
        Some(CapturedSegment { connection, segment })
    }

    /// A connection.
    pub fn get(&self, id: ConnectionId) -> Option<&TcpConnection> {
        self.connections.get(&id)
    }

    /// All connections that are held, the first first.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &TcpConnection)> {
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
    fn is_another(&self, id: ConnectionId, source: SocketAddr, tcp: &TcpSegment<'_>) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        let own = connection.directions.of(connection.side(source));
        if tcp.flags.contains(TcpFlags::SYN) && !tcp.flags.contains(TcpFlags::ACK) {
            return connection.ending().is_over() || own.initial != Some(tcp.sequence);
        }
        // What is late lies before the end; a reset may answer anything.
        let is_late = own.relative(tcp.sequence).is_some_and(|number| number <= own.next);
        connection.ending().is_over() && !is_late && !tcp.flags.contains(TcpFlags::RST)
    }

    fn add(
        &mut self,
        key: (SocketAddr, SocketAddr),
        at: Moment,
        network: &IpPacket<'_>,
        tcp: &TcpSegment<'_>,
    ) -> ConnectionId {
        while self.connections.len() >= self.limits.connections.max(1) {
            self.evict_one();
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        self.connections
            .insert(id, TcpConnection::new(sides(network, tcp, self.server_port), at, self.limits));
        if let Some(before) =
            self.by_addresses.insert(key, id).and_then(|before| self.connections.get_mut(&before))
        {
            before.replaced = Some(at);
        }
        id
    }

    fn evict_one(&mut self) {
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
fn sides(
    network: &IpPacket<'_>,
    tcp: &TcpSegment<'_>,
    server_port: Option<u16>,
) -> PerSide<SocketAddr> {
    let source = SocketAddr::new(network.source, tcp.source_port);
    let destination = SocketAddr::new(network.destination, tcp.destination_port);
    let is_servers = |port: u16| server_port == Some(port);
    let is_from_server =
        match (tcp.flags.contains(TcpFlags::SYN), tcp.flags.contains(TcpFlags::ACK)) {
            (true, is_answer) => is_answer,
            (false, _) if is_servers(tcp.source_port) != is_servers(tcp.destination_port) => {
                is_servers(tcp.source_port)
            }
            (false, _) => tcp.source_port < tcp.destination_port,
        };
    if is_from_server {
        PerSide { client: destination, server: source }
    } else {
        PerSide { client: source, server: destination }
    }
}
