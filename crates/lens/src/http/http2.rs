//! HTTP/2 frames (RFC 9113, sections 4 and 6). Header blocks stay compressed: their lengths are
//! told.

use std::collections::BTreeMap;

use super::cut::Cutter;
use super::event::EventScanner;
use super::http2_frame::{Http2Frame, Http2FrameDetail, Http2FrameKind, Http2PayloadPart};
use super::piece::{PieceContent, StreamPieceKind};
use crate::flow::side::Side;

/// The client's connection preface (section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD: usize = 9;

/// Of how many streams events are looked for; later ones have only their frames.
const MAX_STREAMS: usize = 10_000;

pub(super) fn begins(client: &[u8]) -> bool {
    client.len() >= 4 && (client.starts_with(PREFACE) || PREFACE.starts_with(client))
}

pub(super) fn read(stream: &mut Cutter<'_>, side: Side) {
    if side == Side::Client && stream.rest().starts_with(PREFACE) {
        stream.take(PREFACE.len() as u64, StreamPieceKind::Framing, PieceContent::Http2Preface);
    } else if side == Side::Client && !stream.is_at_end() && PREFACE.starts_with(stream.rest()) {
        return stream.take_unfinished(StreamPieceKind::Framing, PieceContent::Http2Preface);
    }
    let mut scanners = BTreeMap::new();
    while !stream.is_at_end() {
        let Some(frame) = frame(stream.rest()) else {
            return stream.take_unfinished(StreamPieceKind::Framing, PieceContent::Unread);
        };
        stream.take(HEAD as u64, StreamPieceKind::Framing, PieceContent::Http2Head(frame.clone()));
        if !payload(stream, &frame, &mut scanners) {
            return;
        }
    }
}

/// The parts of the payload, as section 6 lays them out. Whether all of them were seen.
fn payload(
    stream: &mut Cutter<'_>,
    frame: &Http2Frame,
    scanners: &mut BTreeMap<u32, EventScanner>,
) -> bool {
    let id = frame.stream;
    let what = |part| PieceContent::Http2Payload { stream: id, part };
    let mut left = u64::from(frame.length);
    let mut padding = 0;
    if frame.is_padded() && left > 0 {
        padding = stream.rest().first().map_or(0, |length| u64::from(*length)).min(left - 1);
        if !stream.take(1, StreamPieceKind::Framing, what(Http2PayloadPart::PadLength)) {
            return false;
        }
        left -= 1 + padding;
    }
    let fixed = match frame.kind {
        Http2FrameKind::Headers if frame.flags & 0x20 != 0 => 5,
        Http2FrameKind::PushPromise => 4,
        _ => 0,
    }
    .min(left);
    if fixed > 0 && !stream.take(fixed, StreamPieceKind::Framing, what(Http2PayloadPart::Fixed)) {
        return false;
    }
    left -= fixed;
    let is_complete = match frame.kind {
        Http2FrameKind::Data => {
            let room = scanners.len() < MAX_STREAMS || scanners.contains_key(&id);
            let mut opaque = EventScanner::of_type(None);
            let scanner = if room {
                scanners.entry(id).or_insert_with(|| EventScanner::guessing(id))
            } else {
                &mut opaque
            };
            left == 0 || stream.take_body(left, what(Http2PayloadPart::Data), scanner)
        }
        Http2FrameKind::Headers | Http2FrameKind::PushPromise | Http2FrameKind::Continuation => {
            left == 0 || stream.take(left, StreamPieceKind::Head, what(Http2PayloadPart::Block))
        }
        Http2FrameKind::Priority
        | Http2FrameKind::RstStream
        | Http2FrameKind::Settings
        | Http2FrameKind::Ping
        | Http2FrameKind::GoAway
        | Http2FrameKind::WindowUpdate
        | Http2FrameKind::Other(_) => {
            left == 0
                || stream.take(left, StreamPieceKind::Framing, what(Http2PayloadPart::Control))
        }
    };
    if frame.ends_stream() {
        scanners.remove(&id);
    }
    is_complete
        && (padding == 0
            || stream.take(padding, StreamPieceKind::Framing, what(Http2PayloadPart::Padding)))
}

/// The frame at the start of `bytes` (section 4.1).
fn frame(bytes: &[u8]) -> Option<Http2Frame> {
    let [one, two, three, kind, flags, id @ ..]: [u8; HEAD] = *bytes.first_chunk()?;
    let length = u32::from_be_bytes([0, one, two, three]);
    let payload = bytes.get(HEAD..HEAD + length as usize);
    let kind = Http2FrameKind::new(kind);
    let detail =
        payload.and_then(|payload| detail(kind, payload)).unwrap_or(Http2FrameDetail::None);
    Some(Http2Frame { kind, flags, stream: u32::from_be_bytes(id) & 0x7FFF_FFFF, length, detail })
}

fn detail(kind: Http2FrameKind, payload: &[u8]) -> Option<Http2FrameDetail> {
    let number = |at: usize| payload.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
    match kind {
        Http2FrameKind::Settings => {
            let (settings, _) = payload.as_chunks::<6>();
            let settings = settings.iter().map(|[a, b, c, d, e, f]| {
                (u16::from_be_bytes([*a, *b]), u32::from_be_bytes([*c, *d, *e, *f]))
            });
            Some(Http2FrameDetail::Settings(settings.collect()))
        }
        Http2FrameKind::RstStream => number(0).map(Http2FrameDetail::Reset),
        Http2FrameKind::GoAway => Some(Http2FrameDetail::GoAway {
            last_stream: number(0)? & 0x7FFF_FFFF,
            code: number(4)?,
        }),
        Http2FrameKind::WindowUpdate => {
            number(0).map(|increment| Http2FrameDetail::WindowUpdate(increment & 0x7FFF_FFFF))
        }
        Http2FrameKind::Data
        | Http2FrameKind::Headers
        | Http2FrameKind::Priority
        | Http2FrameKind::PushPromise
        | Http2FrameKind::Ping
        | Http2FrameKind::Continuation
        | Http2FrameKind::Other(_) => None,
    }
}

/// What an error code is called (section 7).
pub fn error_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("unknown")
}

/// What a setting is called (section 6.5.2; RFC 8441, section 3).
pub fn setting_name(identifier: u16) -> &'static str {
    match identifier {
        1 => "HEADER_TABLE_SIZE",
        2 => "ENABLE_PUSH",
        3 => "MAX_CONCURRENT_STREAMS",
        4 => "INITIAL_WINDOW_SIZE",
        5 => "MAX_FRAME_SIZE",
        6 => "MAX_HEADER_LIST_SIZE",
        8 => "ENABLE_CONNECT_PROTOCOL",
        9 => "NO_RFC7540_PRIORITIES",
        _ => "unknown",
    }
}
