//! The headers of a recorded segment as bytes, for a capture file without contents.
//!
//! Rebuilt from what is recorded: addresses, ports, numbers, flags, window and the options that are
//! known. Checksums are zero, and there is no link layer (`LinkType::Raw`).

use std::net::{IpAddr, SocketAddr};

use crate::flow::connection::TcpConnection;
use crate::flow::segment::Segment;
use crate::flow::side::Side;
use crate::packet::options::TcpOptions;
use crate::packet::tcp;

const TCP_LENGTH: usize = 20;
const IPV4_LENGTH: usize = 20;
const HOP_LIMIT: u8 = 64;

/// The headers of a segment, and how long its packet was without a link layer.
pub fn headers_of(connection: &TcpConnection, segment: &Segment) -> (Vec<u8>, usize) {
    let ends = &connection.addresses;
    let (source, destination) = match segment.from {
        Side::Client => (ends.client, ends.server),
        Side::Server => (ends.server, ends.client),
    };
    let header = tcp_header(segment, source.port(), destination.port());
    let payload = usize::try_from(segment.payload_bytes).unwrap_or(usize::MAX);
    let transport = header.len().saturating_add(payload);
    let mut bytes = ip_header(source, destination, transport);
    bytes.extend(header);
    let length = bytes.len().saturating_add(payload);
    (bytes, length)
}

fn ip_header(source: SocketAddr, destination: SocketAddr, transport: usize) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or_default().to_be_bytes();
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // A length of zero is what Linux writes for packets above 64 KiB.
            let [high, low] = length(transport + IPV4_LENGTH);
            let mut bytes = vec![0x45, 0, high, low, 0, 0, 0x40, 0, HOP_LIMIT, tcp::PROTOCOL, 0, 0];
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            bytes
        }
        (from, to) => {
            let [high, low] = length(transport);
            let mut bytes = vec![0x60, 0, 0, 0, high, low, tcp::PROTOCOL, HOP_LIMIT];
            for address in [from, to] {
                bytes.extend(match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                });
            }
            bytes
        }
    }
}

/// RFC 9293, section 3.1.
fn tcp_header(segment: &Segment, source: u16, destination: u16) -> Vec<u8> {
    let options = option_bytes(&segment.options);
    let words = u16::try_from((TCP_LENGTH + options.len()) / 4).unwrap_or_default();
    let mut bytes = Vec::with_capacity(TCP_LENGTH + options.len());
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend(segment.sequence.to_be_bytes());
    bytes.extend(segment.acknowledgment.unwrap_or_default().to_be_bytes());
    bytes.extend((words << 12 | segment.flags.0 & 0x1FF).to_be_bytes());
    bytes.extend(segment.window.to_be_bytes());
    // Checksum and urgent pointer.
    bytes.extend([0; 4]);
    bytes.extend(options);
    bytes
}

/// The options, padded to whole words. Four blocks of a SACK and a timestamp do not fit together,
/// and never came together.
fn option_bytes(options: &TcpOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(size) = options.maximum_segment_size {
        bytes.extend([2, 4]);
        bytes.extend(size.to_be_bytes());
    }
    if options.sack_permitted {
        bytes.extend([4, 2]);
    }
    if let Some((value, echo)) = options.timestamps {
        bytes.extend([8, 10]);
        bytes.extend(value.to_be_bytes());
        bytes.extend(echo.to_be_bytes());
    }
    if let Some(shift) = options.window_scale {
        bytes.extend([3, 3, shift]);
    }
    let blocks = options.sack.blocks();
    if let Ok(length) = u8::try_from(2 + 8 * blocks.len())
        && !blocks.is_empty()
        && bytes.len() + usize::from(length) <= 40
    {
        bytes.extend([5, length]);
        for (from, to) in blocks {
            bytes.extend(from.to_be_bytes());
            bytes.extend(to.to_be_bytes());
        }
    }
    // No-operations.
    bytes.resize(bytes.len().next_multiple_of(4), 1);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::link::LinkType;
    use crate::packet::{TransportPayload, decode};
    use crate::tests::build::{FIN, PSH, SYN, Script};

    fn check(mut script: Script) {
        script
            .options(&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 3, 3, 9])
            .client(SYN, 0, 0, b"")
            .options(&[])
            .server(PSH, 1, 1, b"a response")
            .client(FIN, 1, 11, b"");
        let flows = script.flows();
        let (_, connection) = flows.iter().next().unwrap();
        assert_eq!(connection.segments().len(), 3);
        for segment in connection.segments() {
            let (bytes, length) = headers_of(connection, segment);
            let decoded = decode(LinkType::Raw, &bytes).unwrap();
            let TransportPayload::Tcp(tcp) = decoded.transport else { panic!("{decoded:?}") };
            let payload = usize::try_from(segment.payload_bytes).unwrap();
            assert_eq!((tcp.sequence, tcp.flags), (segment.sequence, segment.flags));
            assert_eq!((tcp.window, tcp.options()), (segment.window, segment.options));
            assert_eq!((tcp.payload.len(), tcp.payload_length), (0, payload), "no contents");
            assert_eq!(length, bytes.len() + payload);
        }
    }

    #[test]
    fn the_headers_are_those_that_were_recorded_and_nothing_else() {
        check(Script::between("192.0.2.1:7", "192.0.2.2:8000", [1000, 5000]));
        check(Script::between("[2001:db8::1]:6", "[2001:db8::2]:8000", [7, 9]));
    }
}
