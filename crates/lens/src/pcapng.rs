//! Writes captures that Wireshark opens (draft-ietf-opsawg-pcapng), with comments on packets and
//! the keys of TLS.

use std::io::{self, Write};

use crate::capture::captured::{CaptureStatistics, CapturedPacket, PacketDirection};
use crate::moment::Moment;
use crate::packet::link::LinkType;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;

/// `TLSK`: lines as `SSLKEYLOGFILE` has them (draft-ietf-opsawg-pcapng, section 4.7).
const TLS_KEY_LOG: u32 = 0x544C_534B;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;

/// The first blocks of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SectionInfo<'a> {
    /// The machine.
    pub hardware: &'a str,
    /// The system.
    pub system: &'a str,
    /// The program.
    pub application: &'a str,
    /// On the whole capture.
    pub comment: &'a str,
}

/// An interface of a file, by its number from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceId(u32);

/// What is written of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketBlock<'a> {
    /// When it was seen.
    pub at: Moment,
    /// Which way it went.
    pub direction: PacketDirection,
    /// How long it was.
    pub original_length: usize,
    /// Its bytes, or the first of them.
    pub bytes: &'a [u8],
    /// Remarks on it; each is a comment of its own.
    pub comments: &'a [&'a str],
}

impl<'a> PacketBlock<'a> {
    /// A captured packet with remarks.
    pub fn of(captured: &'a CapturedPacket, comments: &'a [&'a str]) -> Self {
        let CapturedPacket { at, direction, original_length, bytes, .. } = captured;
        Self { at: *at, direction: *direction, original_length: *original_length, bytes, comments }
    }
}

/// Writes one section, little-endian.
#[derive(Debug)]
pub struct PcapngWriter<W> {
    out: W,
    interfaces: u32,
}

impl<W: Write> PcapngWriter<W> {
    /// Begins a file (section 4.1).
    pub fn new(mut out: W, section: &SectionInfo<'_>) -> io::Result<Self> {
        let mut block = Block::new(SECTION_HEADER);
        block.u32(0x1A2B_3C4D).u16(1).u16(0); // byte order, version 1.0
        block.u64(u64::MAX); // the length of the section is not known
        block
            .text(OPTION_COMMENT, section.comment)
            .text(2, section.hardware)
            .text(3, section.system)
            .text(4, section.application);
        block.end(&mut out)?;
        Ok(Self { out, interfaces: 0 })
    }

    /// Adds an interface (section 4.2), whose times are in nanoseconds. `packet_bytes` is how many
    /// of each packet are kept, 0 for all.
    pub fn interface(
        &mut self,
        link: LinkType,
        name: &str,
        packet_bytes: u32,
    ) -> io::Result<InterfaceId> {
        let mut block = Block::new(INTERFACE_DESCRIPTION);
        block.u16(link.number()).u16(0).u32(packet_bytes);
        block.text(2, name).option(9, &[9]); // if_tsresol: 10^-9 s
        block.end(&mut self.out)?;
        self.interfaces += 1;
        Ok(InterfaceId(self.interfaces - 1))
    }

    /// Adds the keys of TLS, as lines of a key log. They apply to the packets after them.
    pub fn tls_keys(&mut self, key_log: &str) -> io::Result<()> {
        let mut block = Block::new(DECRYPTION_SECRETS);
        block.u32(TLS_KEY_LOG).u32(length_of(key_log.as_bytes())).padded(key_log.as_bytes());
        block.end(&mut self.out)
    }

    /// Adds a packet (section 4.3).
    pub fn packet(&mut self, interface: InterfaceId, packet: &PacketBlock<'_>) -> io::Result<()> {
        let mut block = Block::new(ENHANCED_PACKET);
        block.u32(interface.0).time(packet.at).u32(length_of(packet.bytes));
        block.u32(u32::try_from(packet.original_length).unwrap_or(u32::MAX)).padded(packet.bytes);
        for comment in packet.comments {
            block.text(OPTION_COMMENT, comment);
        }
        // epb_flags: the two lowest bits are the direction.
        let flags: u32 = match packet.direction {
            PacketDirection::Incoming => 1,
            PacketDirection::Outgoing => 2,
            PacketDirection::Other => 0,
        };
        block.option(2, &flags.to_le_bytes());
        block.end(&mut self.out)
    }

