//! The capture file of a comparison: the packets of every cell and experiment, with comments that say
//! what each holds and which rulings cite it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufWriter;

use anyhow::Result;
use lab::captured::{CapturedConnections, ReadConnection};
use lab::claims::packets::PacketSet;
use lab::claims::verdict::CitedPackets;
use lens::capture::captured::CapturedPacket;
use lens::flow::side::Side;
use lens::ladder::words::{Language, contents, remarks};
use lens::packet::link::LinkType;
use lens::pcapng::{InterfaceId, PacketBlock, PcapngWriter, SectionInfo};

/// Whether the client sends an API key, which must not be in any file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authentication {
    /// With a key: only the headers of the client's packets are kept, and no TLS secrets.
    Key,
    /// Without a key.
    None,
}

/// The capture file, with an interface for each one that was captured.
pub(super) struct CaptureFile {
    writer: PcapngWriter<BufWriter<File>>,
    name: String,
    interfaces: Vec<((LinkType, u32), InterfaceId)>,
    has_key: bool,
    /// The number of packets so far.
    frames: u64,
    /// The number of connections so far, which is the next number that Wireshark gives
    /// (`tcp.stream`).
    streams: u64,
    cited: BTreeMap<u32, CitedPackets>,
}

/// The number of each connection of a set in the file.
type Streams = HashMap<u64, u64>;

impl CaptureFile {
    /// Creates the file. `name` is that of the interface.
    pub(super) fn new(file: File, name: &str, authentication: Authentication) -> Result<Self> {
        let section = SectionInfo {
            hardware: std::env::consts::ARCH,
            system: std::env::consts::OS,
            application: concat!("weir ", env!("CARGO_PKG_VERSION")),
            comment: "weir compare: the comments of a packet say to which cell or experiment it belongs, what it holds, and which claims rest on it",
        };
        Ok(Self {
            writer: PcapngWriter::new(BufWriter::new(file), &section)?,
            name: name.to_owned(),
            interfaces: Vec::new(),
            has_key: authentication == Authentication::Key,
            frames: 0,
            streams: 0,
            cited: BTreeMap::new(),
        })
    }

    /// Writes the packets of a cell or an experiment.
    pub(super) fn write(&mut self, set: &PacketSet, reads: &[ReadConnection<'_>]) -> Result<()> {
        if !set.key_lines.is_empty() && !self.has_key {
            self.writer.tls_keys(&set.key_lines)?;
        }
        let streams = self.number(&set.captured);
        for (packet, connection, number) in &set.captured.packets {
            let read = reads.iter().find(|read| read.id == *connection);
            self.frames += 1;
            let mut comments = vec![format!(
                "{}{}",
                set.name,
                read.map(|read| about(read, *number)).unwrap_or_default()
            )];
            let citations = set.cited.citations.iter().filter(|citation| {
                (citation.connection, citation.segment) == (*connection, *number)
            });
            for citation in citations {
                comments.push(format!("claim {}: {}", citation.claim, citation.note));
                let cited = self.cited.entry(citation.claim).or_default();
                if cited.frames.last() != Some(&self.frames) {
                    cited.frames.push(self.frames);
                }
            }
            let comments: Vec<&str> = comments.iter().map(String::as_str).collect();
            let mut shown = PacketBlock::of(packet, &comments);
            if self.has_key {
                shown.bytes = &shown.bytes[..kept(read, *number, packet).min(shown.bytes.len())];
            }
            let interface = self.interface(packet)?;
            self.writer.packet(interface, &shown)?;
        }
        self.search(set, &streams);
        self.writer.flush()?;
        Ok(())
    }

    /// The packets that each ruling cites, by the number of its claim.
    pub(super) fn cited(&self) -> BTreeMap<u32, CitedPackets> {
        self.cited.clone()
    }

    /// Gives each connection its number, in the order of their first packets.
    fn number(&mut self, captured: &CapturedConnections) -> Streams {
        let mut streams = Streams::new();
        for (_, connection, _) in &captured.packets {
            streams.entry(*connection).or_insert_with(|| {
                self.streams += 1;
                self.streams - 1
            });
        }
        streams
    }

    /// Adds the filters of a set, limited to its connections.
    fn search(&mut self, set: &PacketSet, streams: &Streams) {
        for search in &set.cited.searches {
            let numbers: Vec<String> = search
                .connections
                .iter()
                .filter_map(|connection| streams.get(connection))
                .map(u64::to_string)
                .collect();
            let within = match &numbers[..] {
                [] => continue,
                [one] => format!("tcp.stream == {one}"),
                several => format!("tcp.stream in {{{}}}", several.join(", ")),
            };
            let cited = self.cited.entry(search.claim).or_default();
            cited.searches.push(format!("{within} && ({})", search.condition));
        }
    }

    fn interface(&mut self, packet: &CapturedPacket) -> Result<InterfaceId> {
        let key = (packet.link, packet.interface);
        if let Some((_, interface)) = self.interfaces.iter().find(|(known, _)| *known == key) {
            return Ok(*interface);
        }
        let name = match self.interfaces.len() {
            0 => self.name.clone(),
            number => format!("{} {}", self.name, number + 1),
        };
        let interface = self.writer.interface(packet.link, &name, 0)?;
        self.interfaces.push((key, interface));
        Ok(interface)
    }
}

/// The number of bytes of a packet that are kept if there is a key: all of the server's, and the
/// headers of the client's.
fn kept(read: Option<&ReadConnection<'_>>, number: u64, packet: &CapturedPacket) -> usize {
    let segment =
        read.and_then(|read| read.connection.segments().get(usize::try_from(number).ok()?));
    match segment {
        Some(segment) if segment.from == Side::Server => packet.bytes.len(),
        Some(segment) => {
            usize::try_from(segment.link_bytes + segment.network_bytes + segment.transport_bytes)
                .unwrap_or_default()
        }
        None => 0,
    }
}

/// The contents of a segment, and remarks on it.
fn about(read: &ReadConnection<'_>, number: u64) -> String {
    let segment =
        usize::try_from(number).ok().and_then(|index| read.connection.segments().get(index));
    let Some(segment) = segment else { return String::new() };
    let mut words = remarks(segment, Language::English);
    words.extend(contents(segment, &read.conversation.readings, Language::English));
    if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) }
}
