//! Packets of all kinds, and bytes that are none.

use std::net::IpAddr;

use proptest::prelude::*;

use super::checksum::Checksum;
use super::link::LinkType;
use super::malformed::PacketLayer;
use super::options::TcpOption;
use super::tcp::TcpFlags;
use super::*;
use crate::tests::build::{ACK, PSH, SYN, Segment, ip};

fn segment<'a>(from: &str, to: &str, options: &'a [u8], payload: &'a [u8]) -> Segment<'a> {
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    Segment {
        from,
        to,
        sequence: 7,
        acknowledgment: 9,
        flags: SYN | ACK,
        window: 512,
        options,
        payload,
    }
}

fn v4<'a>(options: &'a [u8], payload: &'a [u8]) -> Segment<'a> {
    segment("192.0.2.1:40000", "192.0.2.2:80", options, payload)
}

fn tcp<'a>(packet: &DecodedPacket<'a>) -> TcpSegment<'a> {
    match packet.transport {
        TransportPayload::Tcp(tcp) => tcp,
        TransportPayload::Fragment | TransportPayload::Other(_) => panic!("no TCP: {packet:?}"),
    }
}

/// Decodes a segment that stands behind `header`.
fn behind(link: LinkType, header: &[u8], payload: &[u8]) -> Vec<u8> {
    let bytes = [header, payload].concat();
    let packet = decode(link, &bytes).unwrap();
    assert_eq!(packet.link_length, header.len());
    assert_eq!(tcp(&packet).checksum, Checksum::Right);
    tcp(&packet).payload.to_vec()
}

#[test]
fn every_link_layer_leads_to_the_same_segment() {
    let whole = v4(&[], b"hello").ethernet();
    let packet = &whole[14..];
    let ethernet = [[2; 12].as_slice(), &[8, 0]].concat();
    let sll = [[0; 14].as_slice(), &[8, 0]].concat();
    let sll2 = [[8, 0].as_slice(), &[0; 18]].concat();
    for (link, header) in [
        (LinkType::Ethernet, ethernet.as_slice()),
        (LinkType::Cooked, &sll),
        (LinkType::Cooked2, &sll2),
        (LinkType::Null, &[2, 0, 0, 0]),
        (LinkType::Null, &[0, 0, 0, 2]),
        (LinkType::Raw, &[]),
    ] {
        assert_eq!(behind(link, header, packet), b"hello", "{link:?}");
    }
    let six = segment("[2001:db8::1]:1", "[2001:db8::2]:2", &[], b"six").ethernet();
    assert_eq!(behind(LinkType::Null, &[30, 0, 0, 0], &six[14..]), b"six");
    assert_eq!(behind(LinkType::Raw, &[], &six[14..]), b"six");
}

#[test]
fn tags_are_gone_through_and_the_outermost_is_told() {
    let whole = v4(&[], b"").ethernet();
    let tagged = [&whole[..12], &[0x88, 0xA8, 0x20, 42, 0x81, 0x00, 0, 7], &whole[12..]].concat();
    let packet = decode(LinkType::Ethernet, &tagged).unwrap();
    assert_eq!((packet.vlan, packet.link_length), (Some(42), 22));
    assert_eq!(tcp(&packet).sequence, 7);
}

#[test]
fn what_ethernet_adds_behind_a_short_packet_is_no_payload() {
    let mut whole = v4(&[], b"a").ethernet();
    whole.resize(60, 0xEE);
    let packet = decode(LinkType::Ethernet, &whole).unwrap();
    assert_eq!((tcp(&packet).payload, tcp(&packet).payload_length), (b"a".as_slice(), 1));
    assert_eq!(tcp(&packet).checksum, Checksum::Right);
}

#[test]
fn a_packet_that_was_cut_keeps_its_lengths() {
    let whole = v4(&[], b"0123456789").ethernet();
    let packet = decode(LinkType::Ethernet, &whole[..whole.len() - 6]).unwrap();
    assert_eq!((tcp(&packet).payload, tcp(&packet).payload_length), (b"0123".as_slice(), 10));
    assert_eq!(tcp(&packet).checksum, Checksum::Unknown);
}

