//! Packets, built byte by byte, and the script of a connection.

use std::net::{IpAddr, SocketAddr};

use crate::flow::FlowTable;
use crate::flow::limits::FlowLimits;
use crate::flow::side::Side;
use crate::moment::Moment;
use crate::packet::checksum::sum;
use crate::packet::decode;
use crate::packet::link::LinkType;
use crate::packet::tcp::TcpFlags;

pub(crate) const SYN: TcpFlags = TcpFlags::SYN;
pub(crate) const FIN: TcpFlags = TcpFlags(0x011);
pub(crate) const RST: TcpFlags = TcpFlags::RST;
pub(crate) const ACK: TcpFlags = TcpFlags::ACK;
pub(crate) const PSH: TcpFlags = TcpFlags(0x018);

/// A TCP segment with its checksum.
pub(crate) struct Segment<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: TcpFlags,
    pub(crate) window: u16,
    pub(crate) options: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl Segment<'_> {
    pub(crate) fn tcp(&self) -> Vec<u8> {
        let mut options = self.options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        let mut bytes = Vec::new();
        bytes.extend(self.from.port().to_be_bytes());
        bytes.extend(self.to.port().to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgment.to_be_bytes());
        bytes.extend((((20 + options.len() as u16) / 4) << 12 | self.flags.0).to_be_bytes());
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(self.payload);
        let mut pseudo = octets(self.from.ip());
        pseudo.extend(octets(self.to.ip()));
        pseudo.extend((bytes.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, 6]);
        let checksum = sum(&[&pseudo, &bytes]);
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    pub(crate) fn ethernet(&self) -> Vec<u8> {
        let (mut bytes, ethertype) =
            (vec![2; 12], if self.from.is_ipv4() { 0x0800_u16 } else { 0x86DD });
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(ip(self.from.ip(), self.to.ip(), 6, &[], &self.tcp()));
        bytes
    }
}

/// IPv4 with options, or IPv6 with extension headers, around `payload`.
pub(crate) fn ip(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = (options.len() + payload.len()) as u16;
    if from.is_ipv4() {
        bytes.extend([0x45 + (options.len() / 4) as u8, 0]);
        bytes.extend((20 + length).to_be_bytes());
        bytes.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]);
    } else {
        bytes.extend([0x60, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([protocol, 64]);
    }
    bytes.extend(octets(from));
    bytes.extend(octets(to));
    bytes.extend(options);
    if from.is_ipv4() {
        let checksum = sum(&[&bytes]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes.extend(payload);
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// What two sides send to each other, with numbers relative to their first.
pub(crate) struct Script {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) initial: [u32; 2],
    pub(crate) now: u64,
    pub(crate) packets: Vec<(Moment, Vec<u8>)>,
    options: Vec<u8>,
    window: u16,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::between("192.0.2.1:40000", "192.0.2.2:8000", [1000, 5000])
    }

    pub(crate) fn between(client: &str, server: &str, initial: [u32; 2]) -> Self {
        let (client, server) = (client.parse().unwrap(), server.parse().unwrap());
        Self {
            client,
            server,
            initial,
            now: 1_000_000,
            packets: Vec::new(),
            options: Vec::new(),
            window: 1000,
        }
    }

    /// Lets microseconds pass.
    pub(crate) fn wait(&mut self, microseconds: u64) -> &mut Self {
        self.now += microseconds * 1000;
        self
    }

    /// The options of the next segment.
    pub(crate) fn options(&mut self, options: &[u8]) -> &mut Self {
        self.options = options.to_vec();
        self
    }

    /// The window of the next segment.
    pub(crate) fn window(&mut self, window: u16) -> &mut Self {
        self.window = window;
        self
    }

    pub(crate) fn client(
        &mut self,
        flags: TcpFlags,
        sequence: u32,
        acknowledgment: u32,
        payload: &[u8],
    ) -> &mut Self {
        self.send(Side::Client, flags, sequence, acknowledgment, payload)
    }

    pub(crate) fn server(
        &mut self,
        flags: TcpFlags,
        sequence: u32,
        acknowledgment: u32,
        payload: &[u8],
    ) -> &mut Self {
        self.send(Side::Server, flags, sequence, acknowledgment, payload)
    }

    fn send(
        &mut self,
        side: Side,
        flags: TcpFlags,
        sequence: u32,
        acknowledgment: u32,
        payload: &[u8],
    ) -> &mut Self {
        let (from, to, own, other) = match side {
            Side::Client => (self.client, self.server, self.initial[0], self.initial[1]),
            Side::Server => (self.server, self.client, self.initial[1], self.initial[0]),
        };
        let acknowledgment =
            if flags.contains(ACK) { other.wrapping_add(acknowledgment) } else { 0 };
        let options = std::mem::take(&mut self.options);
        let window = std::mem::replace(&mut self.window, 1000);
        let sequence = own.wrapping_add(sequence);
        let segment = Segment {
            from,
            to,
            sequence,
            acknowledgment,
            flags,
            window,
            options: &options,
            payload,
        };
        self.packets.push((Moment(self.now), segment.ethernet()));
        self.wait(10)
    }

    /// SYN, SYN+ACK, ACK.
    pub(crate) fn handshake(&mut self) -> &mut Self {
        self.options(&[2, 4, 5, 180, 3, 3, 7]).client(SYN, 0, 0, b"");
        self.options(&[2, 4, 5, 180, 3, 3, 7]).server(SYN | ACK, 0, 1, b"");
        self.client(ACK, 1, 1, b"")
    }

    pub(crate) fn flows(&self) -> FlowTable {
        let mut flows = FlowTable::new(FlowLimits::default());
        for (at, bytes) in &self.packets {
            let packet = decode(LinkType::Ethernet, bytes).unwrap();
            flows.push(*at, bytes.len() as u64, &packet);
        }
        flows
    }
}
