//! Golden conversations, and bytes of any kind.

use bytes::BytesMut;
use codec::websocket::{CloseCode, Opcode as WireOpcode, encode};
use codec::{ndjson, sse};
use proptest::prelude::*;

use super::event::BodyEventKind;
use super::head::BodyFraming;
use super::http2_frame::{Http2FrameDetail, Http2FrameKind, Http2PayloadPart};
use super::piece::{PieceContent, StreamPiece};
use super::websocket_frame::WebSocketOpcode;
use super::*;

fn say(client: &[u8], server: &[u8]) -> ConnectionReading {
    let conversation = read(StreamSource::from(client), StreamSource::from(server));
    check(&conversation.readings.client, client.len());
    check(&conversation.readings.server, server.len());
    conversation
}

/// The pieces lie side by side and leave nothing out.
fn check(reading: &StreamReading, length: usize) {
    let mut at = 0;
    for piece in &reading.pieces {
        assert_eq!(piece.range.start, at, "{:?}", reading.pieces);
        assert!(piece.range.end > at);
        at = piece.range.end;
    }
    assert_eq!((at, reading.sums().total()), (length as u64, length as u64));
    for event in &reading.events {
        assert!(event.range.start < event.range.end && event.range.end <= at, "{event:?}");
        assert!(event.body_bytes <= event.range.end - event.range.start, "{event:?}");
    }
}

/// Each piece in a few words.
fn words(reading: &StreamReading) -> Vec<String> {
    let word = |piece: &StreamPiece| {
        let length = piece.range.end - piece.range.start;
        let what = match &piece.content {
            PieceContent::Request(request) => format!("{} {}", request.method, request.target),
            PieceContent::Response(response) => format!("{}", response.status),
            PieceContent::ChunkSize { size, .. } => format!("size {size}"),
            PieceContent::ChunkData { index } => format!("chunk {index}"),
            PieceContent::WebSocketHead(head) => format!("{} {}", head.opcode.name(), head.length),
            PieceContent::Http2Head(frame) => format!("{} {}", frame.kind.name(), frame.stream),
            PieceContent::Http2Payload { part, .. } => format!("{part:?}"),
            other => format!("{other:?}"),
        };
        format!("{what} [{length}{}]", if piece.is_complete { "" } else { "…" })
    };
    reading.pieces.iter().map(word).collect()
}

fn sums(reading: &StreamReading) -> [u64; 5] {
    let sums = reading.sums();
    [sums.tls, sums.head, sums.framing, sums.body, sums.unknown]
}

#[test]
fn requests_and_answers_follow_each_other_on_one_connection() {
    let client = b"POST /v1/responses HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nAuthorization: Bearer secret\r\n\r\n{}\r\nHEAD /a?key=1 HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
    let server = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n";
    let conversation = say(client, server);
    assert_eq!(conversation.protocol, ApplicationProtocol::Http1);
    assert_eq!(
        words(&conversation.readings.client),
        ["POST /v1/responses [89]", "Body [2]", "EmptyLine [2]", "HEAD /a?… [26]", "GET /b [19]"]
    );
    assert_eq!(
        words(&conversation.readings.server),
        ["100 [25]", "200 [38]", "Body [5]", "200 [38]", "304 [40]"]
    );
    let PieceContent::Request(request) = &conversation.readings.client.pieces[0].content else {
        panic!()
    };
    assert_eq!(
        (request.fields.get("host"), request.fields.get("authorization")),
        (Some("a"), Some("…"))
    );
    assert_eq!((request.keeps_alive(), request.body), (true, BodyFraming::Length(2)));
}

