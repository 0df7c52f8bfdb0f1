//! What a request asks the upstream to do, and the body that does it: chat completion chunks over SSE.

use std::io::Write;

use anyhow::{Context, Result, bail};
use memchr::memmem;

use crate::h2;

/// The prefix of a model's name that carries a script: `bench-TOKENS-PAUSE-PACE`, the pause in microseconds.
const MODEL: &[u8] = b"bench-";

const CHUNK: &str = r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[{"index":0,"delta":"#;
const REST: &str = "}]}\n\n";
const USAGE: &str = r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":"#;

/// When the tokens of a stream are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// All streams of the same pause at the same moments.
    Step,
    /// At moments of its own, counted from the request.
    Own,
    /// As fast as the reader takes them.
    Flat,
    /// One token, and then nothing until the reader leaves.
    Silent,
}

/// What one request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub tokens: u64,
    /// In microseconds.
    pub pause: u64,
    pub pace: Pace,
    /// Whether the usage is wanted, as its own chunk before the end.
    pub usage: bool,
}

impl Script {
    /// Reads it from the body of a request.
    pub(crate) fn of(body: &[u8]) -> Result<Self> {
        let start = memmem::find(body, MODEL).context("no model bench-TOKENS-PAUSE-PACE")?;
        let name = body[start + MODEL.len()..].split(|byte| *byte == b'"').next();
        let name = std::str::from_utf8(name.unwrap_or_default())?;
        let mut parts = name.splitn(3, '-');
        let mut number = || parts.next().unwrap_or_default().parse().context("not a number");
        let (tokens, pause) = (number()?, number()?);
        let pace = match parts.next() {
            Some("step") => Pace::Step,
            Some("own") => Pace::Own,
            Some("flat") => Pace::Flat,
            Some("silent") => Pace::Silent,
            pace => bail!("pace {pace:?}: expected step, own, flat or silent"),
        };
        let usage = memmem::find(body, b"include_usage").is_some();
        Ok(Self { tokens, pause: u64::max(pause, 1), pace, usage })
    }

    /// The moment of the token after one at `now`.
    pub(crate) fn after(&self, now: u64) -> u64 {
        match self.pace {
            Pace::Step => (now / self.pause + 1) * self.pause,
            Pace::Own | Pace::Flat | Pace::Silent => now + self.pause,
        }
    }
}

/// What HTTP puts around the pieces of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Framing {
    /// HTTP/1.1: chunks (RFC 9112, section 7.1).
    Chunks,
    /// HTTP/2: DATA frames of this stream.
    Frames(u32),
}

impl Framing {
    /// Appends the head and the chunk that opens the message.
    pub(crate) fn open(self, out: &mut Vec<u8>) {
        match self {
            Self::Chunks => out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"),
            Self::Frames(stream) => head(out, "text/event-stream", stream),
        }
        self.piece(
            out,
            &[CHUNK, r#"{"role":"assistant","content":""},"finish_reason":null"#, REST],
        );
    }

    /// Appends one token: its number and the moment it is written.
    pub(crate) fn token(self, out: &mut Vec<u8>, number: u64, now: u64) {
        let mut text = [0; 48];
        let mut rest = text.as_mut_slice();
        // 20 digits at most for each.
        drop(write!(rest, "{number}@{now} "));
        let free = rest.len();
        let text = std::str::from_utf8(&text[..text.len() - free]).unwrap_or_default();
        self.piece(out, &[CHUNK, r#"{"content":""#, text, r#""},"finish_reason":null"#, REST]);
    }

    /// Appends what follows the last token, and the end of the body.
    pub(crate) fn finish(self, out: &mut Vec<u8>, script: &Script) {
        self.piece(out, &[CHUNK, r#"{},"finish_reason":"stop""#, REST]);
        if script.usage {
            let tokens = script.tokens.to_string();
            self.piece(out, &[USAGE, &tokens, r#","total_tokens":"#, &tokens, "}}\n\n"]);
        }
        self.piece(out, &["data: [DONE]\n\n"]);
        match self {
            Self::Chunks => out.extend_from_slice(b"0\r\n\r\n"),
            Self::Frames(stream) => h2::header(out, 0, h2::DATA, h2::END_STREAM, stream),
        }
    }

    /// Appends a response that is no stream.
    pub(crate) fn whole(self, out: &mut Vec<u8>, body: &str) {
        match self {
            // Writing to memory does not fail.
            Self::Chunks => drop(write!(
                out,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )),
            Self::Frames(stream) => {
                head(out, "application/json", stream);
                h2::header(out, body.len(), h2::DATA, h2::END_STREAM, stream);
                out.extend_from_slice(body.as_bytes());
            }
        }
    }

    fn piece(self, out: &mut Vec<u8>, parts: &[&str]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        match self {
            Self::Chunks => drop(write!(out, "{length:x}\r\n")),
            Self::Frames(stream) => h2::header(out, length, h2::DATA, 0, stream),
        }
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        if self == Self::Chunks {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The head of a response in HTTP/2; 0x88 is `:status: 200` and 31 `content-type` in HPACK's static table.
fn head(out: &mut Vec<u8>, content_type: &str, stream: u32) {
    let mut fields = vec![0x88, 0x0f, 31 - 15];
    fields.push(u8::try_from(content_type.len()).unwrap_or_default());
    fields.extend_from_slice(content_type.as_bytes());
    h2::headers(out, &fields, 0, stream);
}
