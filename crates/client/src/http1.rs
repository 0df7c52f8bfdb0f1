//! HTTP/1.1 messages (RFC 9112): heads and body framing, parsed from bytes that were already read.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};

/// A larger head is refused: no server or test sends one.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// Header fields, in the order of the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Fields in order; the names must be in lower case.
    pub fn new(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    /// The first value of a field. `name` may be in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a field, in order. `name` may be in any case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All fields; the names are in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a comma-separated field contains a token (RFC 9110, section 5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|found| found.trim().eq_ignore_ascii_case(token))
    }
}

/// A start line and the header fields after it.
#[derive(Debug)]
pub struct Head {
    /// The request line or the status line.
    pub start_line: String,
    /// The header fields.
    pub headers: Headers,
}

/// Takes a complete head from the front of `buffer`; `None` if it needs more bytes.
///
/// # Errors
/// The head is too large or malformed.
pub fn take_head(buffer: &mut BytesMut) -> Result<Option<Head>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        ensure!(buffer.len() <= MAX_HEAD_BYTES, "the head is larger than {MAX_HEAD_BYTES} bytes");
        return Ok(None);
    };
    let head = buffer.split_to(end + 4);
    let head = std::str::from_utf8(&head[..end]).context("the head is not UTF-8")?;
    let mut lines = head.split("\r\n");
    let start_line = lines.next().unwrap_or_default().to_owned();
    let mut headers = Headers::default();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .with_context(|| format!("a header line without a colon: {line:?}"))?;
        headers.0.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Head { start_line, headers }))
}

/// How the end of a body is determined (RFC 9112, section 6.3).
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// The number of bytes that are left.
    Length(u64),
    /// The transfer coding `chunked` (section 7.1).
    Chunked(Chunk),
    /// Everything until the connection closes.
    UntilClose,
}

/// Where in the transfer coding `chunked` a body is.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Before the line with a chunk's size.
    Size,
    /// In a chunk's data: the number of bytes that are left.
    Data(u64),
    /// Before the line end after a chunk's data.
    DataEnd,
    /// In the trailer fields after the last chunk, up to an empty line.
    Trailers,
}

/// What [`Body::take`] finds at the front of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// More bytes are needed.
    NeedMore,
    /// The body is complete.
    End,
}

impl Body {
    /// The framing according to the header fields; `otherwise` if they do not say.
    pub fn announced(headers: &Headers, otherwise: Self) -> Result<Self> {
        if headers.has_token("transfer-encoding", "chunked") {
            return Ok(Self::Chunked(Chunk::Size));
        }
        match headers.get("content-length") {
            Some(length) => Ok(Self::Length(
                length.parse().with_context(|| format!("content-length: {length}"))?,
            )),
            None => Ok(otherwise),
        }
    }

    /// Takes the next piece of the body from the front of `buffer`.
    ///
    /// # Errors
    /// A violation of the framing.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece> {
        loop {
            match self {
                Self::Length(0) => return Ok(Piece::End),
                Self::UntilClose | Self::Length(_) | Self::Chunked(Chunk::Data(1..))
                    if buffer.is_empty() =>
                {
                    return Ok(Piece::NeedMore);
                }
                Self::UntilClose => return Ok(Piece::Data(buffer.split().freeze())),
                Self::Length(left) | Self::Chunked(Chunk::Data(left @ 1..)) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    *left -= length as u64;
                    return Ok(Piece::Data(buffer.split_to(length).freeze()));
                }
                Self::Chunked(chunk) => match chunk.advance(buffer)? {
                    Some(Step::End) => return Ok(Piece::End),
                    Some(Step::Next(next)) => *chunk = next,
                    None => return Ok(Piece::NeedMore),
                },
            }
        }
    }
}

enum Step {
    Next(Chunk),
    End,
}

impl Chunk {
    /// Consumes the line that comes next; `None` if it is incomplete.
    fn advance(&self, buffer: &mut BytesMut) -> Result<Option<Step>> {
        if *self == Self::Data(0) {
            return Ok(Some(Step::Next(Self::DataEnd)));
        }
        let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") else {
            ensure!(
                buffer.len() <= MAX_HEAD_BYTES,
                "a chunk's line is larger than {MAX_HEAD_BYTES} bytes"
            );
            return Ok(None);
        };
        let line = buffer.split_to(end);
        buffer.advance(2);
        Ok(Some(match self {
            Self::Size => {
                let line = std::str::from_utf8(&line).context("a chunk's size is not ASCII")?;
                let size = line.split(';').next().unwrap_or_default().trim();
                match u64::from_str_radix(size, 16)
                    .with_context(|| format!("a chunk's size: {size:?}"))?
                {
                    0 => Step::Next(Self::Trailers),
                    size => Step::Next(Self::Data(size)),
                }
            }
            Self::Data(_) | Self::DataEnd if line.is_empty() => Step::Next(Self::Size),
            Self::Data(_) | Self::DataEnd => bail!("a chunk is longer than its size"),
            Self::Trailers if line.is_empty() => Step::End,
            Self::Trailers => Step::Next(Self::Trailers),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a body that arrives byte by byte, and whether it ended.
    fn decode(mut body: Body, bytes: &[u8]) -> Result<(Vec<u8>, bool)> {
        let mut buffer = BytesMut::new();
        let mut data = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[*byte]);
            loop {
                match body.take(&mut buffer)? {
                    Piece::Data(piece) => data.extend_from_slice(&piece),
                    Piece::NeedMore => break,
                    Piece::End => return Ok((data, true)),
                }
            }
        }
        Ok((data, false))
    }

    #[test]
    fn chunked_bodies_are_decoded() -> Result<()> {
        let bytes = b"3;extension=1\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
        assert_eq!(decode(Body::Chunked(Chunk::Size), bytes)?, (b"abc0123456789".to_vec(), true));
        for cut in 0..bytes.len() {
            assert!(!decode(Body::Chunked(Chunk::Size), &bytes[..cut])?.1, "cut at {cut}");
        }
        assert!(decode(Body::Chunked(Chunk::Size), b"3\r\nabcd\r\n").is_err());
        assert!(decode(Body::Chunked(Chunk::Size), b"x\r\n").is_err());
        Ok(())
    }

    #[test]
    fn a_body_ends_at_its_length() -> Result<()> {
        assert_eq!(decode(Body::Length(3), b"abcd")?, (b"abc".to_vec(), true));
        assert_eq!(decode(Body::Length(5), b"abcd")?, (b"abcd".to_vec(), false));
        assert_eq!(decode(Body::UntilClose, b"abcd")?, (b"abcd".to_vec(), false));
        assert_eq!(Body::Length(0).take(&mut BytesMut::new())?, Piece::End);
        Ok(())
    }

    #[test]
    fn a_complete_head_is_taken() -> Result<()> {
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\nA: 1\r\na:2\r\n\r\nrest".as_bytes());
        let head = take_head(&mut buffer)?.context("a complete head")?;
        assert_eq!(head.start_line, "HTTP/1.1 200 OK");
        assert_eq!(head.headers.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(&buffer[..], b"rest");
        assert!(take_head(&mut buffer)?.is_none());
        Ok(())
    }
}
