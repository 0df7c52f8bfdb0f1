//! Every byte has a kind, however they come in pieces.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

fn check(exchange: &[(Direction, &[u8])], up: (u64, u64, u64, u64), down: (u64, u64, u64, u64)) {
    let tuple = |bytes: ByteCounts| (bytes.head, bytes.framing, bytes.body, bytes.frames);
    for step in [1, 3, usize::MAX] {
        let mut split = ByteClassifier::default();
        for (direction, bytes) in exchange {
            for piece in bytes.chunks(step.min(bytes.len().max(1))) {
                match direction {
                    Direction::Up => split.up(piece),
                    Direction::Down => split.down(piece),
                }
            }
        }
        assert_eq!(
            (tuple(split.sent_up()), tuple(split.sent_down())),
            (up, down),
            "in pieces of {step}"
        );
    }
}

use Direction::{Down, Up};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn lengths_chunks_and_closes_frame_bodies() {
    let post: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    let head = post.len() as u64 - 5;
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nt: v\r\n\r\n";
    let chunked_head = 47;
    check(
        &[(Up, post), (Down, chunked)],
        (head, 0, 5, 0),
        (chunked_head, chunked.len() as u64 - chunked_head - 6, 6, 2),
    );
    let close: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nall of it\r\n\r\n";
    check(
        &[(Up, GET), (Down, close)],
        (GET.len() as u64, 0, 0, 0),
        (19, 0, close.len() as u64 - 19, 0),
    );
}

#[test]
fn the_length_of_a_chunk_is_a_number_or_everything_behind_it_is_body() {
    let head: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let x = "x".repeat(0x1af);
    for line in ["1aF\r\n", "0001af \t;a=1\r\n", "00000000000000000000000000000001af\n"] {
        let body = format!("{line}{x}\r\n0\r\n\r\n");
        let framing = body.len() as u64 - 0x1af;
        check(
            &[(Up, GET), (Down, &[head, body.as_bytes()].concat())],
            (GET.len() as u64, 0, 0, 0),
            (47, framing, 0x1af, 1),
        );
    }
    for line in
        ["\r\n", ";1\r\n", " 5\r\n", "-5\r\n", "10000000000000000\r\n", "fffffffffffffffffffff\r\n"]
    {
        let body = format!("{line}{x}\r\n0\r\n\r\n");
        let (framing, behind) = (line.len() as u64, (body.len() - line.len()) as u64);
        check(
            &[(Up, GET), (Down, &[head, body.as_bytes()].concat())],
            (GET.len() as u64, 0, 0, 0),
            (47, framing, behind, 0),
        );
    }
}

#[test]
fn answers_without_bodies_have_none() {
    let head: &[u8] = b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
    let of_head: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let continues: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let unchanged: &[u8] = b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n";
    let exchange = [(Up, head), (Up, GET), (Down, of_head), (Down, continues), (Down, unchanged)];
    let down = [of_head, continues, unchanged].concat().len() as u64;
    check(&exchange, ((head.len() + GET.len()) as u64, 0, 0, 0), (down, 0, 0, 0));
}

#[test]
fn a_websocket_has_frames_behind_its_heads() {
    let asks: &[u8] =
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let agrees: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
    let masked: &[u8] = b"\x81\x82mask..";
    let plain: &[u8] = b"\x81\x05hello\x89\x01p";
    let long = [&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat();
    // The client may speak before it has heard the answer.
    let exchange = [(Up, asks), (Up, masked), (Down, agrees), (Down, plain), (Down, &long)];
    check(&exchange, (asks.len() as u64, 6, 2, 1), (agrees.len() as u64, 2 + 3 + 4, 5 + 256, 3));
    // A server that declines leaves what follows a request.
    let declines: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let exchange = [(Up, asks), (Up, GET), (Down, declines)];
    check(&exchange, ((asks.len() + GET.len()) as u64, 0, 0, 0), (declines.len() as u64, 0, 0, 0));
}

#[test]
fn http2_is_told_by_its_preface_and_its_frames_by_their_types() {
    let frame = |kind: u8, payload: &[u8]| {
        [&[0, 0, u8::try_from(payload.len()).unwrap(), kind, 0, 0, 0, 0, 1], payload].concat()
    };
    let up = [PREFACE, &frame(4, b""), &frame(1, b"block")].concat();
    let down = [
        frame(4, b"123456"),
        frame(1, b"head"),
        frame(0, b"data"),
        frame(8, b"wind"),
        frame(9, b"more"),
    ]
    .concat();
    check(&[(Up, &up), (Down, &down)], (5, 24 + 18, 0, 2), (8, 45 + 10, 4, 5));
}

#[test]
fn a_server_of_http2_may_speak_before_its_client() {
    let settings: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    check(&[(Down, settings), (Up, PREFACE), (Up, settings)], (0, 24 + 9, 0, 1), (0, 9, 0, 1));
    let refused: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n";
    check(&[(Down, refused)], (0, 0, 0, 0), (refused.len() as u64, 0, 0, 0));
}

proptest! {
    #[test]
    fn every_byte_counts_once(pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..64)), 0..24)) {
        let mut split = ByteClassifier::default();
        let (mut up, mut down) = (0, 0);
        for (is_up, bytes) in &pieces {
            if *is_up {
                split.up(bytes);
                up += bytes.len() as u64;
            } else {
                split.down(bytes);
                down += bytes.len() as u64;
            }
            prop_assert_eq!((split.sent_up().total(), split.sent_down().total()), (up, down));
        }
    }

    #[test]
    fn the_split_of_a_request_does_not_matter(cuts in proptest::collection::vec(0_usize..120, 0..8)) {
        let bytes = b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        let mut whole = ByteClassifier::default();
        whole.up(bytes);
        let mut split = ByteClassifier::default();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut start = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            split.up(&bytes[start..cut]);
            start = cut;
        }
        prop_assert_eq!(split.sent_up(), whole.sent_up());
    }
}
