//! The packets of a tap's connections: captured where the system permits it, otherwise made from
//! the bytes that the client read and wrote.

use std::fs::File;
use std::io::BufWriter;
use std::time::{Instant, UNIX_EPOCH};

use anyhow::Result;
use client::{DirectionBytes, TappedCall};
use lens::capture::PacketRecorder;
use lens::capture::captured::{CapturedPacket, PacketDirection};
use lens::capture::config::Config;
use lens::moment::Moment;
use lens::packet::link::LinkType;
use lens::packet::{TransportPayload, decode};
use lens::pcapng::{InterfaceId, PacketBlock, PcapngWriter, SectionInfo};

use super::segments::{End, SEGMENT, SegmentWriter};
use crate::chat::server::ChatServer;
use crate::tap::recording::{Exchange, Recording};

/// The bytes of packets that are held until the end.
const HELD: usize = 64 << 20;

/// In place of each byte of a key.
const HIDDEN: u8 = b'*';

/// Where the packets come from.
pub(super) enum PacketSource {
    /// They are captured.
    Captured { recorder: PacketRecorder, has_key: bool },
    /// They are made, for this reason.
    Made(String),
}

impl PacketSource {
    /// Starts to capture, if that gives packets that can be read.
    pub(super) fn start(server: &ChatServer) -> Self {
        let Some(port) = server.plain_port() else {
            return Self::Made("captured ones would be encrypted".to_owned());
        };
        match PacketRecorder::start(&Config { port: Some(port), ..Config::default() }, HELD) {
            Ok(recorder) => Self::Captured { recorder, has_key: server.has_key() },
            Err(error) => Self::Made(error.to_string()),
        }
    }

    /// Writes the file. Returns what has to be known about it.
    pub(super) fn write(self, recording: &Recording, file: &mut File) -> Result<String> {
        let out = BufWriter::new(file);
        match self {
            Self::Captured { recorder, has_key } => {
                let packets = recorder.stop()?.packets;
                let comment = format!(
                    "weir tap {}: the packets of the tap's connections, as captured{}",
                    recording.response_id,
                    if has_key { "; of the client's only the headers are kept" } else { "" }
                );
                let mut writer = PcapngWriter::new(out, &section(&comment))?;
                captured(&mut writer, recording, &packets, has_key)?;
                writer.finish()?;
                Ok(", captured packets".to_owned())
            }
            Self::Made(reason) => {
                let comment = format!(
                    "weir tap {}: the segments are SYNTHESISED from the bytes that the client wrote and read, with the times of its writes and reads; they are not captured packets ({reason})",
                    recording.response_id
                );
                let mut writer = PcapngWriter::new(out, &section(&comment))?;
                made(&mut writer, recording)?;
                writer.finish()?;
                Ok(format!(", synthesised segments: {reason}"))
            }
        }
    }
}

fn section(comment: &str) -> SectionInfo<'_> {
    SectionInfo {
        hardware: std::env::consts::ARCH,
        system: std::env::consts::OS,
        application: concat!("weir ", env!("CARGO_PKG_VERSION")),
        comment,
    }
}

type Writer<'a> = PcapngWriter<BufWriter<&'a mut File>>;

/// Writes those packets that belong to the tap's connections.
fn captured(
    writer: &mut Writer<'_>,
    recording: &Recording,
    packets: &[CapturedPacket],
    has_key: bool,
) -> Result<()> {
    let mut interfaces: Vec<((LinkType, u32), InterfaceId)> = Vec::new();
    for packet in packets {
        let Some(own) = OwnPacket::of(packet, recording) else { continue };
        let key = (packet.link, packet.interface);
        let known = interfaces.iter().find(|(known, _)| *known == key).map(|(_, id)| *id);
        let interface = if let Some(interface) = known {
            interface
        } else {
            let name = format!("interface {}", packet.interface);
            let interface = writer.interface(packet.link, &name, 0)?;
            interfaces.push((key, interface));
            interface
        };
        let mut block = PacketBlock::of(packet, &[]);
        if has_key && own.is_clients {
            block.bytes = &block.bytes[..own.header_bytes.min(block.bytes.len())];
        }
        writer.packet(interface, &block)?;
    }
    Ok(())
}

/// A packet of a connection of the tap.
struct OwnPacket {
    is_clients: bool,
    /// The bytes before its payload.
    header_bytes: usize,
}

impl OwnPacket {
    fn of(packet: &CapturedPacket, recording: &Recording) -> Option<Self> {
        let decoded = decode(packet.link, &packet.bytes).ok()?;
        let TransportPayload::Tcp(segment) = decoded.transport else { return None };
        let network = decoded.network?;
        let ports = (segment.source_port, segment.destination_port);
        recording.exchanges.iter().find_map(|exchange| {
            let (local, peer) = (exchange.info.local, exchange.info.peer);
            let is_clients = ports == (local.port(), peer.port())
                && (network.source, network.destination) == (local.ip(), peer.ip());
            let is_servers = ports == (peer.port(), local.port())
                && (network.source, network.destination) == (peer.ip(), local.ip());
            (is_clients || is_servers).then_some(Self {
                is_clients,
                header_bytes: decoded.link_length + network.header_length + segment.header_length,
            })
        })
    }
}

