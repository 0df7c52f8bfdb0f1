//! Shows a TCP port's connections live: `cargo run -p weir-lens --example watch -- PORT [INTERFACE
//! [DIRECTORY]]`. With a directory, it leaves `capture.pcapng` there, and a picture of each
//! connection when it ends.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;

use lens::capture::PacketCapture;
use lens::capture::captured::{CaptureEvent, CapturedPacket};
use lens::capture::config::Config;
use lens::flow::connection::TcpConnection;
use lens::flow::limits::FlowLimits;
use lens::flow::segment::Segment;
use lens::flow::side::Side;
use lens::flow::{ConnectionId, FlowTable};
use lens::http::{ConnectionReading, read_connection};
use lens::ladder::words::{DetailLevel, Language, contents, duration, facts, offset, remarks};
use lens::ladder::{LadderOptions, draw};
use lens::packet::decode;
use lens::pcapng::{InterfaceId, PacketBlock, PcapngWriter, SectionInfo};

/// A longer stream is not read again with each segment.
const READ_LIVE: u64 = 1 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(port) = arguments.first().and_then(|port| port.parse().ok()) else {
        println!("usage: watch PORT [INTERFACE [DIRECTORY]]");
        return ExitCode::from(2);
    };
    let interface = arguments.get(1).filter(|name| *name != "any").cloned();
    match watch(port, interface, arguments.get(2).map(Path::new)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn watch(
    port: u16,
    interface: Option<String>,
    directory: Option<&Path>,
) -> Result<(), Box<dyn Error>> {
    let mut capture =
        PacketCapture::open(&Config { interface, port: Some(port), ..Config::default() })?;
    println!("watching port {port}; Ctrl-C ends");
    let mut flows = FlowTable::new(FlowLimits::default());
    let mut file = directory.map(Recording::create).transpose()?;
    loop {
        let packet = match capture.next(None)? {
            CaptureEvent::Packet(packet) => packet,
            CaptureEvent::Idle => continue,
            CaptureEvent::Stopped => return Ok(()),
        };
        let Ok(decoded) = decode(packet.link, &packet.bytes) else { continue };
        let Some(seen) = flows.push(packet.at, packet.original_length as u64, &decoded) else {
            continue;
        };
        let Some(connection) = flows.get(seen.connection) else { continue };
        let is_over = connection.ending().is_over();
        let is_short = Side::ALL
            .iter()
            .all(|side| connection.directions.of(*side).stream.length() <= READ_LIVE);
        let conversation = (is_over || (is_short && seen.segment.payload_bytes > 0))
            .then(|| read_connection(connection));
        let line = line(connection, seen.connection, &seen.segment, conversation.as_ref());
        println!("{line}");
        if let Some(file) = &mut file {
            file.packet(&packet, &line)?;
        }
        // What comes after the end, such as the answer to a repeated FIN, is shown but not summed
        // up again.
        let has_just_ended = connection.closing().over_since() == Some(seen.segment.number);
        if let Some(conversation) = conversation.filter(|_| has_just_ended) {
            sum_up(seen.connection, connection, &conversation);
            if let Some(directory) = directory {
                let name = format!("connection-{}.svg", seen.connection.0);
                std::fs::write(
                    directory.join(name),
                    draw(connection, &conversation, &LadderOptions::default()),
                )?;
            }
        }
    }
}

fn line(
    connection: &TcpConnection,
    id: ConnectionId,
    segment: &Segment,
    conversation: Option<&ConnectionReading>,
) -> String {
    let arrow = match segment.from {
        Side::Client => "-->",
        Side::Server => "<--",
    };
    let at = offset(segment.at.since(connection.started));
    let mut words = remarks(segment, Language::English);
    words.extend(
        conversation
            .into_iter()
            .flat_map(|conversation| contents(segment, &conversation.readings, Language::English)),
    );
    let separator = if words.is_empty() { "" } else { "  | " };
    format!(
        "#{:<3} {at:>14} {arrow} {}{separator}{}",
        id.0,
        facts(segment, DetailLevel::Full).join(" "),
        words.join(", ")
    )
}

fn sum_up(id: ConnectionId, connection: &TcpConnection, conversation: &ConnectionReading) {
    let round_trip = connection.handshake.round_trip().map_or("unknown".to_owned(), duration);
    println!(
        "#{:<3} {:?}, {:?}, handshake {round_trip}",
        id.0,
        conversation.protocol,
        connection.ending()
    );
    for side in Side::ALL {
        let (counts, sums) =
            (connection.directions.of(side).counts, conversation.readings.of(side).sums());
        println!(
            "#{:<3}   {side:?} {}: {} segments, {} B on the wire, {} B payload ({} tls, {} head, {} framing, {} body, {} unknown), {} pure ACKs, {} B repeated, {} events",
            id.0,
            connection.addresses.of(side),
            counts.segments,
            counts.wire_bytes,
            counts.payload_bytes,
            sums.tls,
            sums.head,
            sums.framing,
            sums.body,
            sums.unknown,
            counts.pure_acks,
            counts.retransmitted_bytes,
            conversation.readings.of(side).events.len(),
        );
    }
}

/// The file for Wireshark.
struct Recording {
    writer: PcapngWriter<BufWriter<File>>,
    interfaces: Vec<(u32, InterfaceId)>,
}

impl Recording {
    fn create(directory: &Path) -> std::io::Result<Self> {
        let file = BufWriter::new(File::create(directory.join("capture.pcapng"))?);
        let section = SectionInfo {
            hardware: std::env::consts::ARCH,
            system: std::env::consts::OS,
            application: "weir-lens watch",
            comment: "",
        };
        Ok(Self { writer: PcapngWriter::new(file, &section)?, interfaces: Vec::new() })
    }

    fn packet(&mut self, packet: &CapturedPacket, comment: &str) -> std::io::Result<()> {
        let known = self
            .interfaces
            .iter()
            .find(|(number, _)| *number == packet.interface)
            .map(|(_, id)| *id);
        let interface = if let Some(interface) = known {
            interface
        } else {
            let interface = self.writer.interface(
                packet.link,
                &format!("interface {}", packet.interface),
                0,
            )?;
            self.interfaces.push((packet.interface, interface));
            interface
        };
        self.writer.packet(interface, &PacketBlock::of(packet, &[comment]))?;
        self.writer.flush()
    }
}
