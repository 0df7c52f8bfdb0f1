//! The standard's examples, what it forbids, and the properties of the codec.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::decode::{IncomingMessage, MOST_FRAGMENTS, WebSocketDecoder, WebSocketLimits};
use super::encode::{self, WebSocketFrameHead};
use super::*;

type Found = Vec<Result<IncomingMessage, Violation>>;

const WIDE: WebSocketLimits = WebSocketLimits { frame_bytes: 1 << 20, message_bytes: 1 << 20 };

/// The mask of the standard's examples.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Decodes pieces pushed one after the other; a close or a violation is the last thing.
fn decode(mut decoder: WebSocketDecoder, pieces: &[&[u8]]) -> Found {
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        found.extend(std::iter::from_fn(|| decoder.next_message()));
    }
    assert_eq!(
        decoder.is_over(),
        matches!(found.last(), Some(Err(_) | Ok(IncomingMessage::Close(..))))
    );
    found
}

/// The bytes give what is expected, whole and in pieces of one byte.
fn check(
    role: WebSocketRole,
    limits: WebSocketLimits,
    bytes: &[u8],
    expected: &[Result<IncomingMessage, Violation>],
) {
    assert_eq!(decode(WebSocketDecoder::new(role, limits), &[bytes]), expected, "{bytes:02x?}");
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(
        decode(WebSocketDecoder::new(role, limits), &pieces),
        expected,
        "{bytes:02x?}, byte by byte"
    );
}

/// The messages of a client in these frames.
fn masked(frames: &[(WebSocketFrameHead, &[u8])]) -> BytesMut {
    let mut out = BytesMut::new();
    for (head, payload) in frames {
        encode::client_frame(&mut out, *head, MASK, payload);
    }
    out
}

fn first(opcode: Opcode) -> WebSocketFrameHead {
    WebSocketFrameHead { fin: false, ..WebSocketFrameHead::whole(opcode) }
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what the decoder returns")]
fn text(text: &str) -> Result<IncomingMessage, Violation> {
    Ok(IncomingMessage::Text(text.to_owned()))
}

#[test]
fn the_examples_of_section_5_7() {
    check(WebSocketRole::Client, WIDE, b"\x81\x05Hello", &[text("Hello")]);
    check(
        WebSocketRole::Server,
        WIDE,
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        &[text("Hello")],
    );
    check(WebSocketRole::Client, WIDE, b"\x01\x03Hel\x80\x02lo", &[text("Hello")]);
    check(
        WebSocketRole::Client,
        WIDE,
        b"\x89\x05Hello",
        &[Ok(IncomingMessage::Ping("Hello".into()))],
    );
    check(
        WebSocketRole::Server,
        WIDE,
        b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        &[Ok(IncomingMessage::Pong("Hello".into()))],
    );
    for (head, length) in [
        (b"\x82\x7e\x01\x00".as_slice(), 256),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 65536),
    ] {
        let payload = vec![7; length];
        check(
            WebSocketRole::Client,
            WIDE,
            &[head, &payload].concat(),
            &[Ok(IncomingMessage::Binary(payload.into()))],
        );
    }
}

