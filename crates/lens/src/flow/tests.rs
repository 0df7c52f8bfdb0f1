//! Golden connections: how each begins, goes on and ends.

use std::time::Duration;

use proptest::prelude::*;

use super::close::{Closed, ClosingSteps, ConnectionEnding};
use super::connection::TcpConnection;
use super::limits::FlowLimits;
use super::mark::SegmentMark;
use super::side::Side;
use super::*;
use crate::moment::Moment;
use crate::packet::decode;
use crate::packet::link::LinkType;
use crate::tests::build::{ACK, FIN, PSH, RST, SYN, Script};

fn only(script: &Script) -> TcpConnection {
    let flows = script.flows();
    assert_eq!(flows.total(), 1);
    flows.iter().next().unwrap().1.clone()
}

fn marks(connection: &TcpConnection) -> Vec<(u64, SegmentMark)> {
    connection
        .segments()
        .iter()
        .flat_map(|segment| segment.marks.iter().map(|mark| (segment.number, *mark)))
        .collect()
}

fn closed(first: Side, is_simultaneous: bool, steps: ClosingSteps) -> ConnectionEnding {
    ConnectionEnding::Closed(Closed { first, is_simultaneous, steps })
}

#[test]
fn a_handshake_has_its_numbers_and_its_time() {
    let mut script = Script::new();
    let connection = only(script.handshake());
    let numbers = |index: usize| {
        let segment = &connection.segments()[index];
        (
            segment.sequence,
            segment.acknowledgment,
            segment.relative_sequence,
            segment.relative_acknowledgment,
        )
    };
    assert_eq!(numbers(0), (1000, None, Some(0), None));
    assert_eq!(numbers(1), (5000, Some(1001), Some(0), Some(1)));
    assert_eq!(numbers(2), (1001, Some(5001), Some(1), Some(1)));
    assert_eq!(connection.handshake.round_trip(), Some(Duration::from_micros(20)));
    assert_eq!(connection.handshake.to_syn_ack(), Some(Duration::from_micros(10)));
    assert_eq!(
        connection.segments().iter().map(|segment| segment.window_bytes).collect::<Vec<_>>(),
        [Some(1000), Some(1000), Some(128_000)]
    );
    assert_eq!(connection.directions.client.maximum_segment_size, Some(1460));
    assert_eq!((connection.ending(), marks(&connection)), (ConnectionEnding::Open, vec![]));
    assert_eq!(connection.directions.server.absolute(1), Some(5001));
}

#[test]
fn a_repeated_syn_leaves_the_round_trip_unknown() {
    let mut script = Script::new();
    script.client(SYN, 0, 0, b"").handshake();
    let connection = only(&script);
    assert_eq!(connection.handshake.round_trip(), None);
    assert_eq!(marks(&connection), [(1, SegmentMark::Retransmission { bytes: 0 })]);
    assert_eq!(connection.directions.client.counts.retransmitted_segments, 1);
}

#[test]
fn requests_and_answers_are_counted_exactly() {
    let mut script = Script::new();
    script
        .handshake()
        .client(PSH, 1, 1, b"request")
        .server(ACK, 1, 8, b"")
        .server(PSH, 1, 8, b"answer")
        .client(ACK, 8, 7, b"");
    let connection = only(&script);
    let client = connection.directions.client.counts;
    assert_eq!((client.segments, client.data_segments, client.pure_acks, client.syn), (4, 1, 2, 1));
    assert_eq!(
        (client.wire_bytes, client.payload_bytes, client.header_bytes()),
        (4 * 54 + 8 + 7, 7, 4 * 54 + 8)
    );
    assert_eq!(
        (client.link_bytes, client.network_bytes, client.transport_bytes),
        (4 * 14, 4 * 20, 4 * 20 + 8)
    );
    let server = connection.directions.server.counts;
    assert_eq!(
        (server.segments, server.data_segments, server.pure_acks, server.payload_bytes),
        (3, 1, 1, 6)
    );
    assert_eq!(connection.directions.client.stream.bytes(), b"request");
    assert_eq!(connection.directions.server.stream.bytes(), b"answer");
    assert_eq!(connection.directions.server.acknowledged, 7);
}

