//! Wireshark reads what the lens writes, and sees in each packet what the lens sees.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "it is a test")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use lens::capture::PacketCapture;
use lens::capture::captured::{CaptureEvent, CapturedPacket};
use lens::capture::config::{CaptureError, Config};
use lens::flow::FlowTable;
use lens::flow::limits::FlowLimits;
use lens::flow::segment::Segment;
use lens::packet::decode;
use lens::packet::link::LinkType;
use lens::packet::tcp::TcpFlags;
use lens::pcapng::{PacketBlock, PcapngWriter, SectionInfo};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n";

/// Whether this process has CAP_NET_RAW, bit 13 (capabilities(7)), by `/proc/self/status`.
fn has_net_raw() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & (1 << 13) != 0
}

/// Three answers on one connection, closed by the client; a second connection that is reset.
fn capture() -> Option<(Vec<CapturedPacket>, u16, lens::capture::captured::CaptureStatistics)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut capture = match PacketCapture::open(&Config { port: Some(port), ..Config::default() }) {
        Ok(capture) => capture,
        Err(error @ CaptureError::NotPermitted) => {
            assert!(!has_net_raw(), "this process has CAP_NET_RAW, and was told: {error}");
            eprintln!("not tested: {error}");
            return None;
        }
        Err(other) => panic!("{other}"),
    };
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        server.read_exact(&mut [0; 27]).unwrap();
        server.write_all(ANSWER).unwrap();
        client.read_exact(&mut [0; ANSWER.len()]).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    server.read_to_end(&mut Vec::new()).unwrap();
    drop(server);
    client.read_to_end(&mut Vec::new()).unwrap();
    // What nobody read makes a close a reset.
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"unread").unwrap();
    client.peek(&mut [0; 6]).unwrap();
    drop(client);

    let (mut packets, mut flows) = (Vec::new(), FlowTable::new(FlowLimits::default()));
    while flows.iter().filter(|(_, connection)| connection.ending().is_over()).count() < 2 {
        let CaptureEvent::Packet(packet) = capture.next(Some(Duration::from_secs(10))).unwrap()
        else {
            panic!("{flows:#?}")
        };
        flows.push(
            packet.at,
            packet.original_length as u64,
            &decode(packet.link, &packet.bytes).unwrap(),
        );
        packets.push(packet);
    }
    Some((packets, port, capture.statistics().unwrap()))
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output();
    let output = output
        .unwrap_or_else(|error| panic!("{program}: {error}; install Debian's package tshark"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A segment in the words of tshark's fields.
fn line(packet: &CapturedPacket, connection: u64, segment: &Segment) -> String {
    let number = |number: Option<u64>| number.map_or("0".to_owned(), |number| number.to_string());
    let acknowledgment = segment.acknowledgment.unwrap_or(0);
    let flags = |flag| if segment.flags.contains(flag) { "1" } else { "0" };
    let options = &segment.options;
    let fields = [
        format!("{}.{:09}", packet.at.0 / 1_000_000_000, packet.at.0 % 1_000_000_000),
        packet.original_length.to_string(),
        connection.to_string(),
        number(segment.relative_sequence),
        segment.sequence.to_string(),
        number(segment.relative_acknowledgment),
        acknowledgment.to_string(),
        segment.payload_bytes.to_string(),
        flags(TcpFlags::SYN).to_owned(),
        flags(TcpFlags::ACK).to_owned(),
        flags(TcpFlags::FIN).to_owned(),
        flags(TcpFlags::RST).to_owned(),
        flags(TcpFlags::PSH).to_owned(),
        segment.window_bytes.map_or(String::new(), |window| window.to_string()),
        segment.transport_bytes.to_string(),
        options.maximum_segment_size.map_or(String::new(), |size| size.to_string()),
        options.window_scale.map_or(String::new(), |shift| shift.to_string()),
        options.timestamps.map_or(String::new(), |(value, _)| value.to_string()),
        format!("number {}", segment.number),
    ];
    fields.join("\t")
}

const FIELDS: [&str; 19] = [
    "frame.time_epoch",
    "frame.len",
    "tcp.stream",
    "tcp.seq",
    "tcp.seq_raw",
    "tcp.ack",
    "tcp.ack_raw",
    "tcp.len",
    "tcp.flags.syn",
    "tcp.flags.ack",
    "tcp.flags.fin",
    "tcp.flags.reset",
    "tcp.flags.push",
    "tcp.window_size",
    "tcp.hdr_len",
    "tcp.options.mss_val",
    "tcp.options.wscale.shift",
    "tcp.options.timestamp.tsval",
    "frame.comment",
];

#[test]
fn tshark_sees_what_the_lens_sees() {
    let Some((packets, port, statistics)) = capture() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capture.pcapng");
    let section = SectionInfo {
        hardware: "any",
        system: "Linux",
        application: "weir-lens",
        comment: "a test",
    };
    let mut writer = PcapngWriter::new(std::fs::File::create(&path).unwrap(), &section).unwrap();
    let interface = writer.interface(LinkType::Ethernet, "lo", 0).unwrap();
    writer.tls_keys("CLIENT_RANDOM 00 11\n").unwrap();
    let mut flows = FlowTable::new(FlowLimits::default());
    let mut expected = Vec::new();
    for packet in &packets {
        let seen = flows
            .push(
                packet.at,
                packet.original_length as u64,
                &decode(packet.link, &packet.bytes).unwrap(),
            )
            .unwrap();
        let comment = format!("number {}", seen.segment.number);
        writer.packet(interface, &PacketBlock::of(packet, &[&comment])).unwrap();
        expected.push(line(packet, seen.connection.0, &seen.segment));
    }
    writer.statistics(interface, packets.last().unwrap().at, &statistics).unwrap();
    drop(writer.finish().unwrap());

    let path = path.to_str().unwrap();
    let decode_as = format!("tcp.port=={port},http");
    let mut arguments = vec!["-r", path, "-T", "fields", "-E", "occurrence=f", "-d", &decode_as];
    arguments.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
    let found = run("tshark", &arguments);
    // It writes flags as `True` from version 4.2 on.
    let found: Vec<String> =
        found.lines().map(|line| line.replace("True", "1").replace("False", "0")).collect();
    assert!(packets.len() >= 15, "{}", packets.len());
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "packet {}", index + 1);
    }
    assert_eq!(found.len(), expected.len());

    let facts = run("capinfos", &["-M", path]);
    for fact in ["pcapng", "weir-lens", "a test", "lo", "nanoseconds"] {
        assert!(facts.contains(fact), "no {fact:?} in {facts}");
    }
}