#[test]
fn events_lie_across_chunks() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let server = format!(
        "{head}5\r\ndata:\r\n15;x=y\r\n a\r\n\r\n: ping\n\nid: 7\nd\r\n6\r\nata: b\r\n7\r\n\ndata\n\n\r\n0\r\nX: y\r\n\r\n"
    );
    let conversation = say(b"GET / HTTP/1.1\r\n\r\n", server.as_bytes());
    let reading = &conversation.readings.server;
    assert_eq!(words(reading)[1..4], ["size 5 [3]", "chunk 0 [5]", "ChunkEnd [2]"]);
    assert_eq!(words(reading).last().unwrap(), "Trailers [8]");
    let kinds: Vec<_> =
        reading.events.iter().map(|event| (event.kind.clone(), event.body_bytes)).collect();
    let sse = |id: Option<&str>, data_bytes| BodyEventKind::Sse {
        name: None,
        id: id.map(str::to_owned),
        data_bytes,
        is_done: false,
    };
    assert_eq!(
        kinds,
        [(sse(None, 1), 11), (BodyEventKind::SseComment, 7), (sse(Some("7"), 2), 20)]
    );
    let first = &reading.events[0].range;
    assert_eq!(
        &server.as_bytes()[first.start as usize..first.end as usize],
        b"data:\r\n15;x=y\r\n a\r\n\r\n"
    );
}

#[test]
fn every_line_end_and_a_mark_are_understood() {
    let server = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n\u{FEFF}data: ab\r\rdata:c\r\n\r\n\r\nretry: 9\n\nevent: x\n: in it\ndata\n\n";
    let conversation = say(b"GET / HTTP/1.1\r\n\r\n", server.as_bytes());
    let kinds: Vec<_> = conversation
        .readings
        .server
        .events
        .iter()
        .map(|event| (event.kind.clone(), event.body_bytes))
        .collect();
    let sse = |name: Option<&str>, data_bytes| BodyEventKind::Sse {
        name: name.map(str::to_owned),
        id: None,
        data_bytes,
        is_done: false,
    };
    assert_eq!(
        kinds,
        [
            (sse(None, 2), 13),
            (sse(None, 1), 10),
            (BodyEventKind::SseFields { retry: Some("9".to_owned()), id: None }, 10),
            (sse(Some("x"), 0), 23)
        ]
    );
}

#[test]
fn a_body_without_a_length_goes_on_until_the_end() {
    let server =
        b"HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{\"a\":1}\n\n{\"b\":\n";
    let conversation = say(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", server);
    assert_eq!(words(&conversation.readings.server), ["200 [55]", "UnboundedBody [15…]"]);
    let kinds: Vec<_> =
        conversation.readings.server.events.iter().map(|event| &event.kind).collect();
    assert_eq!(kinds, [&BodyEventKind::Line, &BodyEventKind::EmptyLine, &BodyEventKind::Line]);
    let PieceContent::Response(response) = &conversation.readings.server.pieces[0].content else {
        panic!()
    };
    assert!(!response.keeps_alive());
}

const UPGRADE: &[u8] =
    b"GET /v1/responses HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn frames_follow_an_upgrade() {
    let mut client = BytesMut::from(UPGRADE);
    encode::client_frame(
        &mut client,
        encode::WebSocketFrameHead::whole(WireOpcode::Text),
        [1, 2, 3, 4],
        b"{\"type\":1}",
    );
    let close = encode::close_payload(CloseCode::NORMAL, "bye");
    encode::client_frame(
        &mut client,
        encode::WebSocketFrameHead::whole(WireOpcode::Close),
        [9, 8, 7, 6],
        &close,
    );
    let server = [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".as_slice(),
        &encode::server_frame(
            encode::WebSocketFrameHead { fin: false, rsv1: false, opcode: WireOpcode::Text },
            b"first ",
        ),
        &encode::ping(b"p"),
        &encode::server_frame(
            encode::WebSocketFrameHead::whole(WireOpcode::Continuation),
            &[b'x'; 300],
        ),
        &encode::close(CloseCode::GOING_AWAY, ""),
    ]
    .concat();
    let conversation = say(&client, &server);
    assert_eq!(conversation.protocol, ApplicationProtocol::WebSocket);
    assert_eq!(words(&conversation.readings.client)[1], "text 10 [6]");
    assert_eq!(sums(&conversation.readings.client), [0, UPGRADE.len() as u64, 6 + 6 + 5, 10, 0]);
    let reading = &conversation.readings.server;
    assert_eq!(sums(reading), [0, 56, 2 + 3 + 4 + 4, 306, 0]);
    assert_eq!(reading.events.len(), 1);
    assert_eq!(
        (reading.events[0].body_bytes, &reading.events[0].kind),
        (306, &BodyEventKind::Message { is_text: true })
    );
    let codes = |reading: &StreamReading| {
        let heads = reading.pieces.iter().filter_map(|piece| {
            if let PieceContent::WebSocketHead(head) = piece.content { Some(head) } else { None }
        });
        heads
            .filter(|head| head.opcode == WebSocketOpcode::Close)
            .filter_map(|head| head.close_code)
            .collect::<Vec<_>>()
    };
    assert_eq!((codes(&conversation.readings.client), codes(reading)), (vec![1000], vec![1001]));
}

