//! The examples of RFC 7692, what is agreed upon, and bombs.

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::decode::{IncomingMessage, WebSocketDecoder, WebSocketLimits};
use super::super::encode::{WebSocketFrameHead, client_frame, server_frame};
use super::super::{CloseCode, Opcode, Violation, WebSocketRole};
use super::*;
use crate::buffer::split_at;

const LIMITS: WebSocketLimits = WebSocketLimits { frame_bytes: 1 << 20, message_bytes: 1 << 16 };

const COMPRESSED: WebSocketFrameHead =
    WebSocketFrameHead { fin: true, rsv1: true, opcode: Opcode::Text };

fn decode(context: Context, pieces: &[&[u8]]) -> Vec<Result<IncomingMessage, Violation>> {
    let mut decoder =
        WebSocketDecoder::new(WebSocketRole::Client, LIMITS).with_inflate(Inflate::new(context));
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        found.extend(std::iter::from_fn(|| decoder.next_message()));
    }
    found
}

fn check(context: Context, bytes: &[u8], expected: &[Result<IncomingMessage, Violation>]) {
    assert_eq!(decode(context, &[bytes]), expected, "{bytes:02x?}");
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(context, &pieces), expected, "{bytes:02x?}, byte by byte");
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what the decoder returns")]
fn hello() -> Result<IncomingMessage, Violation> {
    Ok(IncomingMessage::Text("Hello".into()))
}