    /// Adds how many packets there were (section 4.6).
    pub fn statistics(
        &mut self,
        interface: InterfaceId,
        at: Moment,
        statistics: &CaptureStatistics,
    ) -> io::Result<()> {
        let mut block = Block::new(INTERFACE_STATISTICS);
        block.u32(interface.0).time(at);
        block
            .option(4, &statistics.received.to_le_bytes())
            .option(5, &statistics.dropped.to_le_bytes()); // isb_ifrecv, isb_ifdrop
        block.end(&mut self.out)
    }

    /// Lets what was written be read.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A block (section 3.1), whose length stands at both of its ends.
struct Block {
    kind: u32,
    body: Vec<u8>,
    has_options: bool,
}

impl Block {
    fn new(kind: u32) -> Self {
        Self { kind, body: Vec::new(), has_options: false }
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    /// The upper half comes first, whatever the byte order.
    fn time(&mut self, at: Moment) -> &mut Self {
        let (upper, lower) = (at.0 >> 32, at.0 & 0xFFFF_FFFF);
        self.u64(lower << 32 | upper)
    }

    fn padded(&mut self, bytes: &[u8]) -> &mut Self {
        self.body.extend(bytes);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    fn option(&mut self, code: u16, value: &[u8]) -> &mut Self {
        self.has_options = true;
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.u16(code).u16(length).padded(&value[..usize::from(length)])
    }

    /// An option that is text; none if it is empty.
    fn text(&mut self, code: u16, value: &str) -> &mut Self {
        let end = value.floor_char_boundary(usize::from(u16::MAX));
        if value.is_empty() { self } else { self.option(code, &value.as_bytes()[..end]) }
    }

    fn end(mut self, out: &mut impl Write) -> io::Result<()> {
        if self.has_options {
            self.u16(OPTION_END).u16(0);
        }
        let length = length_of(&self.body) + 12;
        out.write_all(&self.kind.to_le_bytes())?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&self.body)?;
        out.write_all(&length.to_le_bytes())
    }
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_laid_out_as_the_draft_says() {
        let mut writer = PcapngWriter::new(
            Vec::new(),
            &SectionInfo { application: "weir", ..SectionInfo::default() },
        )
        .unwrap();
        let interface = writer.interface(LinkType::Ethernet, "lo", 0).unwrap();
        let packet = PacketBlock {
            at: Moment(0x1_0000_0002),
            direction: PacketDirection::Outgoing,
            original_length: 9,
            bytes: b"abcde",
            comments: &["é"],
        };
        writer.packet(interface, &packet).unwrap();
        writer.tls_keys("CLIENT_RANDOM 00 11\n").unwrap();
        writer
            .statistics(
                interface,
                Moment(3),
                &CaptureStatistics { received: 1, dropped: 0, unreadable: 0 },
            )
            .unwrap();
        let bytes = writer.finish().unwrap();
        let mut rest = bytes.as_slice();
        let mut blocks = Vec::new();
        while let Some((head, _)) = rest.split_first_chunk::<8>() {
            let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
            let (block, behind) = rest.split_at(number(4) as usize);
            assert_eq!((block.len() % 4, &block[4..8]), (0, &block[block.len() - 4..]));
            blocks.push((number(0), block[8..block.len() - 4].to_vec()));
            rest = behind;
        }
        assert_eq!(
            blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
            [0x0A0D_0D0A, 1, 6, 10, 5]
        );
        let expected = [
            [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0].as_slice(),
            b"abcde\0\0\0",
            &[1, 0, 2, 0, 0xC3, 0xA9, 0, 0],
            &[2, 0, 4, 0, 2, 0, 0, 0],
            &[0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(blocks[2].1, expected);
    }
}
