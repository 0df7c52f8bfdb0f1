//! Segments in words: the TCP header and the payload; English or Chinese.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use crate::flow::close::{ClosingSteps, ConnectionEnding};
use crate::flow::connection::TcpConnection;
use crate::flow::mark::SegmentMark;
use crate::flow::segment::Segment;
use crate::flow::side::{PerSide, Side};
use crate::http::ConnectionReading;
use crate::http::event::{BodyEvent, BodyEventKind};
use crate::http::http2::error_name;
use crate::http::http2_frame::{Http2Frame, Http2FrameDetail, Http2PayloadPart};
use crate::http::piece::{PieceContent, StreamPiece, StreamPieceKind, StreamReading};
use crate::http::protocol::ApplicationProtocol;
use crate::http::tls::version_name;
use crate::http::tls_record::{TlsContentType, TlsHello, TlsRecord};
use crate::http::websocket_frame::{WebSocketFrameHeader, WebSocketOpcode};
use crate::packet::tcp::TcpFlags;

/// In which language labels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// One of two texts.
    pub fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }

    /// A number of things.
    fn count(self, count: usize, one: &str, many: &str, chinese: &str) -> String {
        match (self, count) {
            (Self::English, 1) => format!("1 {one}"),
            (Self::English, _) => format!("{count} {many}"),
            (Self::Chinese, _) => format!("{count} {chinese}"),
        }
    }
}

/// How much of the TCP header is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetailLevel {
    /// Flags, relative numbers, length and window; at the start and end of a connection absolute
    /// numbers and options, too.
    Full,
    /// Without window and options.
    Short,
}

/// The TCP header, field by field: flags, numbers, window, options.
pub fn facts(segment: &Segment, depth: DetailLevel) -> Vec<String> {
    let mut words = vec![segment.flags.to_string()];
    let is_full = depth == DetailLevel::Full;
    let is_edge = segment.flags.intersects(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST);
    let number = |name: &str, relative: Option<u64>, absolute: u32| match relative {
        Some(relative) if is_edge => format!("{name}={relative} ({absolute})"),
        Some(relative) => format!("{name}={relative}"),
        None => format!("{name}=({absolute})"),
    };
    words.push(number("seq", segment.relative_sequence, segment.sequence));
    if let Some(acknowledgment) = segment.acknowledgment {
        words.push(number("ack", segment.relative_acknowledgment, acknowledgment));
    }
    if segment.payload_bytes > 0 {
        words.push(format!("len={}", segment.payload_bytes));
    }
    if is_full {
        words.push(
            segment.window_bytes.map_or_else(
                || format!("win={}?", segment.window),
                |window| format!("win={window}"),
            ),
        );
    }
    if is_full && segment.flags.contains(TcpFlags::SYN) {
        let options = &segment.options;
        words.extend(options.maximum_segment_size.map(|size| format!("mss={size}")));
        words.extend(options.window_scale.map(|shift| format!("wscale={shift}")));
        words.extend(options.sack_permitted.then(|| "sack".to_owned()));
        words.extend(options.timestamps.map(|_| "timestamps".to_owned()));
        words.extend(options.fast_open.map(|cookie| format!("fastopen={cookie}")));
    }
    words
}

/// What is remarkable, if anything is.
pub fn remarks(segment: &Segment, language: Language) -> Vec<String> {
    let remark = |mark: &SegmentMark| match mark {
        SegmentMark::Retransmission { .. } => language.pick("retransmission", "重传"),
        SegmentMark::OutOfOrder => language.pick("out of order", "乱序"),
        SegmentMark::Gap => language.pick("segments before it not seen", "之前的报文段未见"),
        SegmentMark::DuplicateAck => language.pick("duplicate ACK", "重复确认"),
        SegmentMark::ZeroWindow => language.pick("window closed", "窗口关闭"),
        SegmentMark::WindowUpdate => language.pick("window update", "窗口更新"),
        SegmentMark::WindowProbe => language.pick("window probe", "窗口探测"),
        SegmentMark::KeepAlive => language.pick("keep-alive", "保活探测"),
        SegmentMark::KeepAliveAnswer => language.pick("answer to a probe", "探测应答"),
    };
    segment.marks.iter().map(remark).map(str::to_owned).collect()
}

/// Where a segment's payload lies in its stream.
pub(super) fn payload_range(segment: &Segment) -> Option<Range<u64>> {
    segment
        .offset
        .filter(|_| segment.payload_bytes > 0)
        .map(|start| start..start + segment.payload_bytes)
}