#[test]
fn a_close_takes_four_segments_or_three() {
    let mut four = Script::new();
    four.handshake()
        .client(FIN, 1, 1, b"")
        .server(ACK, 1, 2, b"")
        .server(FIN, 1, 2, b"")
        .client(ACK, 2, 2, b"");
    let connection = only(&four);
    assert_eq!(connection.ending(), closed(Side::Client, false, ClosingSteps::Four));
    assert!(
        connection.ending().holds_time_wait(Side::Client)
            && !connection.ending().holds_time_wait(Side::Server)
    );

    let mut three = Script::new();
    three
        .handshake()
        .server(PSH, 1, 1, b"bye")
        .server(FIN, 4, 1, b"")
        .client(FIN, 1, 5, b"")
        .server(ACK, 5, 2, b"");
    let connection = only(&three);
    assert_eq!(connection.ending(), closed(Side::Server, false, ClosingSteps::Three));
    assert!(connection.ending().holds_time_wait(Side::Server));
    // The FIN's number is the one after the last byte.
    assert_eq!(connection.closing().fins.server.unwrap().number, 4);
}

#[test]
fn both_may_close_at_once() {
    let mut script = Script::new();
    script
        .handshake()
        .client(FIN, 1, 1, b"")
        .server(FIN, 1, 1, b"")
        .client(ACK, 2, 2, b"")
        .server(ACK, 2, 2, b"");
    let connection = only(&script);
    assert_eq!(connection.ending(), closed(Side::Client, true, ClosingSteps::Four));
    assert!(
        connection.ending().holds_time_wait(Side::Client)
            && connection.ending().holds_time_wait(Side::Server)
    );
}

#[test]
fn a_half_closed_connection_still_answers() {
    let mut script = Script::new();
    script.handshake().client(FIN, 1, 1, b"ask").server(ACK, 1, 5, b"");
    assert_eq!(only(&script).ending(), ConnectionEnding::HalfClosed { by: Side::Client });
    script.server(PSH, 1, 5, b"answer").client(ACK, 5, 7, b"");
    assert_eq!(only(&script).closing().bytes_after_first, 6);
    script.server(FIN, 7, 5, b"");
    assert_eq!(only(&script).ending(), ConnectionEnding::Closing { first: Side::Client });
    script.client(ACK, 5, 8, b"");
    assert_eq!(only(&script).ending(), closed(Side::Client, false, ClosingSteps::Four));
    assert_eq!(only(&script).directions.client.stream.bytes(), b"ask");
}

#[test]
fn a_reset_ends_it_and_nobody_waits() {
    let mut script = Script::new();
    script.handshake().server(PSH, 1, 1, b"part").client(RST, 1, 0, b"");
    let connection = only(&script);
    assert_eq!(connection.ending(), ConnectionEnding::Reset { by: Side::Client });
    assert!(
        !connection.ending().holds_time_wait(Side::Client)
            && !connection.ending().holds_time_wait(Side::Server)
    );

    let mut late = Script::new();
    late.handshake()
        .client(FIN, 1, 1, b"")
        .server(FIN, 1, 2, b"")
        .client(ACK, 2, 2, b"")
        .client(RST, 2, 0, b"");
    assert_eq!(only(&late).ending(), closed(Side::Client, false, ClosingSteps::Three));
    let mut refused = Script::new();
    refused.client(SYN, 0, 0, b"").server(RST | ACK, 0, 1, b"");
    assert_eq!(only(&refused).ending(), ConnectionEnding::Reset { by: Side::Server });
}

#[test]
fn what_is_sent_twice_is_kept_once() {
    let mut script = Script::new();
    script
        .handshake()
        .server(PSH, 1, 1, b"abc")
        .server(PSH, 1, 1, b"abc")
        .server(PSH, 2, 1, b"bcde")
        .client(ACK, 1, 6, b"");
    script.server(FIN, 6, 1, b"").server(FIN, 6, 1, b"");
    let connection = only(&script);
    assert_eq!(connection.directions.server.stream.bytes(), b"abcde");
    let counts = connection.directions.server.counts;
    assert_eq!(
        (counts.retransmitted_segments, counts.retransmitted_bytes, counts.payload_bytes),
        (3, 5, 10)
    );
    let expected = [(4, 3), (5, 2), (8, 0)]
        .map(|(number, bytes)| (number, SegmentMark::Retransmission { bytes }));
    assert_eq!(marks(&connection), expected);
}

