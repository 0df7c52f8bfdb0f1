//! TCP segments made from the bytes of a connection, where its packets cannot be captured.

use std::net::{IpAddr, SocketAddr};

use lens::packet::checksum::sum;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// The payload of a segment on Ethernet with IPv4 and without options.
pub(super) const SEGMENT: usize = 1460;

/// The number of TCP in IP.
const TCP: u8 = 6;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

/// Makes the packets of one connection, in their order. Both ends start at sequence number 0.
pub(super) struct SegmentWriter {
    client: SocketAddr,
    server: SocketAddr,
    /// The next sequence number of each end.
    next: [u32; 2],
}

impl SegmentWriter {
    pub(super) fn new(client: SocketAddr, server: SocketAddr) -> Self {
        Self { client, server, next: [0; 2] }
    }

    /// The handshake.
    pub(super) fn handshake(&mut self) -> [Vec<u8>; 3] {
        let syn = self.segment(End::Client, SYN, &[]);
        let answer = self.segment(End::Server, SYN | ACK, &[]);
        [syn, answer, self.segment(End::Client, ACK, &[])]
    }

    /// Data of one end, at most [`SEGMENT`] bytes.
    pub(super) fn data(&mut self, from: End, payload: &[u8]) -> Vec<u8> {
        self.segment(from, PSH | ACK, payload)
    }

    /// A close by the client.
    pub(super) fn close(&mut self) -> [Vec<u8>; 3] {
        let first = self.segment(End::Client, FIN | ACK, &[]);
        let answer = self.segment(End::Server, FIN | ACK, &[]);
        [first, answer, self.segment(End::Client, ACK, &[])]
    }

    fn segment(&mut self, from: End, flags: u8, payload: &[u8]) -> Vec<u8> {
        let (source, destination, own, other) = match from {
            End::Client => (self.client, self.server, 0, 1),
            End::Server => (self.server, self.client, 1, 0),
        };
        let acknowledgment = if flags & ACK == 0 { 0 } else { self.next[other] };
        let mut bytes = Vec::with_capacity(20 + payload.len());
        bytes.extend(source.port().to_be_bytes());
        bytes.extend(destination.port().to_be_bytes());
        bytes.extend(self.next[own].to_be_bytes());
        bytes.extend(acknowledgment.to_be_bytes());
        bytes.extend([5 << 4, flags]); // the length of the header in words, and the flags
        bytes.extend(u16::MAX.to_be_bytes()); // the window
        bytes.extend([0; 4]); // the checksum, and no urgent data
        bytes.extend(payload);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut pseudo = octets(source.ip());
        pseudo.extend(octets(destination.ip()));
        pseudo.extend(length.to_be_bytes());
        pseudo.extend([0, 0, 0, TCP]);
        let checksum = sum(&[&pseudo, &bytes]);
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        let takes = u32::from(flags & (SYN | FIN) != 0);
        let sent = u32::try_from(payload.len()).unwrap_or(u32::MAX).wrapping_add(takes);
        self.next[own] = self.next[own].wrapping_add(sent);
        packet(source.ip(), destination.ip(), &bytes)
    }
}

/// A packet of IP, without a link layer.
fn packet(source: IpAddr, destination: IpAddr, segment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(40 + segment.len());
    if source.is_ipv4() {
        bytes.extend([0x45, 0]);
        bytes.extend((20 + length).to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, TCP, 0, 0]); // do not fragment; 64 hops
    } else {
        bytes.extend([0x60, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([TCP, 64]);
    }
    bytes.extend(octets(source));
    bytes.extend(octets(destination));
    if source.is_ipv4() {
        let checksum = sum(&[&bytes]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes.extend(segment);
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use lens::packet::checksum::Checksum;
    use lens::packet::link::LinkType;
    use lens::packet::{TransportPayload, decode};

    use super::*;

    #[test]
    fn the_segments_are_those_of_a_connection() {
        for address in ["127.0.0.1", "::1"] {
            let address: IpAddr = address.parse().unwrap();
            let (client, server) = (SocketAddr::new(address, 50_000), SocketAddr::new(address, 80));
            let mut writer = SegmentWriter::new(client, server);
            let mut packets = writer.handshake().to_vec();
            packets.push(writer.data(End::Client, b"GET"));
            packets.push(writer.data(End::Server, b"hello"));
            packets.extend(writer.close());
            let read: Vec<_> = packets
                .iter()
                .map(|bytes| {
                    let packet = decode(LinkType::Raw, bytes).unwrap();
                    let TransportPayload::Tcp(tcp) = packet.transport else { panic!("{packet:?}") };
                    assert_eq!(tcp.checksum, Checksum::Right);
                    assert_ne!(packet.network.unwrap().checksum, Checksum::Wrong);
                    let is_client = tcp.source_port == 50_000;
                    (is_client, tcp.flags.0, tcp.sequence, tcp.acknowledgment, tcp.payload)
                })
                .collect();
            let nothing: &[u8] = b"";
            assert_eq!(
                read,
                [
                    (true, 0x02, 0, 0, nothing),
                    (false, 0x12, 0, 1, nothing),
                    (true, 0x10, 1, 1, nothing),
                    (true, 0x18, 1, 1, b"GET"),
                    (false, 0x18, 1, 4, b"hello"),
                    (true, 0x11, 4, 6, nothing),
                    (false, 0x11, 6, 5, nothing),
                    (true, 0x10, 5, 7, nothing),
                ]
            );
        }
    }
}
