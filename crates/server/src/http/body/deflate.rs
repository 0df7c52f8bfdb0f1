//! The codings `deflate` (RFC 1950, and RFC 1951 alone) and `gzip` (RFC 1952).

use bytes::{Buf, BytesMut};
use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::decode::{Decode, DecodeStep, Flaw, MOST_MEMBERS};

/// The longest header of a gzip member: it may contain a file name.
const LONGEST_HEADER: usize = 4 << 10;

/// `CRC32` and `ISIZE`.
const TRAILER: usize = 8;

/// The coding `deflate`.
#[derive(Default)]
pub(super) struct Deflate {
    /// `None` until the first two bytes identify one of the two formats.
    inflate: Option<Decompress>,
    is_over: bool,
}

impl Decode for Deflate {
    fn step(&mut self, input: &mut BytesMut, out: &mut [u8]) -> Result<DecodeStep, Flaw> {
        if self.is_over {
            return if input.is_empty() {
                Ok(DecodeStep::Idle)
            } else {
                Err("there are bytes after its end".into())
            };
        }
        if self.inflate.is_none() {
            let [method, flags, ..] = input[..] else { return Ok(DecodeStep::Idle) };
            // RFC 1950 §2.2: the method is 8, and the two bytes together a multiple of 31.
            let is_zlib =
                method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31);
            self.inflate = Some(Decompress::new(is_zlib));
        }
        let Some(inflate) = &mut self.inflate else { return Ok(DecodeStep::Idle) };
        let (step, is_over) = inflated(inflate, input, out)?;
        self.is_over = is_over;
        Ok(step)
    }

    fn is_complete(&self) -> bool {
        self.is_over
    }
}

/// The coding `gzip`: one member after the other.
pub(super) struct Gzip {
    state: State,
    inflate: Decompress,
    crc: Crc,
    members: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Data,
    Trailer,
}

impl Default for Gzip {
    fn default() -> Self {
        Self { state: State::Header, inflate: Decompress::new(false), crc: Crc::new(), members: 0 }
    }
}

impl Decode for Gzip {
    fn step(&mut self, input: &mut BytesMut, out: &mut [u8]) -> Result<DecodeStep, Flaw> {
        match self.state {
            State::Header => {
                let Some(length) = header_length(input)? else { return Ok(DecodeStep::Idle) };
                input.advance(length);
                self.members += 1;
                if self.members > MOST_MEMBERS {
                    return Err("it has too many members".into());
                }
                self.state = State::Data;
                Ok(DecodeStep::Wrote(0))
            }
            State::Data => {
                let (step, is_over) = inflated(&mut self.inflate, input, out)?;
                if let DecodeStep::Wrote(count) = step {
                    self.crc.update(out.get(..count).unwrap_or_default());
                }
                if is_over {
                    self.state = State::Trailer;
                }
                Ok(step)
            }
            State::Trailer => {
                if input.len() < TRAILER {
                    return Ok(DecodeStep::Idle);
                }
                if (input.get_u32_le(), input.get_u32_le()) != (self.crc.sum(), self.crc.amount()) {
                    return Err("its checksum does not match".into());
                }
                self.inflate.reset(false);
                self.crc.reset();
                self.state = State::Header;
                Ok(DecodeStep::Wrote(0))
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.state == State::Header && self.members > 0
    }
}

/// Inflates what is there; true at the end of its data.
fn inflated(
    inflate: &mut Decompress,
    input: &mut BytesMut,
    out: &mut [u8],
) -> Result<(DecodeStep, bool), &'static str> {
    let (read, wrote) = (inflate.total_in(), inflate.total_out());
    let status = inflate
        .decompress(input, out, FlushDecompress::None)
        .map_err(|_error| "its data is corrupt")?;
    let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
    let (read, wrote) = (count(inflate.total_in(), read), count(inflate.total_out(), wrote));
    input.advance(read);
    let is_over = status == Status::StreamEnd;
    let step = if read == 0 && wrote == 0 && !is_over {
        DecodeStep::Idle
    } else {
        DecodeStep::Wrote(wrote)
    };
    Ok((step, is_over))
}

/// How long the header of a member is; `None` while it is not whole (RFC 1952 §2.3).
fn header_length(input: &[u8]) -> Result<Option<usize>, &'static str> {
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    const CHECKSUM: u8 = 1 << 1;
    let magic = [0x1f, 0x8b, 8];
    if input.iter().zip(magic).any(|(found, expected)| *found != expected) {
        return Err("it has no gzip header");
    }
    let whole = (|| {
        let flags = *input.get(3)?;
        let mut at = 10;
        if flags & EXTRA != 0 {
            at += 2 + usize::from(u16::from_le_bytes(*input.get(at..)?.first_chunk()?));
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                at += input.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
            }
        }
        at += if flags & CHECKSUM != 0 { 2 } else { 0 };
        (input.len() >= at).then_some(at)
    })();
    if whole.is_none() && input.len() > LONGEST_HEADER {
        return Err("its header is too long");
    }
    Ok(whole)
}
