//! The attribution of packets to connections, with packets that are built byte by byte.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lens::live::{ClosingSide, ConnectionClose, Timeline};
use lens::packet::link::LinkType;

use super::super::LIMITS;
use super::*;

const HERE: SocketAddr = address(2, 8000);
const CLIENT: SocketAddr = address(1, 40_000);

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PUSH: u8 = 0x18;
const FIN: u8 = 0x11;

/// An address of a network for examples.
const fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port)
}

/// A packet over IPv4, at a millisecond, with its sequence and acknowledgment numbers.
fn packet(
    at: u64,
    (from, to): (SocketAddr, SocketAddr),
    (sequence, acknowledgment): (u32, u32),
    flags: u8,
    payload: &[u8],
) -> CapturedPacket {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => unreachable!("tests speak IPv4"),
    };
    let length = u16::try_from(40 + payload.len()).unwrap();
    let mut bytes = vec![0x45, 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 6, 0, 0]);
    bytes.extend([octets(from), octets(to)].concat());
    bytes.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
    bytes.extend([sequence.to_be_bytes(), acknowledgment.to_be_bytes()].concat());
    bytes.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    bytes.extend(payload);
    let direction = if to == HERE { PacketDirection::Incoming } else { PacketDirection::Outgoing };
    CapturedPacket {
        at: Moment(at * 1_000_000),
        link: LinkType::Raw,
        interface: 2,
        direction,
        original_length: bytes.len(),
        bytes,
    }
}

const UP: (SocketAddr, SocketAddr) = (CLIENT, HERE);
const DOWN: (SocketAddr, SocketAddr) = (HERE, CLIENT);

fn handshake(at: u64, initial: u32) -> Vec<CapturedPacket> {
    let server = initial + 5000;
    vec![
        packet(at, UP, (initial, 0), SYN, b""),
        packet(at, DOWN, (server, initial + 1), SYN | ACK, b""),
        packet(at, UP, (initial + 1, server + 1), ACK, b""),
    ]
}

/// A request of ten bytes and a response of twenty, after a handshake.
fn exchange(at: u64, initial: u32) -> Vec<CapturedPacket> {
    let server = initial + 5000;
    vec![
        packet(at, UP, (initial + 1, server + 1), PUSH, b"0123456789"),
        packet(at, DOWN, (server + 1, initial + 11), PUSH, b"01234567890123456789"),
    ]
}

/// The server closes after it.
fn close(at: u64, initial: u32) -> Vec<CapturedPacket> {
    let server = initial + 5000;
    vec![
        packet(at, DOWN, (server + 21, initial + 11), FIN, b""),
        packet(at, UP, (initial + 11, server + 22), FIN, b""),
        packet(at, DOWN, (server + 22, initial + 12), ACK, b""),
    ]
}

fn sight(packets: impl IntoIterator<Item = Vec<CapturedPacket>>) -> PortConnections {
    let mut sight = PortConnections::new(LIMITS, HERE);
    sight.take_in(PacketRecording {
        packets: packets.into_iter().flatten().collect(),
        ..Recording::default()
    });
    sight
}

/// A connection with that exchange, accepted and closed at these milliseconds.
fn view(accepted: u64, closed: u64) -> ConnectionView {
    let time = Timeline::new(UNIX_EPOCH + Duration::from_millis(accepted), true);
    let at = Duration::from_millis(closed - accepted);
    let mut record = time.record();
    (record.age, record.close) =
        (at, Some(ConnectionClose { by: ClosingSide::Server, how: "fin", at }));
    ConnectionView {
        id: 1,
        client: CLIENT,
        peer: CLIENT,
        local: Some(HERE),
        protocol: None,
        received: 10,
        claimed: 10,
        sent: 20,
        is_open: false,
        record,
        tcp: None,
    }
}

/// When the packets that are shown of a connection started, and whether they are known to be its
/// own.
fn shown(sight: &PortConnections, view: &ConnectionView) -> Option<(u64, bool)> {
    sight.of(view).map(|connection| {
        (connection.started.0 / 1_000_000, CaptureExtent::of(connection).is_within(view))
    })
}

#[test]
fn a_packet_on_two_interfaces_counts_once() {
    let syn = |interface, port| CapturedPacket {
        interface,
        ..packet(1, (address(1, port), HERE), (1, 0), SYN, b"")
    };
    let sight = sight([vec![syn(2, 40_000), syn(3, 40_000), syn(3, 40_001)]]);
    let seen: Vec<(u64, u64)> =
        sight.flows.iter().map(|(id, connection)| (id.0, connection.total_segments())).collect();
    assert_eq!(seen, [(0, 1), (1, 1)]);
}

#[test]
fn a_later_connection_may_use_another_interface() {
    let other_way = |packets: Vec<CapturedPacket>| {
        packets.into_iter().map(|packet| CapturedPacket { interface: 3, ..packet }).collect()
    };
    let sight = sight([
        handshake(10, 1000),
        exchange(11, 1000),
        close(12, 1000),
        other_way([handshake(20, 90_000), exchange(21, 90_000)].concat()),
    ]);
    assert_eq!(shown(&sight, &view(20, 30)), Some((20, true)));
}

#[test]
fn a_reused_port_shows_no_packets_of_another_caller() {
    let sight = sight([
        handshake(10, 1000),
        exchange(11, 1000),
        close(12, 1000),
        handshake(20, 90_000),
        exchange(21, 90_000),
        close(22, 90_000),
    ]);
    assert_eq!(shown(&sight, &view(10, 12)), Some((10, true)));
    assert_eq!(shown(&sight, &view(20, 22)), Some((20, true)));
    assert_eq!(shown(&sight, &view(15, 16)), None, "between the two");
}