#[test]
fn a_refused_upgrade_goes_on_with_http() {
    let client = [UPGRADE, b"GET /next HTTP/1.1\r\n\r\n"].concat();
    let server =
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 204 No Content\r\n\r\n";
    let conversation = say(&client, server);
    assert_eq!(words(&conversation.readings.client)[1], "GET /next [22]");
    assert_eq!(words(&conversation.readings.server), ["403 [45]", "Body [2]", "204 [27]"]);
    assert_eq!(conversation.protocol, ApplicationProtocol::Http1);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn frames_of_http2_are_told_by_their_parts() {
    let client = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 1, 0, 0]),
        frame(1, 0x2C, 1, &[2, 0x80, 0, 0, 0, 16, b'H', b'P', b'K', 0, 0]),
        frame(0, 1, 1, b"{}"),
        frame(8, 0, 0, &[0, 0, 1, 0]),
        frame(3, 0, 1, &[0, 0, 0, 8]),
    ]
    .concat();
    let server = [
        frame(4, 1, 0, &[]),
        frame(1, 4, 1, b"block"),
        frame(0, 0, 1, b"data: a\n\nda"),
        frame(0, 8, 1, &[3, b't', b'a', b':', b'b', b'\n', b'\n', 0, 0, 0]),
        frame(0, 1, 3, b"{\"line\":1}\n"),
        frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2, b'w', b'h', b'y']),
        frame(99, 0, 0, b"?"),
    ]
    .concat();
    let conversation = say(&client, &server);
    assert_eq!(conversation.protocol, ApplicationProtocol::Http2);
    assert_eq!(
        sums(&conversation.readings.client),
        [0, 3, 24 + 5 * 9 + 12 + 1 + 5 + 2 + 4 + 4, 2, 0]
    );
    let details: Vec<_> = [&conversation.readings.client, &conversation.readings.server]
        .into_iter()
        .flat_map(|reading| &reading.pieces)
        .filter_map(|piece| {
            if let PieceContent::Http2Head(frame) = &piece.content {
                Some(frame.detail.clone())
            } else {
                None
            }
        })
        .filter(|detail| *detail != Http2FrameDetail::None)
        .collect();
    let expected = [
        Http2FrameDetail::Settings(vec![(3, 100), (4, 65536)]),
        Http2FrameDetail::WindowUpdate(256),
        Http2FrameDetail::Reset(8),
        Http2FrameDetail::Settings(vec![]),
        Http2FrameDetail::GoAway { last_stream: 1, code: 2 },
    ];
    assert_eq!(details, expected);
    assert_eq!(
        (http2::error_name(8), http2::setting_name(3)),
        ("CANCEL", "MAX_CONCURRENT_STREAMS")
    );
    let reading = &conversation.readings.server;
    assert_eq!(sums(reading), [0, 5, 7 * 9 + 1 + 3 + 11 + 1, 11 + 6 + 11, 0]);
    assert!(
        matches!(reading.pieces[5].content, PieceContent::Http2Head(ref frame) if frame.kind == Http2FrameKind::Data && !frame.ends_stream())
    );
    assert!(matches!(
        reading.pieces[6].content,
        PieceContent::Http2Payload { stream: 1, part: Http2PayloadPart::PadLength }
    ));
    let events: Vec<_> =
        reading.events.iter().map(|event| (event.stream, event.body_bytes)).collect();
    assert_eq!(events, [(Some(1), 9), (Some(1), 8), (Some(3), 11)]);
}