#[test]
fn the_examples_of_section_7_2_3() {
    let fresh = Context::Fresh;
    check(fresh, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", &[hello()]);
    check(fresh, b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", &[hello()]);
    // The second message refers to the first.
    let both = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    check(Context::Kept, both, &[hello(), hello()]);
    // A block without compression; one that ends its stream; two blocks; and nothing at all.
    check(fresh, b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", &[hello()]);
    check(fresh, b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", &[hello()]);
    check(fresh, b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", &[hello()]);
    check(fresh, b"\xc1\x01\x00", &[Ok(IncomingMessage::Text(String::new()))]);
    // What is not marked is not compressed, and a ping may stand in the middle.
    check(
        fresh,
        b"\x41\x03\xf2\x48\xcd\x89\x00\x80\x04\xc9\xc9\x07\x00\x81\x05Hello",
        &[Ok(IncomingMessage::Ping(bytes::Bytes::new())), hello(), hello()],
    );
}

#[test]
fn the_bit_belongs_to_the_first_frame_of_a_message() {
    check(
        Context::Fresh,
        b"\x41\x03\xf2\x48\xcd\xc0\x04\xc9\xc9\x07\x00",
        &[Err(Violation::ReservedBit)],
    );
    check(Context::Fresh, b"\xc9\x00", &[Err(Violation::ReservedBit)]);
    check(Context::Fresh, b"\xe1\x00", &[Err(Violation::ReservedBit)]);
}

#[test]
fn invalid_deflate_is_refused() {
    // The reserved kind of block; a stored block whose length is not repeated; and a great number
    // of streams.
    check(Context::Fresh, b"\xc1\x01\x07", &[Err(Violation::InvalidDeflate)]);
    check(Context::Fresh, b"\xc1\x05\x00\x05\x00\x00\x00", &[Err(Violation::InvalidDeflate)]);
    check(
        Context::Fresh,
        &[b"\xc1\x7c".as_slice(), &[0x03, 0x00].repeat(62)].concat(),
        &[Err(Violation::InvalidDeflate)],
    );
    assert_eq!(Violation::InvalidDeflate.close_code().get(), 1007);
    // Compressed text is text, and is refused at its first wrong byte: a stored block that has not
    // ended.
    check(Context::Fresh, b"\x41\x20\x00\x05\x00\xfa\xffab\xff", &[Err(Violation::InvalidUtf8)]);
}

/// The compressed form of a message, without its tail.
fn deflated(payload: &[u8]) -> Vec<u8> {
    Compressor::new(0).compress(payload).unwrap()
}

#[test]
fn a_bomb_is_refused_when_the_limit_is_reached() {
    let within = vec![b'a'; 1 << 16];
    check(
        Context::Fresh,
        &server_frame(COMPRESSED, &deflated(&within)),
        &[Ok(IncomingMessage::Text(String::from_utf8(within).unwrap()))],
    );
    let bomb = deflated(&vec![b'a'; 8 << 20]);
    assert!(bomb.len() < 1 << 16);
    let limit = LIMITS.message_bytes;
    check(
        Context::Fresh,
        &server_frame(COMPRESSED, &bomb),
        &[Err(Violation::MessageTooLarge { limit })],
    );
    assert_eq!(
        decode(Context::Fresh, &[&server_frame(COMPRESSED, &bomb)[..2048]]),
        [Err(Violation::MessageTooLarge { limit })]
    );
}

#[test]
fn a_message_that_becomes_a_hundred_times_larger_is_refused() {
    let decode = |text: &[u8]| {
        let limits = WebSocketLimits { frame_bytes: 8 << 20, message_bytes: 32 << 20 };
        let mut decoder = WebSocketDecoder::new(WebSocketRole::Client, limits)
            .with_inflate(Inflate::new(Context::Fresh));
        decoder.push(&server_frame(COMPRESSED, &deflated(text)));
        decoder.next_message().map(|found| found.map(|_whole| ()))
    };
    assert_eq!(decode(&vec![b'a'; 1 << 20]), Some(Ok(())), "small enough to repeat itself");
    let refused = Violation::Inflated { ratio: 100 };
    assert_eq!(
        (decode(&vec![b'a'; 2 << 20]), refused.close_code()),
        (Some(Err(refused)), CloseCode::TOO_LARGE)
    );
    let words: Vec<String> = (0..200_000).map(|number| format!("word {number}, ")).collect();
    let words = words.concat();
    assert_eq!(decode(words.as_bytes()), Some(Ok(())), "a long text");
}

#[test]
fn the_limit_applies_to_the_decompressed_size() {
    // Not compressible: eleven bytes for five.
    let stored = b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    for (limit, expected) in [(5, hello()), (4, Err(Violation::MessageTooLarge { limit: 4 }))] {
        let limits = WebSocketLimits { frame_bytes: 11, message_bytes: limit };
        let mut decoder = WebSocketDecoder::new(WebSocketRole::Client, limits)
            .with_inflate(Inflate::new(Context::Fresh));
        decoder.push(stored);
        assert_eq!(decoder.next_message(), Some(expected));
    }
}

#[test]
fn everything_received_is_decompressed_at_once() {
    // The last bytes of the input may hold more than is left of a step.
    for length in (STEP_BYTES..2 * STEP_BYTES).step_by(255) {
        let mut given = 0;
        let count = |bytes: &[u8]| {
            given += bytes.len();
            Ok(())
        };
        Inflate::new(Context::Fresh).push(&deflated(&vec![b'a'; length]), count).unwrap();
        assert_eq!(given, length);
    }
}

#[test]
fn an_idle_socket_holds_no_window() {
    let mut inflate = Inflate::new(Context::Fresh);
    inflate.push(b"\xf2\x48\xcd", |_| Ok(())).unwrap();
    assert!(inflate.stream.is_some());
    inflate.push(b"\xc9\xc9\x07\x00", |_| Ok(())).unwrap();
    inflate.finish(|_| Ok(())).unwrap();
    assert!(inflate.stream.is_none());
}

#[test]
fn only_what_shrinks_is_compressed() {
    let mut compressor = Compressor::new(100);
    let words = "{\"type\":\"response.output_text.delta\"}".repeat(10);
    assert_eq!(compressor.compress(&words.as_bytes()[..99]), None);
    let once = compressor.compress(words.as_bytes()).unwrap();
    assert!(once.len() < words.len() / 4);
    assert_eq!(compressor.compress(words.as_bytes()), Some(once), "no message depends on another");
    let random: Vec<u8> =
        (0..2000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert!(compressor.compress(&random).is_none_or(|out| out.len() < random.len()));
    assert_eq!(Compressor::new(0).compress(b""), None);
}

fn check_answer(offers: &str, expected: Option<&str>) {
    let accepted = Agreement::choose(offers).map(|agreement| agreement.header());
    assert_eq!(accepted.as_deref(), expected, "{offers}");
}

#[test]
fn offers_are_accepted_or_declined() {
    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    // Chrome's, Firefox's, and what other libraries send.
    check_answer("permessage-deflate; client_max_window_bits", Some(PLAIN));
    check_answer("permessage-deflate", Some(PLAIN));
    check_answer(
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=\"10\"",
        Some(PLAIN),
    );
    check_answer(
        "x-other; a=\"1, permessage-deflate\" , Permessage-Deflate;client_no_context_takeover",
        Some(PLAIN),
    );
    let bits = format!("{PLAIN}; server_max_window_bits=15");
    check_answer("permessage-deflate; server_max_window_bits=15", Some(&bits));
    // The second offer is the one that can be honoured.
    check_answer("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(PLAIN));
    for declined in [
        "",
        "x-other",
        "x-other; a=\"1, permessage-deflate\"",
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; unknown",
        "permessage-deflate;",
    ] {
        check_answer(declined, None);
    }
}

#[test]
fn responses_to_offers_are_read() {
    let read = |header: &str| {
        Agreement::read(header)
            .map(|agreement| (agreement.client_may_compress(), agreement.header()))
    };
    let same = |header: &str, may_compress| {
        assert_eq!(read(header), Some((may_compress, header.to_owned())));
    };
    same("permessage-deflate", true);
    same(
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
        true,
    );
    same("permessage-deflate; client_max_window_bits=15", true);
    same("permessage-deflate; client_max_window_bits=10", false);
    assert_eq!(
        read("permessage-deflate; client_max_window_bits"),
        None,
        "a response has to contain the number"
    );
    assert_eq!(read("permessage-deflate, permessage-deflate"), None);
    let agreement = Agreement::choose("permessage-deflate").unwrap();
    assert_eq!(
        (agreement.server_inflate().context, agreement.client_inflate().context),
        (Context::Fresh, Context::Fresh)
    );
    assert_eq!(
        Agreement::read("permessage-deflate").unwrap().client_inflate().context,
        Context::Kept
    );
}

proptest! {
    #[test]
    fn what_was_compressed_is_read_in_any_split(said in prop::collection::vec("[a-d€]{1,300}", 1..6), cuts in prop::collection::vec(0usize..2000, 0..20)) {
        let mut compressor = Compressor::new(0);
        let mut out = BytesMut::new();
        for words in &said {
            match compressor.compress(words.as_bytes()) {
                Some(payload) => out.extend_from_slice(&server_frame(COMPRESSED, &payload)),
                None => out.extend_from_slice(&server_frame(WebSocketFrameHead::whole(Opcode::Text), words.as_bytes())),
            }
        }
        let expected: Vec<_> = said.iter().map(|words| Ok(IncomingMessage::Text(words.clone()))).collect();
        for context in [Context::Fresh, Context::Kept] {
            prop_assert_eq!(&decode(context, &split_at(&out, cuts.clone())), &expected);
        }
    }

    #[test]
    fn broken_deflate_in_any_split_is_the_same(
        words in "[a-d€]{50,300}", place in 0usize..300, byte in any::<u8>(), cuts in prop::collection::vec(0usize..400, 0..20),
    ) {
        let mut payload = deflated(words.as_bytes());
        let index = place % payload.len();
        payload[index] = byte;
        let frame = server_frame(COMPRESSED, &payload);
        prop_assert_eq!(decode(Context::Fresh, &split_at(&frame, cuts)), decode(Context::Fresh, &[&frame]));
    }
}

#[test]
fn a_client_may_compress_what_it_masks() {
    let mut out = BytesMut::new();
    client_frame(&mut out, COMPRESSED, [1, 2, 3, 4], &deflated(b"Hello Hello Hello Hello"));
    let mut decoder = WebSocketDecoder::new(WebSocketRole::Server, LIMITS)
        .with_inflate(Inflate::new(Context::Fresh));
    decoder.push(&out);
    assert_eq!(
        decoder.next_message(),
        Some(Ok(IncomingMessage::Text("Hello Hello Hello Hello".into())))
    );
}