#[test]
fn bytes_come_out_in_order_and_know_when_they_came() {
    let mut script = Script::new();
    script.handshake(); // up to 30 µs
    script
        .server(PSH, 4, 1, b"def")
        .client(ACK, 1, 1, b"")
        .client(ACK, 1, 1, b"")
        .server(PSH, 1, 1, b"abc")
        .client(ACK, 1, 7, b"");
    let connection = only(&script);
    let stream = &connection.directions.server.stream;
    assert_eq!((stream.bytes(), stream.gaps().len()), (b"abcdef".as_slice(), 0));
    let at = |microseconds: u64| Moment(1_000_000 + microseconds * 1000);
    let seen: Vec<_> = stream
        .arrivals()
        .iter()
        .map(|arrival| (arrival.range.clone(), arrival.at, arrival.readable, arrival.segment))
        .collect();
    assert_eq!(seen, [(0..3, at(60), at(60), 6), (3..6, at(30), at(60), 3)]);
    assert_eq!(stream.arrival(4).unwrap().segment, 3);
    let expected = [
        (3, SegmentMark::Gap),
        (4, SegmentMark::DuplicateAck),
        (5, SegmentMark::DuplicateAck),
        (6, SegmentMark::OutOfOrder),
    ];
    assert_eq!(marks(&connection), expected);
}

#[test]
fn what_the_capture_missed_is_a_gap() {
    let mut script = Script::new();
    script
        .handshake()
        .server(PSH, 1, 1, b"ab")
        .server(PSH, 5, 1, b"ef")
        .client(ACK, 1, 7, b"")
        .client(ACK, 1, 10, b"");
    let connection = only(&script);
    let stream = &connection.directions.server.stream;
    assert_eq!(
        (stream.bytes(), stream.gaps()),
        (b"ab\0\0ef\0\0\0".as_slice(), [2..4, 6..9].as_slice())
    );
    assert_eq!(stream.length(), 9);
}

#[test]
fn windows_that_close_and_keep_alives_are_told() {
    let mut script = Script::new();
    script.handshake().server(PSH, 1, 1, b"full").window(0).client(ACK, 1, 5, b"");
    script
        .server(ACK, 4, 1, b"")
        .window(0)
        .client(ACK, 1, 5, b"")
        .window(500)
        .client(ACK, 1, 5, b"");
    script.server(ACK, 4, 1, b"").window(500).client(ACK, 1, 5, b"");
    let connection = only(&script);
    let expected = [
        (4, SegmentMark::ZeroWindow),
        (5, SegmentMark::WindowProbe),
        (6, SegmentMark::ZeroWindow),
        (6, SegmentMark::KeepAliveAnswer),
        (7, SegmentMark::WindowUpdate),
        (8, SegmentMark::KeepAlive),
        (9, SegmentMark::KeepAliveAnswer),
    ];
    assert_eq!(marks(&connection), expected);
    assert_eq!(connection.directions.client.counts.zero_windows, 2);
    assert_eq!(connection.directions.server.counts.keep_alives, 1);
}

#[test]
fn numbers_wrap_and_the_stream_goes_on() {
    let mut script =
        Script::between("[2001:db8::1]:40000", "[2001:db8::2]:8000", [u32::MAX - 2, u32::MAX]);
    script
        .handshake()
        .client(PSH, 1, 1, b"wrap")
        .client(PSH, 5, 1, b"ped")
        .server(PSH, 1, 8, b"yes")
        .client(ACK, 8, 4, b"");
    let connection = only(&script);
    assert_eq!(connection.directions.client.stream.bytes(), b"wrapped");
    assert_eq!(connection.directions.server.stream.bytes(), b"yes");
    assert_eq!(connection.segments()[4].sequence, 2);
    assert_eq!(
        (marks(&connection), connection.directions.client.counts.network_bytes),
        (vec![], 5 * 40)
    );
}

#[test]
fn a_connection_met_on_its_way_is_read_from_there() {
    let mut script = Script::new();
    script.server(PSH, 500, 700, b"middle").client(ACK, 700, 506, b"");
    let connection = only(&script);
    assert_eq!(connection.addresses.server, script.server);
    assert_eq!(connection.directions.server.stream.bytes(), b"middle");
    assert_eq!(connection.segments()[1].relative_acknowledgment, Some(7));
    assert_eq!(
        (connection.segments()[0].window_bytes, connection.directions.server.is_initial_certain),
        (None, false)
    );
    assert_eq!(marks(&connection), []);
}

#[test]
fn data_may_come_with_the_syn() {
    let mut script = Script::new();
    script.client(SYN, 0, 0, b"early").server(SYN | ACK, 0, 6, b"").client(PSH, 6, 1, b" bird");
    let connection = only(&script);
    assert_eq!(connection.directions.client.stream.bytes(), b"early bird");
    assert_eq!(marks(&connection), []);
}

#[test]
fn the_same_ports_may_serve_a_second_connection() {
    let mut script = Script::new();
    script.handshake().client(RST, 1, 0, b"");
    script.initial = [9000, 100];
    script.handshake();
    assert_eq!(script.flows().total(), 2);
}