/// A client hello with a name, two protocols and two versions.
fn client_hello() -> Vec<u8> {
    let extension = |kind: u16, value: &[u8]| {
        [&kind.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value].concat()
    };
    let extensions = [
        extension(0, b"\x00\x0e\x00\x00\x0bexample.com"),
        extension(16, b"\x00\x0c\x02h2\x08http/1.1"),
        extension(43, b"\x06\x0a\x0a\x03\x04\x03\x03"),
    ]
    .concat();
    let body = [
        &[3, 3],
        [7; 32].as_slice(),
        &[0],
        &[0, 2, 0x13, 1],
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    [&[1, 0], (body.len() as u16).to_be_bytes().as_slice(), &body].concat()
}

fn record(content: u8, payload: &[u8]) -> Vec<u8> {
    [&[content, 3, 3], (payload.len() as u16).to_be_bytes().as_slice(), payload].concat()
}

#[test]
fn records_of_tls_say_what_is_in_clear() {
    let hello = client_hello();
    let client = [
        record(22, &hello[..40]),
        record(22, &hello[40..]),
        record(20, &[1]),
        record(23, &[0; 99]),
    ]
    .concat();
    let choice = b"\x02\x00\x00\x2e\x03\x03RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR\x00\x13\x01\x00\x00\x06\x00\x2b\x00\x02\x03\x04";
    let conversation = say(&client, &record(22, choice));
    assert_eq!(conversation.protocol, ApplicationProtocol::Tls);
    assert_eq!(sums(&conversation.readings.client), [client.len() as u64, 0, 0, 0, 0]);
    let hello = |reading: &StreamReading| match &reading.pieces[0].content {
        PieceContent::TlsRecord(record) => record.hello.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    let first = hello(&conversation.readings.client);
    assert_eq!(
        (first.version, first.server_name.as_deref(), first.resumes),
        (0x0304, Some("example.com"), false)
    );
    assert_eq!(first.application_protocols, ["h2", "http/1.1"]);
    let second = hello(&conversation.readings.server);
    assert_eq!(
        (tls::version_name(second.version), second.is_client, second.is_retry),
        ("TLS 1.3", false, false)
    );
}

#[test]
fn what_is_missing_or_strange_is_unknown() {
    let mut source =
        StreamSource::from(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123".as_slice());
    source.length += 7;
    let conversation = read(StreamSource::from(b"GET / HTTP/1.1\r\n\r\n".as_slice()), source);
    assert_eq!(sums(&conversation.readings.server), [0, 39, 0, 3, 7]);
    assert_eq!(sums(&say(b"\x00\x01binary", b"").readings.client), [0, 0, 0, 0, 8]);
    assert_eq!(
        sums(&say(b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n\r\n").readings.server),
        [0, 0, 0, 0, 13]
    );
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX";
    assert_eq!(sums(&say(b"GET / HTTP/1.1\r\n\r\n", chunks).readings.server), [0, 47, 3, 3, 2]);
}

/// Every kind of conversation, to be cut and changed.
fn samples() -> Vec<(Vec<u8>, Vec<u8>)> {
    let chunked = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\r\n\r\n5\r\n\ndata\r\n0\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
    let upgraded = [
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n".as_slice(),
        &encode::server_text(b"hello"),
        &encode::ping(b""),
    ]
    .concat();
    let mut frames = BytesMut::from(UPGRADE);
    encode::client_frame(
        &mut frames,
        encode::WebSocketFrameHead::whole(WireOpcode::Text),
        [1, 2, 3, 4],
        &[b'x'; 200],
    );
    let h2 = [
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]),
        frame(1, 4, 1, b"b"),
        frame(0, 9, 1, b"\x02data: a\n\n\0\0"),
    ]
    .concat();
    let two_requests = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    vec![
        (two_requests.to_vec(), chunked.to_vec()),
        (frames.to_vec(), upgraded),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &h2].concat(), h2),
        (record(22, &client_hello()), record(23, b"secret")),
    ]
}

#[test]
fn every_prefix_of_a_conversation_adds_up() {
    for (client, server) in samples() {
        for length in 0..=client.len().max(server.len()) {
            let _ = say(&client[..length.min(client.len())], &server);
            let _ = say(&client, &server[..length.min(server.len())]);
        }
        let whole = say(&client, &server);
        assert_eq!(whole.readings.client.sums().unknown + whole.readings.server.sums().unknown, 0);
    }
}

proptest! {
    #[test]
    fn any_bytes_add_up(client in prop::collection::vec(any::<u8>(), 0..300), server in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = say(&client, &server);
    }

    #[test]
    fn changed_conversations_add_up(
        sample in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (mut client, mut server) = samples().swap_remove(sample.index(samples().len()));
        for (is_client, index, value) in changes {
            let bytes = if is_client { &mut client } else { &mut server };
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let _ = say(&client, &server);
    }

    /// The lens and the codecs of `protocol` have no code in common, and see the same.
    #[test]
    fn the_lens_agrees_with_our_codecs(
        texts in prop::collection::vec("[a-z\\n\\r:é]{0,40}", 0..12),
        cuts in prop::collection::vec(1..50_usize, 0..40),
    ) {
        let (mut events, mut lines) = (BytesMut::new(), BytesMut::new());
        for (index, text) in texts.iter().enumerate() {
            sse::encode(&mut events, Some("e"), Some(index as u64), text.as_bytes());
            ndjson::encode(&mut lines, format!("{{{text}}}").as_bytes());
        }
        let mut decoder = sse::SseDecoder::new(1 << 20);
        decoder.push(&events);
        let decoded: Vec<_> = std::iter::from_fn(|| decoder.next_event()).map(|event| match event.unwrap() {
            sse::SseFrame::Event(event) => BodyEventKind::Sse {
                name: event.name,
                id: event.id.map(|id| String::from_utf8(id.to_vec()).unwrap()),
                data_bytes: event.data.len() as u64,
                is_done: &event.data[..] == b"[DONE]",
            },
            sse::SseFrame::Comment => BodyEventKind::SseComment,
        }).collect();
        let found = say(b"GET / HTTP/1.1\r\n\r\n", &chunked("text/event-stream", &events, &cuts));
        let found_kinds: Vec<_> = found.readings.server.events.iter().map(|event| event.kind.clone()).collect();
        prop_assert_eq!(found_kinds, decoded);
        prop_assert_eq!(found.readings.server.events.iter().map(|event| event.body_bytes).sum::<u64>(), events.len() as u64);
        prop_assert_eq!(found.readings.server.sums().body, events.len() as u64);
        let found = say(b"GET / HTTP/1.1\r\n\r\n", &chunked("application/x-ndjson", &lines, &cuts));
        prop_assert_eq!(found.readings.server.events.len(), texts.len());
    }
}

fn chunked(content_type: &str, mut body: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !body.is_empty() {
        let (part, rest) = body.split_at(cuts.next().unwrap().min(body.len()));
        out.extend(format!("{:x}\r\n", part.len()).as_bytes());
        out.extend([part, b"\r\n"].concat());
        body = rest;
    }
    out.extend(b"0\r\n\r\n");
    out
}