#[test]
fn fragments_are_told_and_not_read() {
    let mut whole = v4(&[], b"data").ethernet();
    whole[14 + 6] = 0x20; // more follow
    let packet = decode(LinkType::Ethernet, &whole).unwrap();
    let fragment = packet.network.unwrap().fragment.unwrap();
    assert_eq!((fragment.identification, fragment.offset, fragment.has_more), (0x1234, 0, true));
    assert!(matches!(packet.transport, TransportPayload::Fragment));
    assert_eq!(packet.network.unwrap().checksum, Checksum::Wrong);

    let (from, to): (IpAddr, IpAddr) =
        ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let last = ip(from, to, 44, &[6, 0, 0x05, 0xA8, 0, 0, 0, 9], b"no header here");
    let packet = decode(LinkType::Raw, &last).unwrap();
    let fragment = packet.network.unwrap().fragment.unwrap();
    assert_eq!((fragment.identification, fragment.offset, fragment.has_more), (9, 1448, false));
    assert_eq!(packet.network.unwrap().payload, b"no header here");
}

#[test]
fn options_and_extension_headers_are_gone_over() {
    let segment6 = segment("[2001:db8::1]:1", "[2001:db8::2]:2", &[], b"x");
    // Hop-by-hop options, then an atomic fragment, then destination options of 16 bytes.
    let extensions = [
        [44, 0, 1, 4, 0, 0, 0, 0].as_slice(),
        &[60, 0, 0, 0, 0, 0, 0, 1],
        &[6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let bytes = ip(segment6.from.ip(), segment6.to.ip(), 0, &extensions, &segment6.tcp());
    let packet = decode(LinkType::Raw, &bytes).unwrap();
    let network = packet.network.unwrap();
    assert_eq!((network.header_length, network.fragment, network.protocol), (72, None, 6));
    assert_eq!((tcp(&packet).payload, tcp(&packet).checksum), (b"x".as_slice(), Checksum::Right));

    let segment4 = v4(&[], b"y");
    let bytes = ip(segment4.from.ip(), segment4.to.ip(), 6, &[0x94, 4, 0, 0], &segment4.tcp());
    let packet = decode(LinkType::Raw, &bytes).unwrap();
    assert_eq!(packet.network.unwrap().options, [0x94, 4, 0, 0]);
    assert_eq!(
        (tcp(&packet).payload, packet.network.unwrap().checksum),
        (b"y".as_slice(), Checksum::Right)
    );
}

#[test]
fn every_option_has_its_name() {
    let bytes = [
        [2, 4, 0x05, 0xB4].as_slice(),
        &[3, 3, 7],
        &[4, 2],
        &[1],
        &[8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        &[34, 6, 1, 2, 3, 4],
        &[254, 4, 0xF9, 0x89],
    ]
    .concat();
    let whole = v4(&bytes, b"").ethernet();
    let packet = decode(LinkType::Ethernet, &whole).unwrap();
    let expected = [
        TcpOption::MaximumSegmentSize(1460),
        TcpOption::WindowScale(7),
        TcpOption::SackPermitted,
        TcpOption::NoOperation,
        TcpOption::Timestamps { value: 1, echo: 2 },
        TcpOption::FastOpen(&[1, 2, 3, 4]),
        TcpOption::Other { kind: 254, value: &[0xF9, 0x89] },
    ];
    assert_eq!(tcp(&packet).option_iterator().collect::<Vec<_>>(), expected);
    let options = tcp(&packet).options();
    assert_eq!(
        (options.maximum_segment_size, options.window_scale, options.sack_permitted),
        (Some(1460), Some(7), true)
    );
    assert_eq!((options.timestamps, options.fast_open), (Some((1, 2)), Some(4)));

    let sack = [5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
    let whole = v4(&sack, b"").ethernet();
    assert_eq!(
        tcp(&decode(LinkType::Ethernet, &whole).unwrap()).options().sack.blocks(),
        [(1, 2), (3, 4)]
    );

    let whole = v4(&[3, 3, 2, 99, 200, 0, 0, 0], b"").ethernet();
    let packet = decode(LinkType::Ethernet, &whole).unwrap();
    let options: Vec<_> = tcp(&packet).option_iterator().collect();
    assert_eq!(options, [TcpOption::WindowScale(2), TcpOption::Malformed(&[99, 200, 0, 0, 0])]);
}

#[test]
fn checksums_are_right_or_wrong_or_left_to_the_card() {
    let mut whole = v4(&[], b"abc").ethernet();
    let last = whole.len() - 1;
    whole[last] ^= 1;
    assert_eq!(tcp(&decode(LinkType::Ethernet, &whole).unwrap()).checksum, Checksum::Wrong);
    let pseudo = !checksum::sum(&[&whole[26..34], &[0, 6, 0, 23]]);
    whole[14 + 20 + 16..14 + 20 + 18].copy_from_slice(&pseudo.to_be_bytes());
    assert_eq!(tcp(&decode(LinkType::Ethernet, &whole).unwrap()).checksum, Checksum::Offloaded);
}

#[test]
fn flags_are_called_by_their_names() {
    assert_eq!((SYN | ACK).to_string(), "SYN+ACK");
    assert_eq!(PSH.to_string(), "PSH+ACK");
    assert_eq!(TcpFlags(0x1FF).to_string(), "SYN+FIN+RST+PSH+ACK+URG+ECE+CWR+AE");
    assert_eq!(TcpFlags::default().to_string(), "none");
}

#[test]
fn what_is_not_ip_or_not_tcp_is_told() {
    let arp = [[0xFF; 12].as_slice(), &[8, 6], &[0; 28]].concat();
    assert!(matches!(
        decode(LinkType::Ethernet, &arp).unwrap().transport,
        TransportPayload::Other(None)
    ));
    let segment = v4(&[], b"");
    let udp = ip(segment.from.ip(), segment.to.ip(), 17, &[], &[0; 8]);
    assert!(matches!(
        decode(LinkType::Raw, &udp).unwrap().transport,
        TransportPayload::Other(Some(17))
    ));
}

#[test]
fn what_is_wrong_is_told_by_layer() {
    let whole = v4(&[], b"").ethernet();
    let error = |bytes: &[u8]| decode(LinkType::Ethernet, bytes).unwrap_err();
    assert_eq!(error(&whole[..13]), MalformedPacket::Short(PacketLayer::Link));
    assert_eq!(error(&whole[..20]), MalformedPacket::Short(PacketLayer::Ipv4));
    assert_eq!(error(&whole[..40]), MalformedPacket::Short(PacketLayer::Tcp));
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        error(&bytes)
    };
    assert_eq!(changed(14, 0x55), MalformedPacket::Version(5));
    assert_eq!(changed(14, 0x44), MalformedPacket::Length(PacketLayer::Ipv4));
    assert_eq!(changed(17, 19), MalformedPacket::Length(PacketLayer::Ipv4));
    assert_eq!(changed(46, 0x40), MalformedPacket::Length(PacketLayer::Tcp));
    assert_eq!(changed(46, 0xF0), MalformedPacket::Length(PacketLayer::Tcp));
}

const LINKS: [LinkType; 5] =
    [LinkType::Ethernet, LinkType::Cooked, LinkType::Cooked2, LinkType::Null, LinkType::Raw];

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for link in LINKS {
            if let Ok(DecodedPacket { transport: TransportPayload::Tcp(tcp), .. }) = decode(link, &bytes) {
                let _ = (tcp.option_iterator().count(), tcp.options(), tcp.flags.to_string());
            }
        }
    }

    #[test]
    fn no_change_to_a_packet_makes_it_panic(
        options in prop::collection::vec(any::<u8>(), 0..40),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
    ) {
        for (from, to) in [("192.0.2.1:1", "192.0.2.2:2"), ("[2001:db8::1]:1", "[2001:db8::2]:2")] {
            let mut bytes = segment(from, to, &options, b"payload").ethernet();
            for (index, value) in &changes {
                let index = index.index(bytes.len());
                bytes[index] = *value;
            }
            let length = length.index(bytes.len() + 1);
            if let Ok(DecodedPacket { transport: TransportPayload::Tcp(tcp), .. }) = decode(LinkType::Ethernet, &bytes[..length]) {
                let _ = tcp.option_iterator().count();
            }
        }
    }
}
