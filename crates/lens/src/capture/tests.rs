//! Real captures on loopback, where this process may; where it may not, that it says so.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::captured::{CaptureEvent, CaptureStatistics, CapturedPacket};
use super::config::{CaptureError, Config};
use super::*;
use crate::flow::FlowTable;
use crate::flow::close::{Closed, ClosingSteps, ConnectionEnding};
use crate::flow::direction::StreamDirection;
use crate::flow::limits::FlowLimits;
use crate::flow::side::Side;
use crate::packet::checksum::Checksum;
use crate::packet::decode;

/// Opens what the test needs; `None` where capturing is not allowed, as in other people's
/// containers. Whether it is allowed, the kernel says and not the code under test: a process that
/// has the capability must be able to capture.
fn allowed<T>(opened: Result<T, CaptureError>) -> Option<T> {
    match opened {
        Ok(opened) => Some(opened),
        Err(error @ (CaptureError::NotPermitted | CaptureError::NotLinux)) => {
            assert!(!has_net_raw(), "this process has CAP_NET_RAW, and was told: {error}");
            assert!(error.to_string().contains("CAP_NET_RAW") || cfg!(not(target_os = "linux")));
            eprintln!("not tested: {error}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whether this process has CAP_NET_RAW, bit 13 (capabilities(7)), by `/proc/self/status`.
fn has_net_raw() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
    effective
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .is_some_and(|capabilities| capabilities & (1 << 13) != 0)
}

/// Four bytes up, 200 000 down, closed by the server; then all that was captured of it, until the
/// connection is over.
fn capture(
    listen: &str,
    config: impl FnOnce(SocketAddr) -> Config,
) -> Option<(Vec<CapturedPacket>, FlowTable, CaptureStatistics)> {
    let listener = TcpListener::bind(listen).unwrap();
    let address = listener.local_addr().unwrap();
    let mut capture = allowed(PacketCapture::open(&config(address)))?;
    let mut client = TcpStream::connect(address).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    let answer = vec![b'x'; 200_000];
    std::thread::scope(|scope| {
        scope.spawn(|| server.write_all(&answer).unwrap());
        client.read_exact(&mut vec![0; answer.len()]).unwrap();
    });
    server.shutdown(Shutdown::Write).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(client);
    server.read_to_end(&mut Vec::new()).unwrap();
    let (mut packets, mut flows) = (Vec::new(), FlowTable::new(FlowLimits::default()));
    while !flows.iter().any(|(_, connection)| connection.ending().is_over()) {
        let CaptureEvent::Packet(packet) = capture.next(Some(Duration::from_secs(10))).unwrap()
        else {
            panic!("{flows:#?}")
        };
        let decoded = decode(packet.link, &packet.bytes).unwrap();
        flows.push(packet.at, packet.original_length as u64, &decoded).unwrap();
        packets.push(packet);
    }
    assert_eq!(flows.iter().next().unwrap().1.addresses.client, peer);
    Some((packets, flows, capture.statistics().unwrap()))
}

/// Bytes of payload without repetitions.
fn once(direction: &StreamDirection) -> u64 {
    direction.counts.payload_bytes - direction.counts.retransmitted_bytes
}

fn check_connection(listen: &str) {
    let config = |address: SocketAddr| Config { port: Some(address.port()), ..Config::default() };
    let Some((packets, flows, statistics)) = capture(listen, config) else { return };
    assert!(
        packets.iter().all(|packet| packet.direction == super::captured::PacketDirection::Incoming)
    );
    assert_eq!(
        (statistics.received, statistics.dropped, statistics.unreadable),
        (packets.len() as u64, 0, 0)
    );
    assert_eq!(flows.total(), 1);
    let (_, connection) = flows.iter().next().unwrap();
    for segment in connection.segments() {
        assert!(matches!(segment.checksum, Checksum::Right | Checksum::Offloaded), "{segment:?}");
    }
    assert!(connection.handshake.round_trip().is_some_and(|time| time > Duration::ZERO));
    let (client, server) = (&connection.directions.client, &connection.directions.server);
    assert_eq!(client.stream.bytes(), b"ping");
    assert_eq!(server.stream.bytes(), vec![b'x'; 200_000]);
    for direction in [client, server] {
        // A machine with too much to do sends things twice, on loopback, too.
        assert_eq!(once(direction), direction.stream.length());
        assert!(
            direction.counts.syn >= 1 && direction.counts.fin >= 1 && direction.counts.rst == 0
        );
    }
    let ConnectionEnding::Closed(Closed { first, is_simultaneous, steps }) = connection.ending()
    else {
        panic!("{:?}", connection.closing())
    };
    assert_eq!((first, is_simultaneous), (Side::Server, false));
    // Whether the ACK goes alone depends on how fast the client closes.
    assert!(matches!(steps, ClosingSteps::Three | ClosingSteps::Four));
}

#[test]
fn a_connection_over_loopback_is_seen_as_it_was() {
    check_connection("127.0.0.1:0");
}

#[test]
fn so_is_one_over_ipv6() {
    if TcpListener::bind("[::1]:0").is_ok() {
        check_connection("[::1]:0");
    }
}

#[test]
fn packets_are_cut_where_they_were_told_to_be() {
    let config = |address: SocketAddr| Config {
        interface: Some("lo".to_owned()),
        port: Some(address.port()),
        packet_bytes: 96,
        ..Config::default()
    };
    let Some((packets, flows, _)) = capture("127.0.0.1:0", config) else { return };
    assert!(packets.iter().all(|packet| packet.bytes.len() <= 96));
    assert!(packets.iter().any(|packet| packet.original_length > 1000));
    let server = &flows.iter().next().unwrap().1.directions.server;
    assert_eq!((server.stream.length(), once(server)), (200_000, 200_000));
    assert!(!server.stream.gaps().is_empty());
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let config = Config { interface: Some("none0".to_owned()), ..Config::default() };
    match PacketCapture::open(&config) {
        Err(CaptureError::NoInterface(name)) => assert_eq!(name, "none0"),
        Err(CaptureError::NotPermitted | CaptureError::NotLinux) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn silence_is_told_after_the_timeout() {
    let Ok(mut capture) = PacketCapture::open(&Config { port: Some(1), ..Config::default() })
    else {
        return;
    };
    assert_eq!(capture.next(Some(Duration::from_millis(1))).unwrap(), CaptureEvent::Idle);
    capture.stopper().stop();
    assert_eq!(capture.next(None).unwrap(), CaptureEvent::Stopped);
}

#[test]
fn a_recorder_works_by_itself_until_it_is_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config { port: Some(address.port()), ..Config::default() };
    let Some(recorder) = allowed(PacketRecorder::start(&config, 1 << 20)) else { return };
    let _client = TcpStream::connect(address).unwrap();
    let taken = recorder.take().packets.len();
    let rest = recorder.stop().unwrap();
    // SYN and SYN+ACK have passed when `connect` returns; the ACK, too, though it may not have been
    // captured.
    assert!(taken + rest.packets.len() >= 2);
    assert_eq!(
        (rest.statistics.received, rest.forgotten),
        ((taken + rest.packets.len()) as u64, 0)
    );
}