/// The contents of a segment's payload, item by item: `POST /v1/responses`, `chunk`, `event
/// message`, `text frame 42 B`.
pub fn contents(
    segment: &Segment,
    readings: &PerSide<StreamReading>,
    language: Language,
) -> Vec<String> {
    let Some(range) = payload_range(segment) else { return Vec::new() };
    let reading = readings.of(segment.from);
    let mut things: Vec<(String, usize)> = Vec::new();
    let is_first = |piece: &&StreamPiece| piece.range.start >= range.start;
    for thing in reading
        .within(range.clone())
        .iter()
        .filter(is_first)
        .filter_map(|piece| thing(piece, language))
    {
        add(&mut things, thing);
    }
    for event in reading.ending_within(range.clone()) {
        if let Some(thing) = event_name(event, language) {
            add(&mut things, thing);
        }
    }
    if things.is_empty() {
        let rest = reading
            .within(range)
            .first()
            .map_or(language.pick("data", "数据"), |piece| continued(piece, language));
        add(&mut things, rest.to_owned());
    }
    things
        .into_iter()
        .map(|(thing, count)| if count > 1 { format!("{count} × {thing}") } else { thing })
        .collect()
}

/// Things of the same name are counted.
fn add(things: &mut Vec<(String, usize)>, thing: String) {
    match things.iter_mut().find(|(other, _)| *other == thing) {
        Some((_, count)) => *count += 1,
        None => things.push((thing, 1)),
    }
}

fn thing(piece: &StreamPiece, language: Language) -> Option<String> {
    Some(match &piece.content {
        PieceContent::Request(request) => {
            format!("{} {} HTTP/1.{}", request.method, request.target, request.minor_version)
        }
        PieceContent::Response(response) => {
            format!("HTTP/1.{} {}", response.minor_version, response.status)
        }
        PieceContent::ChunkSize { size: 0, .. } => language.pick("last chunk", "末块").to_owned(),
        PieceContent::ChunkSize { .. } => language.pick("chunk", "块").to_owned(),
        PieceContent::Trailers => language.pick("trailers", "尾部字段").to_owned(),
        PieceContent::Body => {
            format!("{} {} B", language.pick("body", "正文"), piece.range.end - piece.range.start)
        }
        PieceContent::UnboundedBody => {
            language.pick("body, until the connection closes", "正文（到连接关闭为止）").to_owned()
        }
        PieceContent::TlsRecord(record) => record_name(record),
        PieceContent::WebSocketHead(head) => frame_name(head, language),
        PieceContent::Http2Preface => language.pick("HTTP/2 preface", "HTTP/2 前言").to_owned(),
        PieceContent::Http2Head(frame) => http2_name(frame, language),
        PieceContent::ChunkData { .. }
        | PieceContent::ChunkEnd
        | PieceContent::EmptyLine
        | PieceContent::WebSocketPayload(_)
        | PieceContent::Http2Payload { .. }
        | PieceContent::Unread => return None,
    })
}

/// The rest of something that began in an earlier segment.
fn continued(piece: &StreamPiece, language: Language) -> &'static str {
    match &piece.content {
        PieceContent::Request(_) | PieceContent::Response(_) | PieceContent::Trailers => {
            language.pick("… rest of the head", "…头部其余")
        }
        PieceContent::Body
        | PieceContent::UnboundedBody
        | PieceContent::ChunkData { .. }
        | PieceContent::Http2Payload { part: Http2PayloadPart::Data, .. } => {
            language.pick("… more of the body", "…正文续")
        }
        PieceContent::ChunkSize { .. } | PieceContent::ChunkEnd | PieceContent::EmptyLine => {
            language.pick("… framing", "…分帧")
        }
        PieceContent::WebSocketHead(_)
        | PieceContent::WebSocketPayload(_)
        | PieceContent::Http2Preface
        | PieceContent::Http2Head(_)
        | PieceContent::Http2Payload { .. } => language.pick("… more of the frame", "…帧续"),
        PieceContent::TlsRecord(_) => language.pick("… more of the record", "…记录续"),
        PieceContent::Unread => language.pick("data", "数据"),
    }
}