#[test]
fn memory_is_bounded_and_counts_are_not() {
    let limits = FlowLimits { connections: 2, segments: 4, stream_bytes: 5, pending_bytes: 200 };
    let mut flows = FlowTable::new(limits);
    for port in 1..=4 {
        let mut script =
            Script::between(&format!("192.0.2.1:{}", 40000 + port), "192.0.2.2:80", [1, 2]);
        script
            .handshake()
            .server(PSH, 1, 1, b"12345678")
            .server(PSH, 1000, 1, &[0; 300])
            .client(ACK, 1, 9, b"");
        for (at, bytes) in &script.packets {
            flows.push(*at, bytes.len() as u64, &decode(LinkType::Ethernet, bytes).unwrap());
        }
    }
    assert_eq!((flows.total(), flows.iter().count()), (4, 2));
    let (id, connection) = flows.iter().next().unwrap();
    assert_eq!(
        (id, connection.segments().len(), connection.total_segments()),
        (ConnectionId(2), 4, 6)
    );
    let stream = &connection.directions.server.stream;
    assert_eq!((stream.bytes(), stream.length()), (b"12345".as_slice(), 8));
    assert_eq!(connection.directions.server.counts.payload_bytes, 308);
}

proptest! {
    #[test]
    fn any_order_and_repetition_gives_the_stream(
        text in prop::collection::vec(any::<u8>(), 1..300),
        parts in prop::collection::vec((any::<prop::sample::Index>(), 1..60usize), 0..40),
        initial in any::<u32>(),
    ) {
        let mut script = Script::between("192.0.2.1:40000", "192.0.2.2:80", [initial, 9]);
        script.handshake();
        let mut seen = vec![false; text.len()];
        let all = (0..text.len()).step_by(25).map(|start| (start, 25));
        let mut repeated = 0;
        for (start, length) in parts.iter().map(|(start, length)| (start.index(text.len()), *length)).chain(all) {
            let end = (start + length).min(text.len());
            script.client(PSH, 1 + start as u32, 1, &text[start..end]);
            repeated += seen[start..end].iter().filter(|seen| **seen).count() as u64;
            seen[start..end].fill(true);
        }
        let connection = only(&script);
        let client = &connection.directions.client;
        prop_assert_eq!(client.stream.bytes(), &text[..]);
        prop_assert_eq!(client.counts.payload_bytes, client.stream.length() + repeated);
        prop_assert_eq!(client.counts.retransmitted_bytes, repeated);
        let lengths: u64 = client.stream.arrivals().iter().map(|arrival| arrival.range.end - arrival.range.start).sum();
        prop_assert_eq!(lengths, client.stream.length());
    }

    #[test]
    fn no_order_of_segments_makes_it_panic(
        segments in prop::collection::vec((any::<bool>(), 0..0x200_u16, any::<u32>(), any::<u32>(), 0..20usize, any::<u16>()), 0..60),
        near in any::<bool>(),
    ) {
        let mut script = Script::new();
        for (is_client, flags, sequence, acknowledgment, length, window) in segments {
            let (sequence, acknowledgment) = if near { (sequence % 64, acknowledgment % 64) } else { (sequence, acknowledgment) };
            let flags = crate::packet::tcp::TcpFlags(flags);
            script.window(window);
            if is_client {
                script.client(flags, sequence, acknowledgment, &[7; 20][..length]);
            } else {
                script.server(flags, sequence, acknowledgment, &[7; 20][..length]);
            }
        }
        let flows = script.flows();
        let total: u64 = flows.iter().map(|(_, connection)| connection.total_segments()).sum();
        prop_assert_eq!(total, script.packets.len() as u64);
        for (_, connection) in flows.iter() {
            let _ = connection.ending();
            for stream in [&connection.directions.client.stream, &connection.directions.server.stream] {
                prop_assert_eq!(stream.bytes().len() as u64, stream.length().min(1 << 20));
            }
        }
    }
}

#[test]
fn a_server_is_known_by_its_port_where_the_begin_was_not_seen() {
    let mut script = Script::between("192.0.2.1:40000", "192.0.2.2:50000", [1, 2]);
    script.client(PSH, 100, 200, b"question").server(PSH, 200, 108, b"answer");
    for (flows, client) in [
        (FlowTable::new(FlowLimits::default()), script.server),
        (FlowTable::new(FlowLimits::default()).with_server_port(50000), script.client),
    ] {
        let mut flows = flows;
        for (at, bytes) in &script.packets {
            flows.push(*at, bytes.len() as u64, &decode(LinkType::Ethernet, bytes).unwrap());
        }
        assert_eq!(flows.iter().next().unwrap().1.addresses.client, client);
    }
}