/// Writes segments with the bytes of the connections.
fn made(writer: &mut Writer<'_>, recording: &Recording) -> Result<()> {
    let interface = writer.interface(LinkType::Raw, "synthesised", 0)?;
    for exchange in &recording.exchanges {
        let mut made = MadeConnection { writer, interface, exchange, is_first: true };
        made.write()?;
    }
    Ok(())
}

/// The segments of one connection.
struct MadeConnection<'a, 'b> {
    writer: &'a mut Writer<'b>,
    interface: InterfaceId,
    exchange: &'a Exchange,
    is_first: bool,
}

impl MadeConnection<'_, '_> {
    fn write(&mut self) -> Result<()> {
        let info = &self.exchange.info;
        let mut segments = SegmentWriter::new(info.local, info.peer);
        let (opened, connected) = (self.exchange.opened, self.exchange.opened + info.connected);
        for (packet, (from, at)) in segments.handshake().iter().zip([
            (End::Client, opened),
            (End::Server, connected),
            (End::Client, connected),
        ]) {
            self.packet(packet, from, at)?;
        }
        let tapped = info.tap.tapped();
        let mut up = tapped.up.clone();
        hide_key(&mut up.bytes);
        let mut parts: Vec<(Instant, End, &[u8])> = Vec::new();
        parts.extend(calls(&up).map(|(at, bytes)| (at, End::Client, bytes)));
        parts.extend(calls(&tapped.down).map(|(at, bytes)| (at, End::Server, bytes)));
        parts.sort_by_key(|(at, ..)| *at);
        let mut last = connected;
        for (at, from, bytes) in parts {
            last = at;
            for payload in bytes.chunks(SEGMENT) {
                self.packet(&segments.data(from, payload), from, at)?;
            }
        }
        let end = self.exchange.ended.unwrap_or(last).max(last);
        for (packet, from) in segments.close().iter().zip([End::Client, End::Server, End::Client]) {
            self.packet(packet, from, end)?;
        }
        Ok(())
    }

    fn packet(&mut self, bytes: &[u8], from: End, at: Instant) -> Result<()> {
        let comments: &[&str] = if std::mem::take(&mut self.is_first) {
            &["weir tap: this connection is synthesised, see the comment of the section"]
        } else {
            &[]
        };
        let since = self.exchange.date(at).duration_since(UNIX_EPOCH).unwrap_or_default();
        let block = PacketBlock {
            at: Moment(0) + since,
            direction: match from {
                End::Client => PacketDirection::Outgoing,
                End::Server => PacketDirection::Incoming,
            },
            original_length: bytes.len(),
            bytes,
            comments,
        };
        Ok(self.writer.packet(self.interface, &block)?)
    }
}

/// The kept bytes of a direction, by the calls that read or wrote them.
fn calls(direction: &DirectionBytes) -> impl Iterator<Item = (Instant, &[u8])> {
    let mut start = 0;
    direction.kept_calls.iter().map_while(move |TappedCall { at, end }| {
        let end = usize::try_from(*end).unwrap_or(usize::MAX).min(direction.bytes.len());
        let bytes = direction.bytes.get(start..end).filter(|bytes| !bytes.is_empty())?;
        start = end;
        Some((*at, bytes))
    })
}

/// Overwrites the key of a request, of which the length stays.
fn hide_key(bytes: &mut [u8]) {
    const FIELD: &[u8] = b"\r\nauthorization: Bearer ";
    let Some(found) = bytes.windows(FIELD.len()).position(|window| window == FIELD) else { return };
    let key = bytes.iter_mut().skip(found + FIELD.len()).take_while(|byte| **byte != b'\r');
    key.for_each(|byte| *byte = HIDDEN);
}

#[cfg(test)]
mod tests {
    use client::now;

    use super::*;

    #[test]
    fn a_key_is_overwritten() {
        let mut bytes =
            b"GET / HTTP/1.1\r\nhost: h\r\nauthorization: Bearer wk_x\r\na: b\r\n\r\n".to_vec();
        hide_key(&mut bytes);
        let shown = String::from_utf8(bytes).unwrap();
        assert_eq!(
            shown,
            "GET / HTTP/1.1\r\nhost: h\r\nauthorization: Bearer ****\r\na: b\r\n\r\n"
        );
    }

    #[test]
    fn bytes_are_split_by_their_calls() {
        let at = now();
        let direction = DirectionBytes {
            bytes: b"abcde".to_vec(),
            length: 9,
            calls: 3,
            kept_calls: [2, 5, 9].map(|end| TappedCall { at, end }).to_vec(),
        };
        let found: Vec<&[u8]> = calls(&direction).map(|(_, bytes)| bytes).collect();
        assert_eq!(found, [b"ab".as_slice(), b"cde"]);
    }
}
