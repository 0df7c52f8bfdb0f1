//! The bodies of the streams of one HTTP/2 connection, and the frames that ask for them.

use anyhow::{Context, Result, bail, ensure};

use crate::client::stream::{Progress, Stream};
use crate::h2::{self, Frame};

/// After this number of bytes the server is given as much room again.
const REPLENISH: u32 = 1 << 30;

#[derive(Debug, Default)]
pub(crate) struct Decoder {
    input: Vec<u8>,
    received: u32,
    next: u32,
}

impl Decoder {
    /// What a client sends first.
    pub(crate) fn open(out: &mut Vec<u8>) {
        out.extend_from_slice(h2::PREFACE);
        h2::open(out);
    }

    /// The number of the next stream; those of clients are odd.
    pub(crate) fn next_stream(&mut self) -> u32 {
        self.next += 1;
        self.next * 2 - 1
    }

    /// Appends DATA to the bodies of their streams, what became of each to `progress`, and what has to be sent back to `reply`.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        streams: &mut [Stream],
        progress: &mut Vec<(usize, Progress)>,
        reply: &mut Vec<u8>,
    ) -> Result<()> {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut taken = 0;
        while let Some(frame) = Frame::read(&input[taken..])? {
            let payload = frame.payload(&input[taken..]);
            taken += frame.bytes();
            match frame.kind {
                h2::SETTINGS | h2::PING => h2::acknowledge(reply, &frame, payload),
                h2::GOAWAY => bail!("GOAWAY: {}", String::from_utf8_lossy(payload)),
                h2::DATA | h2::HEADERS | h2::RST_STREAM => {
                    // What was reset by the client has no stream any more.
                    let Some(index) = streams.iter().position(|one| one.http2 == frame.stream)
                    else {
                        continue;
                    };
                    let stream = &mut streams[index];
                    if frame.kind == h2::DATA {
                        stream.body.extend_from_slice(payload);
                        self.replenish(frame.bytes(), reply);
                    } else if frame.kind == h2::HEADERS && !stream.has_head {
                        check_status(payload)?;
                        stream.has_head = true;
                    }
                    let what = match frame.kind {
                        h2::RST_STREAM => Progress::Cut,
                        _ if frame.has(h2::END_STREAM) => Progress::Ended,
                        _ => Progress::More,
                    };
                    progress.push((index, what));
                }
                _ => {}
            }
        }
        self.input = input;
        self.input.drain(..taken);
        Ok(())
    }

    fn replenish(&mut self, bytes: usize, reply: &mut Vec<u8>) {
        self.received += u32::try_from(bytes).unwrap_or_default();
        if self.received >= REPLENISH {
            h2::window_update(reply, self.received);
            self.received = 0;
        }
    }
}

/// 0x88 is `:status: 200`; before it the size of the dynamic table may be set (RFC 7541, section 6.3).
fn check_status(fields: &[u8]) -> Result<()> {
    let first = fields.iter().find(|byte| **byte & 0xe0 != 0x20);
    ensure!(first == Some(&0x88), "the status is not 200");
    Ok(())
}

/// A request of HTTP/1.1 as the frames of a stream.
pub(crate) fn request(text: &str, stream: u32) -> Result<Vec<u8>> {
    let (head, body) = text.split_once("\r\n\r\n").context("no end of the head")?;
    let (line, lines) = head.split_once("\r\n").unwrap_or((head, ""));
    let path = line.split(' ').nth(1).context("no path")?;
    // Indexed fields of the static table: GET is 2, POST 3, http 6.
    let mut fields = vec![if line.starts_with("GET ") { 0x82 } else { 0x83 }, 0x86];
    h2::field(&mut fields, 4, ":path", path);
    for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
        match name {
            "host" => h2::field(&mut fields, 1, ":authority", value),
            name => h2::field(&mut fields, 0, name, value),
        }
    }
    let mut out = Vec::new();
    h2::headers(&mut out, &fields, if body.is_empty() { h2::END_STREAM } else { 0 }, stream);
    if !body.is_empty() {
        h2::header(&mut out, body.len(), h2::DATA, h2::END_STREAM, stream);
        out.extend_from_slice(body.as_bytes());
    }
    Ok(out)
}