/// Events that framing does not name already.
fn event_name(event: &BodyEvent, language: Language) -> Option<String> {
    Some(match &event.kind {
        BodyEventKind::Sse { name: Some(name), .. } => {
            format!("{} {name}", language.pick("event", "事件"))
        }
        BodyEventKind::Sse { name: None, is_done: true, .. } => {
            format!("{} [DONE]", language.pick("event", "事件"))
        }
        BodyEventKind::Sse { name: None, .. } => language.pick("event", "事件").to_owned(),
        BodyEventKind::SseFields { retry, id } => {
            // The value of `id` is the application's, and not shown.
            let is_number = |value: &&String| value.bytes().all(|byte| byte.is_ascii_digit());
            let retry = retry.as_ref().filter(is_number).map(|value| format!("retry {value}"));
            let names: Vec<String> =
                retry.into_iter().chain(id.as_ref().map(|_| "id".to_owned())).collect();
            if names.is_empty() {
                language.pick("fields without data", "无数据的字段").to_owned()
            } else {
                names.join(", ")
            }
        }
        BodyEventKind::SseComment => language.pick("comment", "注释").to_owned(),
        BodyEventKind::Line => language.pick("line", "行").to_owned(),
        BodyEventKind::EmptyLine => language.pick("empty line", "空行").to_owned(),
        BodyEventKind::Message { .. } => return None,
    })
}

fn frame_name(head: &WebSocketFrameHeader, language: Language) -> String {
    let opcode = match head.opcode {
        WebSocketOpcode::Continuation => language.pick("continuation", "延续帧"),
        WebSocketOpcode::Text => language.pick("text", "文本帧"),
        WebSocketOpcode::Binary => language.pick("binary", "二进制帧"),
        WebSocketOpcode::Close => language.pick("close", "关闭帧"),
        WebSocketOpcode::Ping | WebSocketOpcode::Pong | WebSocketOpcode::Reserved(_) => {
            head.opcode.name()
        }
    };
    let mut name = format!("WebSocket {opcode} {} B", head.length);
    if head.is_masked {
        name.push_str(language.pick(" masked", "（带掩码）"));
    }
    if head.is_compressed {
        name.push_str(language.pick(" deflated", " 压缩"));
    }
    if !head.is_final {
        name.push_str(language.pick(" (more follow)", "（未完）"));
    }
    if let Some(code) = head.close_code {
        // Writing to a text cannot fail.
        let _ = write!(name, " {code}");
    }
    name
}

fn http2_name(frame: &Http2Frame, language: Language) -> String {
    let mut name = frame.kind.name().to_owned();
    if frame.is_acknowledgment() {
        name.push_str(" ACK");
    }
    if frame.stream != 0 {
        let _ = write!(name, " {} {}", language.pick("stream", "流"), frame.stream);
    }
    let _ = match frame.detail {
        Http2FrameDetail::Reset(code) | Http2FrameDetail::GoAway { code, .. } => {
            write!(name, " {}", error_name(code))
        }
        Http2FrameDetail::WindowUpdate(increment) => write!(name, " +{increment}"),
        Http2FrameDetail::Settings(_) => Ok(()),
        Http2FrameDetail::None => write!(name, " {} B", frame.length),
    };
    if frame.ends_stream() {
        name.push_str(" END_STREAM");
    }
    name
}

fn record_name(record: &TlsRecord) -> String {
    match (&record.hello, record.content) {
        (Some(hello), _) => hello_name(hello),
        (
            None,
            TlsContentType::ChangeCipherSpec | TlsContentType::Alert | TlsContentType::Handshake,
        ) => {
            format!("TLS {}", record.content.name())
        }
        (None, TlsContentType::ApplicationData) => format!("TLS {} B", record.length),
    }
}

fn hello_name(hello: &TlsHello) -> String {
    let mut name = match (hello.is_client, hello.is_retry) {
        (true, _) => "ClientHello",
        (false, true) => "HelloRetryRequest",
        (false, false) => "ServerHello",
    }
    .to_owned();
    let _ = write!(name, " {}", version_name(hello.version));
    for more in hello.server_name.iter().chain(&hello.application_protocols) {
        let _ = write!(name, " {more}");
    }
    name
}

/// The meaning of the arrow's colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Open,
    Acknowledge,
    Head,
    Body,
    Control,
    Tls,
    Close,
    Reset,
}

impl Colour {
    pub(super) const ALL: [Self; 8] = [
        Self::Open,
        Self::Acknowledge,
        Self::Head,
        Self::Body,
        Self::Control,
        Self::Tls,
        Self::Close,
        Self::Reset,
    ];