#[test]
fn encoded_bytes_are_those_of_the_standard() {
    assert_eq!(encode::server_text(b"Hello"), b"\x81\x05Hello".as_slice());
    assert_eq!(encode::ping(b"Hello"), b"\x89\x05Hello".as_slice());
    assert_eq!(encode::ping(b""), HEARTBEAT);
    assert_eq!(encode::pong(&[0; 200]).len(), 2 + LONGEST_CONTROL);
    assert_eq!(encode::close(CloseCode::GOING_AWAY, "bye"), b"\x88\x05\x03\xe9bye".as_slice());
    assert_eq!(
        masked(&[(WebSocketFrameHead::whole(Opcode::Text), b"Hello")]),
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".as_slice()
    );
    let lengths: [(usize, &[u8]); 6] = [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
        (usize::MAX >> 1, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
    ];
    for (length, expected) in lengths {
        let mut out = BytesMut::new();
        encode::head(&mut out, Opcode::Binary, length);
        assert_eq!(out, expected, "{length}");
    }
}

#[test]
fn a_reason_is_cut_between_characters() {
    let frame = encode::close(CloseCode::NORMAL, &format!("{}é", "x".repeat(122)));
    assert_eq!(frame.len(), 2 + 2 + 122);
    check(
        WebSocketRole::Client,
        WIDE,
        &frame,
        &[Ok(IncomingMessage::Close(Some(CloseCode::NORMAL), "x".repeat(122)))],
    );
}

/// Invalid frames and the close code for each. `M` stands for the mask of four zeroes.
#[test]
fn what_the_standard_forbids_is_refused() {
    use Violation as V;
    let table: &[(&[u8], Violation, u16)] = &[
        // The bits and opcodes without a meaning.
        (b"\xc1\x80", V::ReservedBit, 1002),
        (b"\xa1\x80", V::ReservedBit, 1002),
        (b"\x91\x80", V::ReservedBit, 1002),
        (b"\xc9\x80", V::ReservedBit, 1002),
        (b"\x83\x80", V::ReservedOpcode(3), 1002),
        (b"\x07\x80", V::ReservedOpcode(7), 1002),
        (b"\x8b\x80", V::ReservedOpcode(11), 1002),
        (b"\x8f\x80", V::ReservedOpcode(15), 1002),
        // The mask.
        (b"\x81\x05", V::Unmasked, 1002),
        (b"\x88\x00", V::Unmasked, 1002),
        // Control frames.
        (b"\x09\x80", V::FragmentedControl, 1002),
        (b"\x08\x80", V::FragmentedControl, 1002),
        (b"\x89\xfe", V::LongControl, 1002),
        (b"\x88\xff", V::LongControl, 1002),
        // Lengths: in too many bytes, with the highest bit, over the limit.
        (b"\x82\xfe\x00\x7d", V::InvalidLength, 1002),
        (b"\x82\xff\0\0\0\0\0\0\xff\xff", V::InvalidLength, 1002),
        (b"\x82\xff\x80\0\0\0\0\x01\0\0", V::InvalidLength, 1002),
        (b"\x82\xff\0\0\0\0\0\x10\0\x01", V::FrameTooLarge { limit: 1 << 20 }, 1009),
        // The order of frames.
        (b"\x80\x80MMMM", V::UnexpectedContinuation, 1002),
        (b"\x00\x80MMMM", V::UnexpectedContinuation, 1002),
        (b"\x01\x80MMMM\x81\x80MMMM", V::UnfinishedMessage, 1002),
        (b"\x02\x80MMMM\x01\x80MMMM", V::UnfinishedMessage, 1002),
        // Closes.
        (b"\x88\x81MMMM\x03", V::HalfCloseCode, 1002),
        (b"\x88\x82MMMM\x03\xe7", V::InvalidCloseCode(999), 1002),
        (b"\x88\x82MMMM\0\0", V::InvalidCloseCode(0), 1002),
        (b"\x88\x84MMMM\x03\xe8\xff\xff", V::InvalidUtf8, 1007),
        (b"\x88\x83MMMM\x03\xe8\xc3", V::InvalidUtf8, 1007),
        // Text that ends within a character.
        (b"\x81\x82MMMM\xe2\x82", V::InvalidUtf8, 1007),
        (b"\x01\x81MMMM\xe2\x80\x80MMMM", V::InvalidUtf8, 1007),
    ];
    for (bytes, violation, code) in table {
        let mut bytes = bytes.to_vec();
        while let Some(mask) = bytes.windows(4).position(|window| window == b"MMMM") {
            bytes[mask..mask + 4].fill(0);
        }
        check(WebSocketRole::Server, WIDE, &bytes, &[Err(*violation)]);
        assert_eq!(violation.close_code().get(), *code, "{violation}");
    }
    check(WebSocketRole::Client, WIDE, b"\x81\x80", &[Err(V::Masked)]);
}

#[test]
fn codes_are_those_that_may_be_on_the_wire() {
    for number in 0..=u16::MAX {
        let expected = matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(CloseCode::new(number).is_some(), expected, "{number}");
        let frame = masked(&[(WebSocketFrameHead::whole(Opcode::Close), &number.to_be_bytes())]);
        let found = decode(WebSocketDecoder::new(WebSocketRole::Server, WIDE), &[&frame]);
        assert_eq!(found[0].is_ok(), expected, "{number}");
    }
    for (code, number) in
        [(CloseCode::UNSUPPORTED, 1003), (CloseCode::POLICY, 1008), (CloseCode::INTERNAL, 1011)]
    {
        assert_eq!(CloseCode::new(number), Some(code));
    }
    for (code, number) in [(CloseCode::RESTART, 1012), (CloseCode::TRY_AGAIN, 1013)] {
        assert_eq!(CloseCode::new(number), Some(code));
    }
}

#[test]
fn nothing_is_decoded_after_a_close() {
    check(
        WebSocketRole::Client,
        WIDE,
        b"\x88\x00\x81\x01a",
        &[Ok(IncomingMessage::Close(None, String::new()))],
    );
    check(
        WebSocketRole::Client,
        WIDE,
        b"\x88\x05\x0b\xb8bye\xff",
        &[Ok(IncomingMessage::Close(CloseCode::new(3000), "bye".into()))],
    );
    check(
        WebSocketRole::Client,
        WIDE,
        b"\x01\x01a\x88\x00\x80\x01b",
        &[Ok(IncomingMessage::Close(None, String::new()))],
    );
    let mut decoder = WebSocketDecoder::new(WebSocketRole::Client, WIDE);
    decoder.push(b"\x83\x00");
    assert_eq!(decoder.next_message(), Some(Err(Violation::ReservedOpcode(3))));
    decoder.push(b"\x81\x01a");
    assert_eq!(decoder.next_message(), None);
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let (ping, pong) =
        (WebSocketFrameHead::whole(Opcode::Ping), WebSocketFrameHead::whole(Opcode::Pong));
    let (more, last) =
        (first(Opcode::Continuation), WebSocketFrameHead::whole(Opcode::Continuation));
    let bytes = masked(&[
        (first(Opcode::Text), b"\xe2"),
        (ping, b"1"),
        (more, b""),
        (more, b"\x82"),
        (pong, b""),
        (last, b"\xac"),
    ]);
    check(
        WebSocketRole::Server,
        WIDE,
        &bytes,
        &[
            Ok(IncomingMessage::Ping("1".into())),
            Ok(IncomingMessage::Pong(Bytes::new())),
            text("€"),
        ],
    );
    let empty = masked(&[
        (first(Opcode::Binary), b""),
        (last, b""),
        (WebSocketFrameHead::whole(Opcode::Text), b""),
    ]);
    check(
        WebSocketRole::Server,
        WIDE,
        &empty,
        &[Ok(IncomingMessage::Binary(Bytes::new())), text("")],
    );
}

/// The cases of Autobahn's section 6: text that goes wrong is refused at its first wrong byte, in
/// the middle of a frame that has not ended, of a message that has not ended.
#[test]
fn wrong_utf8_is_refused_at_the_first_wrong_byte() {
    let table: &[(&[u8], usize)] = &[
        (b"\x80", 1),                                         // a continuation alone
        (b"\xbf", 1),                                         // another
        (b"\xc0\xaf", 1),                                     // an overlong slash
        (b"\xc1\xbf", 1),                                     // the last overlong of two bytes
        (b"\xc3\x28", 2),                                     // a first of two, and no second
        (b"\xe0\x80\xaf", 2),                                 // an overlong slash of three
        (b"\xe0\x9f\xbf", 2),                                 // the last overlong of three
        (b"\xe2\x28\xa1", 2),                                 // a second that is none
        (b"\xe2\x82\x28", 3),                                 // a third that is none
        (b"\xed\xa0\x80", 2),                                 // the first surrogate
        (b"\xed\xbf\xbf", 2),                                 // the last surrogate
        (b"\xed\xa0\xb4\xed\xb4\x9e", 2),                     // a pair of them
        (b"\xf0\x80\x80\xaf", 2),                             // an overlong slash of four
        (b"\xf0\x8f\xbf\xbf", 2),                             // the last overlong of four
        (b"\xf0\x9f\x98\x28", 4),                             // a fourth that is none
        (b"\xf4\x90\x80\x80", 2),                             // the first beyond Unicode
        (b"\xf5\x80\x80\x80", 1),                             // a first byte beyond it
        (b"\xf8\x88\x80\x80\x80", 1),                         // five bytes
        (b"\xfc\x84\x80\x80\x80\x80", 1),                     // six
        (b"\xfe", 1),                                         // never a byte of UTF-8
        (b"\xff", 1),                                         // never, either
        (b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80edited", 7),   // Autobahn 6.4.1, in one frame
        (b"\xf0\x9f\x98\x80\xe2\x82\xac\xed\xa0\x80abcd", 9), // after whole characters of four and three bytes
    ];
    for (payload, wrong) in table {
        let mut frame = BytesMut::new();
        // More is announced than will come.
        encode::client_frame(
            &mut frame,
            first(Opcode::Text),
            MASK,
            &[payload, &[b'x'; 60][..]].concat(),
        );
        let body = frame.len() - payload.len() - 60;
        for start in [0, body] {
            let mut decoder = WebSocketDecoder::new(WebSocketRole::Server, WIDE);
            decoder.push(&frame[..start]);
            for (index, byte) in frame.iter().enumerate().skip(start) {
                decoder.push(&[*byte]);
                let expected = (index + 1 == body + wrong).then_some(Err(Violation::InvalidUtf8));
                assert_eq!(decoder.next_message(), expected, "{payload:02x?} at {index}");
                if expected.is_some() {
                    break;
                }
            }
        }
        check(WebSocketRole::Server, WIDE, &frame, &[Err(Violation::InvalidUtf8)]);
    }
}

#[test]
fn characters_may_be_cut_by_frames() {
    let all = "a\u{7f}\u{80}߿\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}\u{feff}\u{fffd}";
    let (more, last) =
        (first(Opcode::Continuation), WebSocketFrameHead::whole(Opcode::Continuation));
    let mut frames = vec![(first(Opcode::Text), b"".as_slice())];
    frames.extend(all.as_bytes().chunks(1).map(|byte| (more, byte)));
    frames.push((last, b""));
    check(WebSocketRole::Server, WIDE, &masked(&frames), &[text(all)]);
}

#[test]
fn a_message_has_a_limit_on_its_fragments() {
    let (more, last) =
        (first(Opcode::Continuation), WebSocketFrameHead::whole(Opcode::Continuation));
    let message = |empty: usize, full: usize| {
        let piece = [b'x'; 64];
        let mut frames = vec![(first(Opcode::Text), piece.as_slice())];
        frames.extend(std::iter::repeat_n((more, piece.as_slice()), full));
        frames.extend(std::iter::repeat_n((more, b"".as_slice()), empty));
        frames.push((last, b""));
        masked(&frames)
    };
    let decode = |bytes: &[u8]| {
        let mut decoder = WebSocketDecoder::new(
            WebSocketRole::Server,
            WebSocketLimits { frame_bytes: 1 << 20, message_bytes: 8 << 20 },
        );
        decoder.push(bytes);
        decoder.next_message()
    };
    let refused = Violation::TooManyFragments { limit: MOST_FRAGMENTS };
    assert_eq!(refused.close_code(), CloseCode::POLICY);
    assert_eq!(decode(&message(MOST_FRAGMENTS - 1, 0)), Some(text(&"x".repeat(64))));
    assert_eq!(decode(&message(MOST_FRAGMENTS + 1, 0)), Some(Err(refused)));
    assert_eq!(
        decode(&message(0, 2 * MOST_FRAGMENTS)).map(|found| found.is_ok()),
        Some(true),
        "fragments that hold something"
    );
}

#[test]
fn limits_are_held_before_the_bytes_come() {
    let limits = WebSocketLimits { frame_bytes: 4, message_bytes: 6 };
    let (more, last) =
        (first(Opcode::Continuation), WebSocketFrameHead::whole(Opcode::Continuation));
    let frame = Err(Violation::FrameTooLarge { limit: 4 });
    let message = Err(Violation::MessageTooLarge { limit: 6 });
    assert_eq!((Violation::FrameTooLarge { limit: 4 }).close_code(), CloseCode::TOO_LARGE);
    assert_eq!((Violation::MessageTooLarge { limit: 6 }).close_code(), CloseCode::TOO_LARGE);
    check(
        WebSocketRole::Server,
        limits,
        &masked(&[(first(Opcode::Text), b"1234"), (last, b"56")]),
        &[text("123456")],
    );
    check(WebSocketRole::Client, limits, b"\x81\x05", std::slice::from_ref(&frame));
    check(WebSocketRole::Client, limits, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", &[frame]);
    let too_long = masked(&[(first(Opcode::Text), b"1234"), (more, b"5"), (more, b"67")]);
    check(WebSocketRole::Server, limits, &too_long[..too_long.len() - 2], &[message]);
}

#[test]
fn a_mask_is_applied_wherever_the_payload_is_cut() {
    let plain: Vec<u8> = (0..100).collect();
    for start in 0..9 {
        for cut in start..100 {
            let mut cut_up = plain.clone();
            apply_mask(MASK, start, &mut cut_up[start..cut]);
            apply_mask(MASK, cut, &mut cut_up[cut..]);
            for index in start..100 {
                assert_eq!(
                    cut_up[index],
                    plain[index] ^ MASK[index % 4],
                    "{index} of {start}, cut at {cut}"
                );
            }
        }
    }
}

/// Frames that may be right or wrong, as a client would mask them.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        Just(Opcode::Continuation),
        Just(Opcode::Continuation),
        Just(Opcode::Text),
        Just(Opcode::Binary),
        Just(Opcode::Ping),
        Just(Opcode::Close)
    ];
    let payload = prop_oneof![
        "[aé€😀]{0,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
        Just(vec![3, 0xE8, b'x']),
        Just(vec![b'y'; 300])
    ];
    let frame = (any::<bool>(), opcode, any::<[u8; 4]>(), payload).prop_map(
        |(fin, opcode, mask, payload)| {
            let mut out = BytesMut::new();
            encode::client_frame(
                &mut out,
                WebSocketFrameHead { fin: fin || opcode.is_control(), rsv1: false, opcode },
                mask,
                &payload,
            );
            out.to_vec()
        },
    );
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(bytes in frames(), cuts in prop::collection::vec(0usize..1000, 0..20), limit in 0usize..500) {
        let limits = WebSocketLimits { frame_bytes: limit, message_bytes: limit };
        let whole = decode(WebSocketDecoder::new(WebSocketRole::Server, limits), &[&bytes]);
        prop_assert_eq!(decode(WebSocketDecoder::new(WebSocketRole::Server, limits), &crate::buffer::split_at(&bytes, cuts)), whole);
    }

    #[test]
    fn any_bytes_in_any_split_are_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(0usize..200, 0..20)) {
        let whole = decode(WebSocketDecoder::new(WebSocketRole::Client, WIDE), &[&bytes]);
        prop_assert_eq!(decode(WebSocketDecoder::new(WebSocketRole::Client, WIDE), &crate::buffer::split_at(&bytes, cuts)), whole);
    }

    #[test]
    fn what_was_encoded_is_decoded(said in prop::collection::vec(("\\PC{0,200}", any::<[u8; 4]>()), 0..10)) {
        let (mut from_client, mut from_server) = (BytesMut::new(), BytesMut::new());
        for (words, mask) in &said {
            encode::client_frame(&mut from_client, WebSocketFrameHead::whole(Opcode::Text), *mask, words.as_bytes());
            from_server.extend_from_slice(&encode::server_text(words.as_bytes()));
        }
        let expected: Found = said.iter().map(|(words, _)| text(words)).collect();
        prop_assert_eq!(&decode(WebSocketDecoder::new(WebSocketRole::Server, WIDE), &[&from_client]), &expected);
        prop_assert_eq!(&decode(WebSocketDecoder::new(WebSocketRole::Client, WIDE), &[&from_server]), &expected);
    }
}