#[test]
fn an_end_beyond_the_listed_segments_is_recognised() {
    let many = (0..LIMITS.segments).map(|_| packet(11, UP, (1011, 6021), ACK, b"")).collect();
    let sight = sight([handshake(10, 1000), exchange(11, 1000), many, close(12, 1000)]);
    assert_eq!(
        shown(&sight, &view(20, 22)),
        None,
        "it belonged to another connection, which has ended"
    );
    assert_eq!(shown(&sight, &view(10, 12)), Some((10, true)));
}

#[test]
fn after_a_missed_end_the_next_start_is_recognised() {
    let mut sight = sight([
        handshake(10, 1000),
        exchange(11, 1000),
        handshake(20, 90_000),
        exchange(21, 90_000),
        close(22, 90_000),
    ]);
    assert_eq!(shown(&sight, &view(20, 22)), Some((20, true)));
    // Where there are too many, what is over makes room first, and so the second.
    let ports = 1..u16::try_from(LIMITS.connections).unwrap();
    let others = ports.map(|port| packet(23, (address(3, port), HERE), (1, 0), SYN, b""));
    sight.take_in(PacketRecording { packets: others.collect(), ..Recording::default() });
    assert_eq!(sight.flows.iter().count(), LIMITS.connections);
    assert_eq!(shown(&sight, &view(20, 22)), None);
}

#[test]
fn packets_after_a_missed_start_are_not_of_the_previous_connection() {
    let sight =
        sight([handshake(10, 1000), exchange(11, 1000), close(12, 1000), exchange(21, 90_000)]);
    assert_eq!(shown(&sight, &view(10, 12)), Some((10, true)));
    assert_eq!(
        shown(&sight, &view(20, 22)),
        Some((21, false)),
        "only an admin sees a connection whose start was not captured"
    );
}

#[test]
fn packets_are_not_attributed_if_an_end_and_a_start_were_missed() {
    let sight = sight([handshake(10, 1000), exchange(11, 1000), exchange(21, 90_000)]);
    assert_eq!(shown(&sight, &view(10, 12)), Some((10, false)));
    assert_eq!(shown(&sight, &view(20, 22)), Some((10, false)));
}

#[test]
fn unread_bytes_may_belong_to_another_caller() {
    let sight = sight([
        handshake(10, 1000),
        exchange(11, 1000),
        vec![packet(12, UP, (1011, 6021), PUSH, b"GET /secret")],
    ]);
    assert_eq!(shown(&sight, &view(10, 12)), Some((10, false)));
    let read = ConnectionView { received: 21, claimed: 21, ..view(10, 12) };
    assert_eq!(shown(&sight, &read), Some((10, true)));
}

#[test]
fn packets_to_another_server_on_the_same_port_are_not_kept() {
    let model = address(9, 8000);
    let upstream = |listen| {
        let mut sight = PortConnections::new(LIMITS, listen);
        let ours = address(2, 50_000);
        let (ask, answer) = (
            packet(10, (ours, model), (1, 0), SYN, b""),
            packet(10, (model, ours), (1, 2), SYN | ACK, b""),
        );
        let answer = CapturedPacket { direction: PacketDirection::Incoming, ..answer };
        let passing = CapturedPacket {
            direction: PacketDirection::Other,
            ..packet(10, (CLIENT, model), (1, 0), SYN, b"")
        };
        sight.take_in(PacketRecording {
            packets: vec![ask, answer, passing],
            ..Recording::default()
        });
        sight.flows.total()
    };
    assert_eq!(upstream(HERE), 0);
    assert_eq!(upstream(SocketAddr::from(([0, 0, 0, 0], 8000))), 0);
    let sight = sight([handshake(10, 1000)]);
    let elsewhere = ConnectionView { local: Some(model), ..view(10, 12) };
    assert_eq!(shown(&sight, &elsewhere), None, "another of our addresses");
}

#[test]
fn what_was_lost_is_counted() {
    let mut sight = sight([]);
    for (forgotten, dropped) in [(2, 3), (1, 3), (0, 5)] {
        let statistics =
            lens::capture::captured::CaptureStatistics { dropped, ..Default::default() };
        sight.take_in(PacketRecording { forgotten, statistics, ..Recording::default() });
    }
    assert_eq!(sight.dropped(), 3 + 5, "the kernel counts from the start");
}

#[test]
fn a_loopback_packet_is_counted_once() {
    let here = SocketAddr::from(([127, 0, 0, 1], 8000));
    let client = SocketAddr::from(([127, 0, 0, 1], 40_000));
    for listen in [here, SocketAddr::from(([0, 0, 0, 0], 8000)), SocketAddr::from(([0; 16], 8000))]
    {
        let mut sight = PortConnections::new(LIMITS, listen);
        let incoming = |packet: CapturedPacket| CapturedPacket {
            direction: PacketDirection::Incoming,
            ..packet
        };
        let packets = vec![
            incoming(packet(10, (client, here), (1, 0), SYN, b"")),
            incoming(packet(10, (here, client), (1, 2), SYN | ACK, b"")),
        ];
        sight.take_in(PacketRecording { packets, ..Recording::default() });
        assert_eq!(
            sight.flows.iter().map(|(_, flow)| flow.total_segments()).collect::<Vec<_>>(),
            [2],
            "{listen}"
        );
    }
}
