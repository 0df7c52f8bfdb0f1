//! Wireshark agrees on the golden connections, packet by packet, also on those that a loopback
//! never shows.

use std::process::Command;

use crate::capture::captured::PacketDirection;
use crate::flow::connection::TcpConnection;
use crate::flow::mark::SegmentMark;
use crate::flow::segment::Segment;
use crate::packet::decode;
use crate::packet::link::LinkType;
use crate::pcapng::{PacketBlock, PcapngWriter, SectionInfo};
use crate::tests::build::{ACK, FIN, PSH, RST, SYN, Script};

/// One connection of each kind, each at ports of its own.
fn scripts() -> Vec<Script> {
    let script = |port: u16, initial| {
        Script::between(&format!("192.0.2.1:{port}"), "192.0.2.2:8000", initial)
    };
    let mut keep_alive = script(1, [1000, 5000]);
    keep_alive
        .handshake()
        .client(PSH, 1, 1, b"request")
        .server(PSH, 1, 8, b"answer")
        .client(ACK, 8, 7, b"");
    keep_alive
        .server(ACK, 6, 8, b"")
        .client(ACK, 8, 7, b"")
        .client(FIN, 8, 7, b"")
        .server(FIN, 7, 9, b"")
        .client(ACK, 9, 8, b"");
    let mut half_closed = script(2, [7, 9]);
    half_closed
        .handshake()
        .client(FIN, 1, 1, b"ask")
        .server(ACK, 1, 5, b"")
        .server(PSH, 1, 5, b"answer")
        .client(ACK, 5, 7, b"");
    half_closed.server(FIN, 7, 5, b"").client(ACK, 5, 8, b"");
    let mut both = script(3, [7, 9]);
    both.handshake()
        .client(FIN, 1, 1, b"")
        .server(FIN, 1, 1, b"")
        .client(ACK, 2, 2, b"")
        .server(ACK, 2, 2, b"");
    let mut reset = script(4, [7, 9]);
    reset.handshake().server(PSH, 1, 1, b"part").client(RST, 1, 0, b"");
    let mut lost = script(5, [7, 9]);
    lost.handshake()
        .server(PSH, 4, 1, b"def")
        .client(ACK, 1, 1, b"")
        .client(ACK, 1, 1, b"")
        .client(ACK, 1, 1, b"");
    lost.wait(300_000)
        .server(PSH, 1, 1, b"abc")
        .client(ACK, 1, 7, b"")
        .wait(300_000)
        .server(PSH, 4, 1, b"def");
    // The answer to that would be a duplicate to Wireshark, but not to RFC 5681, section 2: nothing
    // is under way.
    let mut wrapped =
        Script::between("[2001:db8::1]:6", "[2001:db8::2]:8000", [u32::MAX - 2, u32::MAX - 1]);
    wrapped
        .handshake()
        .client(PSH, 1, 1, b"wrap")
        .client(PSH, 5, 1, b"ped")
        .server(PSH, 1, 8, b"yes")
        .client(ACK, 8, 4, b"");
    let mut windows = script(7, [7, 9]);
    windows
        .handshake()
        .server(PSH, 1, 1, b"full")
        .window(0)
        .client(ACK, 1, 5, b"")
        .window(500)
        .client(ACK, 1, 5, b"");
    let mut options = script(8, [7, 9]);
    options
        .options(&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 3, 3, 9])
        .client(SYN, 0, 0, b"");
    options
        .options(&[2, 4, 2, 0, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7])
        .server(SYN | ACK, 0, 1, b"")
        .client(ACK, 1, 1, b"");
    options.server(PSH, 11, 1, &[7; 10]);
    options.options(&[5, 10, 0, 0, 0, 20, 0, 0, 0, 30]).client(ACK, 1, 1, b"");
    vec![keep_alive, half_closed, both, reset, lost, wrapped, windows, options]
}

const FIELDS: [&str; 16] = [
    "tcp.seq",
    "tcp.seq_raw",
    "tcp.ack",
    "tcp.len",
    "tcp.flags",
    "tcp.window_size",
    "tcp.hdr_len",
    "tcp.options.mss_val",
    "tcp.options.wscale.shift",
    "tcp.options.timestamp.tsval",
    "tcp.options.sack_le",
    "tcp.analysis.zero_window",
    "tcp.analysis.keep_alive",
    "tcp.analysis.keep_alive_ack",
    "tcp.analysis.window_update",
    "tcp.analysis.duplicate_ack",
];

/// A segment in the words of tshark's fields.
fn line(connection: &TcpConnection, segment: &Segment) -> String {
    let text = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
    let has = |mark: SegmentMark| text(segment.marks.contains(&mark).then_some(1));
    let options = &segment.options;
    // It tells selective acknowledgments relative to the other side's initial number, as we tell
    // the others.
    let other = connection.directions.of(segment.from.other()).initial.unwrap_or(0);
    [
        segment.relative_sequence.unwrap_or(0).to_string(),
        segment.sequence.to_string(),
        segment.relative_acknowledgment.unwrap_or(0).to_string(),
        segment.payload_bytes.to_string(),
        format!("{:#06x}", segment.flags.0),
        text(segment.window_bytes.map(u64::from)),
        segment.transport_bytes.to_string(),
        text(options.maximum_segment_size.map(u64::from)),
        text(options.window_scale.map(u64::from)),
        text(options.timestamps.map(|(value, _)| value.into())),
        text(options.sack.blocks().first().map(|(left, _)| left.wrapping_sub(other).into())),
        has(SegmentMark::ZeroWindow),
        has(SegmentMark::KeepAlive),
        has(SegmentMark::KeepAliveAnswer),
        has(SegmentMark::WindowUpdate),
        has(SegmentMark::DuplicateAck),
    ]
    .join("\t")
}

fn tshark(path: &str) -> String {
    // The settings of the person who runs this have no say.
    let mut command = Command::new("tshark");
    command.args([
        "-r",
        path,
        "-T",
        "fields",
        "-E",
        "occurrence=f",
        "-o",
        "tcp.check_checksum:TRUE",
    ]);
    command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = command.env("LC_ALL", "C.UTF-8").env("HOME", "/nonexistent").output();
    let output =
        output.unwrap_or_else(|error| panic!("tshark: {error}; scripts/setup installs it"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn wireshark_agrees_on_the_golden_connections() {
    let directory = tempfile::tempdir().unwrap();
    for (index, script) in scripts().iter().enumerate() {
        let path = directory.path().join(format!("{index}.pcapng"));
        let mut writer =
            PcapngWriter::new(std::fs::File::create(&path).unwrap(), &SectionInfo::default())
                .unwrap();
        let interface = writer.interface(LinkType::Ethernet, "wire", 0).unwrap();
        for (at, bytes) in &script.packets {
            assert!(decode(LinkType::Ethernet, bytes).is_ok());
            let packet = PacketBlock {
                at: *at,
                direction: PacketDirection::Incoming,
                original_length: bytes.len(),
                bytes,
                comments: &[],
            };
            writer.packet(interface, &packet).unwrap();
        }
        drop(writer.finish().unwrap());
        let flows = script.flows();
        let connection = flows.iter().next().unwrap().1;
        let segments = connection.segments();
        let found = tshark(path.to_str().unwrap());
        let found: Vec<&str> = found.lines().collect();
        assert_eq!(found.len(), segments.len());
        for (found, segment) in found.iter().zip(segments) {
            assert_eq!(
                found.trim_end(),
                line(connection, segment).trim_end(),
                "connection {index}, segment {}",
                segment.number
            );
        }
    }
}