    pub(super) fn of(segment: &Segment, readings: &PerSide<StreamReading>) -> Self {
        if segment.flags.contains(TcpFlags::RST) {
            return Self::Reset;
        }
        if segment.flags.contains(TcpFlags::SYN) {
            return Self::Open;
        }
        let Some(range) = payload_range(segment) else {
            return if segment.flags.contains(TcpFlags::FIN) {
                Self::Close
            } else {
                Self::Acknowledge
            };
        };
        let pieces = readings.of(segment.from).within(range);
        let has = |kind| pieces.iter().any(|piece| piece.kind == kind);
        match () {
            () if has(StreamPieceKind::Tls) => Self::Tls,
            () if has(StreamPieceKind::Head) => Self::Head,
            () if has(StreamPieceKind::Body)
                || pieces.is_empty()
                || has(StreamPieceKind::Unknown) =>
            {
                Self::Body
            }
            () => Self::Control,
        }
    }

    /// The name of its CSS class and variable.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledge => "acknowledge",
            Self::Head => "head",
            Self::Body => "body",
            Self::Control => "control",
            Self::Tls => "tls",
            Self::Close => "close",
            Self::Reset => "reset",
        }
    }

    pub(super) fn name(self, language: Language) -> &'static str {
        match self {
            Self::Open => language.pick("SYN", "SYN"),
            Self::Acknowledge => language.pick("only ACK", "仅 ACK"),
            Self::Head => language.pick("head", "头部"),
            Self::Body => language.pick("body", "正文"),
            Self::Control => language.pick("framing", "分帧"),
            Self::Tls => "TLS",
            Self::Close => "FIN",
            Self::Reset => "RST",
        }
    }
}

/// A time that a person can read: three digits and a unit.
pub fn duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos() as f64;
    let (value, unit) = match duration.as_nanos() {
        0..1_000_000 => (nanoseconds / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    match value {
        value if value >= 99.95 => format!("{value:.0} {unit}"),
        value if value >= 9.995 => format!("{value:.1} {unit}"),
        value => format!("{value:.2} {unit}"),
    }
}

/// A time after the start, precise enough to distinguish close ones.
pub fn offset(offset: Duration) -> String {
    let nanoseconds = offset.as_nanos() as f64;
    match offset.as_nanos() {
        0..1_000_000 => format!("+{:.1} µs", nanoseconds / 1e3),
        1_000_000..1_000_000_000 => format!("+{:.3} ms", nanoseconds / 1e6),
        _ => format!("+{:.5} s", nanoseconds / 1e9),
    }
}

/// One line on the whole connection: how it opened, how much passed, how it ended.
pub(super) fn summary(
    connection: &TcpConnection,
    conversation: &ConnectionReading,
    language: Language,
) -> String {
    let name = |side| match side {
        Side::Client => language.pick("client", "客户端"),
        Side::Server => language.pick("server", "服务器"),
    };
    let ending = match connection.ending() {
        ConnectionEnding::Open => language.pick("still open", "仍未关闭").to_owned(),
        ConnectionEnding::HalfClosed { by } => {
            language.pick(format!("half-closed by the {}", name(by)), format!("{}半关闭", name(by)))
        }
        ConnectionEnding::Closing { first } => language.pick(
            format!("being closed by the {}", name(first)),
            format!("{}正在关闭", name(first)),
        ),
        ConnectionEnding::Reset { by } => {
            language.pick(format!("reset by the {}", name(by)), format!("被{}重置", name(by)))
        }
        ConnectionEnding::Closed(closed) if closed.is_simultaneous => {
            language.pick("closed by both at once", "双方同时关闭").to_owned()
        }
        ConnectionEnding::Closed(closed) => {
            let steps = match closed.steps {
                ClosingSteps::Three => 3,
                ClosingSteps::Four => 4,
            };
            let first = name(closed.first);
            language.pick(
                format!("closed by the {first} in {steps} segments"),
                format!("{first}先关闭，共 {steps} 个报文段"),
            )
        }
    };
    let handshake = connection
        .handshake
        .round_trip()
        .map(duration)
        .map(|time| language.pick(format!("handshake {time}"), format!("握手 {time}")));
    let total = usize::try_from(connection.total_segments()).unwrap_or(usize::MAX);
    let segments = language.count(total, "segment", "segments", "个报文段");
    let protocol = match conversation.protocol {
        ApplicationProtocol::Unknown => None,
        ApplicationProtocol::Http1 => Some("HTTP/1"),
        ApplicationProtocol::WebSocket => Some("WebSocket"),
        ApplicationProtocol::Http2 => Some("HTTP/2"),
        ApplicationProtocol::Tls => Some("TLS"),
    };
    let parts: Vec<String> = protocol
        .map(str::to_owned)
        .into_iter()
        .chain(handshake)
        .chain([segments, ending])
        .collect();
    parts.join(" · ")
}
