//! The packets of a cell or of an experiment, and what the rulings cite of them.

use lens::flow::connection::TcpConnection;
use lens::flow::side::Side;
use lens::http::event::BodyEvent;
use lens::http::head::{RequestHead, ResponseHead};
use lens::http::piece::{PieceContent, StreamPiece};
use lens::ladder::Annotations;

use crate::bilingual::Bilingual;
use crate::captured::{CapturedConnections, ReadConnection};

/// The packets of a cell or of an experiment.
#[derive(Debug)]
pub struct PacketSet {
    /// Its name: that of the cell, or of the experiment.
    pub name: String,
    /// The packets.
    pub captured: CapturedConnections,
    /// The TLS secrets, for Wireshark.
    pub key_lines: String,
    /// What the verdicts cite.
    pub cited: Cited,
}

/// What the verdicts cite of some connections.
#[derive(Debug, Default)]
pub struct Cited {
    /// The connections with a name of their own.
    pub names: Vec<ConnectionName>,
    /// The cited segments.
    pub citations: Vec<Citation>,
    /// Filters of Wireshark that find them by their contents.
    pub searches: Vec<Search>,
}

/// A connection with a name of its own.
#[derive(Clone, Debug)]
pub struct ConnectionName {
    /// The client's port.
    pub port: u16,
    /// The name of its ladder's file.
    pub name: String,
    /// What it shows.
    pub title: Bilingual,
    /// What its ladder shows next to the segments.
    pub annotations: Annotations,
}

/// A segment that a ruling rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    /// The number of the claim.
    pub claim: u32,
    /// The connection's number in its set.
    pub connection: u64,
    /// The segment's number in the connection.
    pub segment: u64,
    /// What the verdict cites of it; the comment of the packet.
    pub note: String,
}

/// A display filter that finds packets of some connections by their contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The number of the claim.
    pub claim: u32,
    /// The connections' numbers in their set.
    pub connections: Vec<u64>,
    /// The condition.
    pub condition: String,
}

/// Connections that are searched for what rulings cite.
pub(crate) struct Citing<'a> {
    reads: &'a [ReadConnection<'a>],
    cited: Cited,
}

impl<'a> Citing<'a> {
    pub(crate) fn new(reads: &'a [ReadConnection<'a>], names: Vec<ConnectionName>) -> Self {
        Self { reads, cited: Cited { names, ..Cited::default() } }
    }

    pub(crate) fn finish(self) -> Cited {
        self.cited
    }

    /// All connections, in order of their start.
    pub(crate) fn all(&self) -> &'a [ReadConnection<'a>] {
        self.reads
    }

    /// The connection with a name.
    pub(crate) fn named(&self, name: &str) -> Option<&'a ReadConnection<'a>> {
        let port = self.cited.names.iter().find(|named| named.name == name)?.port;
        self.reads.iter().find(|read| read.connection.addresses.client.port() == port)
    }

    /// Names a connection.
    pub(crate) fn name(&mut self, read: &ReadConnection<'_>, name: &str, title: Bilingual) {
        self.cited.names.push(ConnectionName {
            port: read.connection.addresses.client.port(),
            name: name.to_owned(),
            title,
            annotations: Annotations::None,
        });
    }

    /// Cites a segment, if there is one.
    pub(crate) fn cite(
        &mut self,
        claim: u32,
        read: &ReadConnection<'_>,
        segment: Option<u64>,
        note: impl Into<String>,
    ) {
        if let Some(segment) = segment {
            let note = note.into();
            self.cited.citations.push(Citation { claim, connection: read.id, segment, note });
        }
    }

    /// Adds a filter that finds cited packets of these connections.
    pub(crate) fn search(
        &mut self,
        claim: u32,
        reads: &[&ReadConnection<'_>],
        condition: impl Into<String>,
    ) {
        if !reads.is_empty() {
            let connections = reads.iter().map(|read| read.id).collect();
            let condition = condition.into();
            self.cited.searches.push(Search { claim, connections, condition });
        }
    }
}

impl ReadConnection<'_> {
    /// The segment in which a byte of a side's stream arrived.
    fn segment_at(&self, side: Side, offset: u64) -> Option<u64> {
        Some(self.connection.directions.of(side).stream.arrival(offset)?.segment)
    }

    /// The pieces of a side's stream, each with the segment of its last byte.
    pub(crate) fn pieces(&self, side: Side) -> impl Iterator<Item = (Option<u64>, &StreamPiece)> {
        let pieces = &self.conversation.readings.of(side).pieces;
        pieces.iter().map(move |piece| (self.segment_at(side, piece.range.end - 1), piece))
    }

    /// The heads of requests.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (Option<u64>, &RequestHead)> {
        self.pieces(Side::Client).filter_map(|(segment, piece)| match &piece.content {
            PieceContent::Request(request) => Some((segment, request)),
            _ => None,
        })
    }

    /// The heads of responses.
    pub(crate) fn responses(&self) -> impl Iterator<Item = (Option<u64>, &ResponseHead)> {
        self.pieces(Side::Server).filter_map(|(segment, piece)| match &piece.content {
            PieceContent::Response(response) => Some((segment, response)),
            _ => None,
        })
    }

    /// The events that the server sent, each with the segment of its last byte.
    pub(crate) fn events(&self) -> impl Iterator<Item = (Option<u64>, &BodyEvent)> {
        let events = &self.conversation.readings.server.events;
        events.iter().map(|event| (self.segment_at(Side::Server, event.range.end - 1), event))
    }

    /// The client's first SYN.
    pub(crate) fn syn(&self) -> Option<u64> {
        Some(self.connection.handshake.syn?.0)
    }

    /// The first FIN.
    pub(crate) fn first_fin(&self) -> Option<u64> {
        first_fin(self.connection)
    }

    /// The client's port.
    pub(crate) fn port(&self) -> u16 {
        self.connection.addresses.client.port()
    }
}

fn first_fin(connection: &TcpConnection) -> Option<u64> {
    let closing = connection.closing();
    Some((*closing.fins.of(closing.first?))?.segment)
}
