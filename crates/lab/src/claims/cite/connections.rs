//! The handshake and the ends of connections (claims 1 to 6), and a lost segment (claim 17).

use lens::flow::mark::SegmentMark;
use lens::flow::segment::Segment;
use lens::flow::side::Side;
use lens::flow::state::{Step, transitions};

use super::names;
use crate::captured::{ReadConnection, ending};
use crate::claims::packets::Citing;

/// The ends of connections.
pub(crate) fn closes(citing: &mut Citing<'_>) {
    if let Some(read) = citing.named(names::THREE) {
        handshake(citing, read);
        fin(citing, read);
    }
    if let Some(read) = citing.named(names::HALF) {
        half(citing, read);
    }
    let reads: Vec<_> = names::CLOSES.iter().filter_map(|name| citing.named(name)).collect();
    for read in &reads {
        let how = ending(read.connection.ending());
        for (segment, transition) in
            read.connection.segments().iter().zip(transitions(read.connection))
        {
            for step in &transition.steps {
                let what = match step {
                    Step::Syn | Step::SynAck | Step::HandshakeAck => continue,
                    Step::FirstFin => "first FIN",
                    Step::FirstFinAck => "acknowledges the first FIN",
                    Step::SecondFin => "second FIN",
                    Step::SecondFinAck => "acknowledges the second FIN",
                    Step::Reset => "RST",
                };
                citing.cite(5, read, Some(segment.number), format!("{how}: {what}"));
            }
        }
    }
    citing.search(5, &reads, "tcp.flags.fin == 1 || tcp.flags.reset == 1");
}

fn handshake(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    let handshake = read.connection.handshake;
    let segments = read.connection.segments();
    let segment = |place: Option<(u64, _)>| segments.get(usize::try_from(place?.0).ok()?);
    let (Some(syn), Some(syn_ack), Some(ack)) =
        (segment(handshake.syn), segment(handshake.syn_ack), segment(handshake.ack))
    else {
        return;
    };
    let numbers = |segment: &Segment| {
        let acknowledges = segment.acknowledgment.map(|number| format!(", acknowledges {number}"));
        format!(
            "{}, sequence {}{}",
            segment.flags,
            segment.sequence,
            acknowledges.unwrap_or_default()
        )
    };
    for (claim, cited) in [(1, &[syn][..]), (2, &[syn, syn_ack]), (3, &[syn, syn_ack, ack])] {
        for segment in cited {
            citing.cite(claim, read, Some(segment.number), numbers(segment));
        }
    }
    let port = read.port();
    citing.search(1, &[read], "tcp.flags.syn == 1 && tcp.flags.ack == 0");
    citing.search(2, &[read], "tcp.flags.syn == 1");
    citing.search(
        3,
        &[read],
        format!("tcp.flags.syn == 1 || (tcp.srcport == {port} && tcp.seq == 1 && tcp.ack == 1 && tcp.len == 0)"),
    );
}

fn fin(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    let closing = read.connection.closing();
    let Some((side, fin)) = closing.first.and_then(|side| Some((side, (*closing.fins.of(side))?)))
    else {
        return;
    };
    let is_last = |segment: &&Segment| {
        segment.from == side && segment.payload_bytes > 0 && segment.number <= fin.segment
    };
    let last = read.connection.segments().iter().rfind(is_last);
    let last_byte = fin.number.saturating_sub(1);
    citing.cite(4, read, last.map(|segment| segment.number), format!("last byte {last_byte}"));
    citing.cite(4, read, Some(fin.segment), format!("FIN, sequence {}", fin.number));
    citing.cite(4, read, fin.acknowledged, format!("acknowledges {}", fin.number + 1));
    citing.search(
        4,
        &[read],
        // The FIN, what ends before it, and what acknowledges it.
        format!(
            "tcp.flags.fin == 1 || tcp.nxtseq == {0} || tcp.ack == {1}",
            fin.number,
            fin.number + 1
        ),
    );
}

fn half(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    let Some(fin) = read.first_fin() else { return };
    citing.cite(6, read, Some(fin), "the client's FIN: it will send no more");
    let mut after = 0;
    for segment in read.connection.segments() {
        let is_data = segment.from == Side::Server && segment.payload_bytes > 0;
        if segment.number > fin && is_data {
            after += segment.payload_bytes;
            citing.cite(
                6,
                read,
                Some(segment.number),
                format!("{after} bytes after the client's FIN"),
            );
        }
    }
    let port = read.port();
    citing.search(
        6,
        &[read],
        format!("(tcp.srcport == {port} && tcp.flags.fin == 1) || (tcp.dstport == {port} && tcp.len > 0)"),
    );
}

/// A lost segment: where the client notices it, and where it arrives.
pub(crate) fn loss(citing: &mut Citing<'_>) {
    let mut lossy = Vec::new();
    for name in &names::LOSS[..2] {
        let Some(read) = citing.named(name) else { continue };
        let from_server =
            || read.connection.segments().iter().filter(|one| one.from == Side::Server);
        let gap = from_server().find(|segment| segment.marks.contains(&SegmentMark::Gap));
        let Some(gap) = gap else { continue };
        let fills = |segment: &&Segment| {
            segment.number > gap.number && segment.relative_sequence < gap.relative_sequence
        };
        let fill = from_server().find(fills);
        citing.cite(
            17,
            read,
            Some(gap.number),
            "a segment before this one is lost: what follows has to wait",
        );
        if let Some(fill) = fill {
            let late = fill.at.since(gap.at).as_millis();
            citing.cite(
                17,
                read,
                Some(fill.number),
                format!("the lost segment, sent again, {late} ms later"),
            );
        }
        lossy.push(read);
        let other = citing.named(names::LOSS[2]).filter(|_| *name == names::LOSS[1]);
        if let (Some(other), Some(fill)) = (other, fill) {
            let meanwhile = other.connection.segments().iter().filter(|segment| {
                segment.from == Side::Server
                    && segment.payload_bytes > 0
                    && (gap.at..fill.at).contains(&segment.at)
            });
            for segment in meanwhile {
                citing.cite(
                    17,
                    other,
                    Some(segment.number),
                    "goes on while the other connection waits",
                );
            }
        }
    }
    citing.search(
        17,
        &lossy,
        "tcp.analysis.lost_segment || tcp.analysis.retransmission || tcp.analysis.fast_retransmission || tcp.analysis.out_of_order",
    );
}
