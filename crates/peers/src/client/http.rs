//! The body of an HTTP/1.1 response out of its bytes, in whatever pieces they come.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use memchr::{memchr, memmem};

/// Longer heads are none of ours.
const MAX_HEAD: usize = 64 << 10;

/// Where in a response the next byte belongs.
#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// In the line with a chunk's length.
    Size,
    /// In a chunk, with this number of bytes to come.
    Chunk(usize),
    /// In the line end after a chunk.
    ChunkEnd,
    /// In the lines after the last chunk.
    Trailer,
    /// In a body of known length.
    Length(usize),
    /// In a body that ends with the connection.
    Open,
    Ended,
}

#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    /// An unfinished head or line.
    line: Vec<u8>,
}

impl Decoder {
    /// Appends what belongs to the body to `body`; gives how many bytes it took, which are all unless the response ended.
    pub(crate) fn feed(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.state {
                State::Head => self.head(&mut rest)?,
                State::Size => {
                    let Some(line) = self.line(&mut rest) else { break };
                    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                    let size = std::str::from_utf8(size.trim_ascii())?;
                    let size = usize::from_str_radix(size, 16).context("not a chunk's length")?;
                    self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
                }
                State::Chunk(left) => {
                    let left = left - take(&mut rest, left, body);
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                }
                State::ChunkEnd => {
                    let Some(line) = self.line(&mut rest) else { break };
                    if !line.trim_ascii().is_empty() {
                        bail!("a chunk is longer than its length");
                    }
                    self.state = State::Size;
                }
                State::Trailer => {
                    let Some(line) = self.line(&mut rest) else { break };
                    if line.trim_ascii().is_empty() {
                        self.state = State::Ended;
                    }
                }
                State::Length(left) => {
                    let left = left - take(&mut rest, left, body);
                    self.state = if left == 0 { State::Ended } else { State::Length(left) };
                }
                State::Open => {
                    take(&mut rest, usize::MAX, body);
                }
                State::Ended => break,
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether the response has ended; the next one may follow after `restart`.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Whether a connection that ends here ends the response properly.
    pub(crate) fn may_close(&self) -> bool {
        matches!(self.state, State::Ended | State::Open)
    }

    pub(crate) fn restart(&mut self) {
        self.state = State::Head;
    }

    fn head(&mut self, rest: &mut &[u8]) -> Result<()> {
        let before = self.line.len();
        self.line.extend_from_slice(rest);
        let Some(end) = memmem::find(&self.line, b"\r\n\r\n") else {
            *rest = &[];
            if self.line.len() > MAX_HEAD {
                bail!("a head of more than {MAX_HEAD} bytes");
            }
            return Ok(());
        };
        *rest = &rest[end + 4 - before..];
        let head = String::from_utf8_lossy(&self.line[..end]).to_ascii_lowercase();
        self.line.clear();
        let (status, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
        if !status.starts_with("http/1.1 200") {
            bail!("{status}: {}", String::from_utf8_lossy(&rest[..rest.len().min(300)]));
        }
        self.state = State::Open;
        for (name, value) in fields.lines().filter_map(|line| line.split_once(':')) {
            match (name, value.trim()) {
                ("transfer-encoding", "chunked") => self.state = State::Size,
                ("content-length", length) => {
                    let length = length.parse().context("not a length")?;
                    self.state = if length == 0 { State::Ended } else { State::Length(length) };
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The line up to the next line feed, if it is there.
    fn line<'a>(&mut self, rest: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let Some(end) = memchr(b'\n', rest) else {
            self.line.extend_from_slice(rest);
            *rest = &[];
            return None;
        };
        let line = &rest[..end];
        *rest = &rest[end + 1..];
        if self.line.is_empty() {
            return Some(line.into());
        }
        self.line.extend_from_slice(line);
        Some(std::mem::take(&mut self.line).into())
    }
}

/// Moves up to `most` bytes to the body; gives how many.
fn take(rest: &mut &[u8], most: usize, body: &mut Vec<u8>) -> usize {
    let taken = rest.len().min(most);
    body.extend_from_slice(&rest[..taken]);
    *rest = &rest[taken..];
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\n\r\n";

    #[test]
    fn chunks_are_joined_wherever_they_are_split() -> Result<()> {
        for split in 0..RESPONSE.len() {
            let (mut decoder, mut body) = (Decoder::default(), Vec::new());
            for part in [&RESPONSE[..split], &RESPONSE[split..]] {
                assert_eq!(decoder.feed(part, &mut body)?, part.len());
            }
            assert_eq!(body, b"hello world");
            assert!(decoder.is_ended());
        }
        Ok(())
    }

    #[test]
    fn the_next_response_is_left() -> Result<()> {
        let (mut decoder, mut body) = (Decoder::default(), Vec::new());
        let both = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", RESPONSE].concat();
        let taken = decoder.feed(&both, &mut body)?;
        assert_eq!((body.as_slice(), &both[taken..]), (b"ok".as_slice(), RESPONSE));
        decoder.restart();
        decoder.feed(&both[taken..], &mut body)?;
        assert_eq!(body, b"okhello world");
        Ok(())
    }

    #[test]
    fn another_status_is_an_error() {
        let error = Decoder::default().feed(b"HTTP/1.1 503 No\r\n\r\nbusy", &mut Vec::new());
        assert_eq!(error.map_err(|error| error.to_string()), Err("http/1.1 503 no: busy".into()));
    }
}
