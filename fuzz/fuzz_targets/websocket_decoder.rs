//! Any split of a WebSocket's bytes gives the same messages and the same violation, on both sides, with compression and
//! without; nothing larger than the limit comes out, and every message could be sent again.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use codec::websocket::decode::{WebSocketDecoder, IncomingMessage, WebSocketLimits};
use codec::websocket::deflate::{Agreement, Context, Inflate};
use codec::websocket::{WebSocketRole, Violation, encode, handshake};

const LIMITS: WebSocketLimits = WebSocketLimits { frame_bytes: 4096, message_bytes: 2048 };

fn decode(mut decoder: WebSocketDecoder, pieces: &[&[u8]]) -> Vec<Result<IncomingMessage, Violation>> {
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        found.extend(std::iter::from_fn(|| decoder.next_message()));
    }
    found
}

fn check(role: WebSocketRole, context: Option<Context>, body: &[u8], pieces: &[&[u8]]) {
    let decoder = || {
        let decoder = WebSocketDecoder::new(role, LIMITS);
        match context {
            Some(context) => decoder.with_inflate(Inflate::new(context)),
            None => decoder,
        }
    };
    let whole = decode(decoder(), &[body]);
    assert_eq!(decode(decoder(), pieces), whole);
    let ended = whole.iter().position(|found| matches!(found, Err(_) | Ok(IncomingMessage::Close(..))));
    assert!(ended.is_none_or(|index| index + 1 == whole.len()), "{whole:?}");
    for incoming in whole.into_iter().flatten() {
        let frame = match &incoming {
            IncomingMessage::Text(text) => encode::server_text(text.as_bytes()),
            IncomingMessage::Ping(payload) => encode::ping(payload),
            IncomingMessage::Pong(payload) => encode::pong(payload),
            IncomingMessage::Close(Some(code), reason) => encode::close(*code, reason),
            IncomingMessage::Binary(bytes) => {
                assert!(bytes.len() <= LIMITS.message_bytes);
                continue;
            }
            IncomingMessage::Close(None, reason) => {
                assert!(reason.is_empty());
                continue;
            }
        };
        assert_eq!(decode(WebSocketDecoder::new(WebSocketRole::Client, LIMITS), &[&frame]), [Ok(incoming)]);
    }
}

fuzz_target!(|input: &[u8]| {
    let (body, pieces) = pieces::split(input);
    for role in [WebSocketRole::Server, WebSocketRole::Client] {
        for context in [None, Some(Context::Fresh), Some(Context::Kept)] {
            check(role, context, body, &pieces);
        }
    }
    // What reads the handshake's fields must not fail either, and what it agrees upon, it understands.
    if let Ok(text) = std::str::from_utf8(body) {
        handshake::check_key(text);
        if let Some(agreement) = Agreement::choose(text) {
            assert_eq!(Agreement::read(&agreement.header()), Some(agreement));
        }
    }
});
