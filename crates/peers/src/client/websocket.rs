//! The messages of a WebSocket (RFC 6455) out of its frames, each as a line; and the frames that a client sends.

use anyhow::{Result, bail};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// In place of a length: it follows in this number of bytes.
const TWO_BYTES: u8 = 0x7e;
const EIGHT_BYTES: u8 = 0x7f;
const MASKED: u8 = 0x80;

#[derive(Debug, Default)]
pub(crate) struct Decoder {
    input: Vec<u8>,
}

impl Decoder {
    /// Appends each message and a line feed to `body`, and to `reply` what has to be sent back.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        body: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<()> {
        self.input.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(frame) = Frame::read(&self.input[taken..]) {
            let payload = &self.input[taken + frame.start..taken + frame.end];
            match frame.opcode {
                CLOSE => bail!("the server closed the WebSocket"),
                PING => write(reply, PONG, payload),
                0..=2 => {
                    body.extend_from_slice(payload);
                    if frame.is_final {
                        body.push(b'\n');
                    }
                }
                _ => {}
            }
            taken += frame.end;
        }
        self.input.drain(..taken);
        Ok(())
    }
}

/// The frame of one text message.
pub(crate) fn text(message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, TEXT, message.as_bytes());
    out
}

/// A client masks what it sends; with zeros that is what it was.
fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | TWO_BYTES);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(MASKED | EIGHT_BYTES);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

struct Frame {
    opcode: u8,
    is_final: bool,
    start: usize,
    end: usize,
}

impl Frame {
    /// The frame that the bytes start with, if it is whole.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [first, second, ..] = bytes else { return None };
        let (length, start): (usize, usize) = match second & !MASKED {
            TWO_BYTES => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            EIGHT_BYTES => {
                let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
                (usize::try_from(length).ok()?, 10)
            }
            length => (usize::from(length), 2),
        };
        let end = start.checked_add(length)?;
        let is_whole = bytes.len() >= end;
        is_whole.then_some(Self { opcode: first & 0x0f, is_final: first & 0x80 != 0, start, end })
    }
}
