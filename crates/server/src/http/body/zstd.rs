//! The coding `zstd` (RFC 8878), with windows as large as RFC 9659 allows.

use std::io::Read;

use bytes::{Buf, BytesMut};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::decode::{Decode, DecodeStep, Flaw, MOST_MEMBERS};

/// The largest window (RFC 9659 §3).
const WINDOW: u64 = 8 << 20;

const MAGIC: u32 = 0xFD2F_B528;

/// Skippable frames have one of sixteen magic numbers.
const SKIPPABLE: u32 = 0x184D_2A50;

/// The coding `zstd`: one frame after the other, each of them blocks.
pub(super) struct Zstd {
    decoder: FrameDecoder,
    state: State,
    /// The largest frame with a content size, which then needs no window: the limit allows no more
    /// output anyway.
    limit: u64,
    frames: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// This many bytes of a skippable frame are still to come.
    Skipping(usize),
    /// Whether the last block is followed by a checksum.
    Block {
        has_checksum: bool,
    },
    /// The last block was read; its output was not taken yet.
    Draining,
}

impl Zstd {
    pub(super) fn new(limit: usize) -> Self {
        Self { decoder: FrameDecoder::new(), state: State::Header, limit: limit as u64, frames: 0 }
    }

    /// Starts a frame, once its header is complete.
    fn start(&mut self, input: &mut BytesMut) -> Result<DecodeStep, Flaw> {
        let Some(magic) = input.first_chunk().map(|magic| u32::from_le_bytes(*magic)) else {
            return Ok(DecodeStep::Idle);
        };
        self.frames += 1;
        if self.frames > MOST_MEMBERS {
            return Err("it has too many frames".into());
        }
        if magic & !0xf == SKIPPABLE {
            let Some(length) = input.get(4..).and_then(|rest| rest.first_chunk()) else {
                return Ok(self.not_yet());
            };
            self.state =
                State::Skipping(usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX));
            input.advance(8);
            return Ok(DecodeStep::Wrote(0));
        }
        if magic != MAGIC {
            return Err("it has no zstd header".into());
        }
        let Some(descriptor) = input.get(4).copied() else { return Ok(self.not_yet()) };
        let (length, size_length) = header_lengths(descriptor);
        let Some(mut header) = input.get(..length) else { return Ok(self.not_yet()) };
        if content_size(&header[length - size_length..]) > self.limit {
            return Err(Flaw::TooLarge);
        }
        let is_single_segment = descriptor & 1 << 5 != 0;
        self.decoder.set_max_window_size(if is_single_segment { self.limit } else { WINDOW });
        self.decoder
            .reset(&mut header)
            .map_err(|_error| "its frame needs a larger window, or a dictionary")?;
        input.advance(length);
        self.state = State::Block { has_checksum: descriptor & 1 << 2 != 0 };
        Ok(DecodeStep::Wrote(0))
    }

    /// The header is to be read again, with more of it.
    fn not_yet(&mut self) -> DecodeStep {
        self.frames -= 1;
        DecodeStep::Idle
    }

    /// Decodes a block, once it is whole.
    fn block(&mut self, input: &mut BytesMut, has_checksum: bool) -> Result<DecodeStep, Flaw> {
        const RUN_LENGTH: u32 = 1;
        // RFC 8878 §3.1.1.2.
        let [low, middle, high, ..] = input[..] else { return Ok(DecodeStep::Idle) };
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let (is_last, kind, size) = (header & 1 != 0, header >> 1 & 3, header >> 3);
        let content =
            if kind == RUN_LENGTH { 1 } else { usize::try_from(size).unwrap_or(usize::MAX) };
        if content > 128 << 10 {
            return Err("it has a block that is too large".into());
        }
        let length = 3 + content + if is_last && has_checksum { 4 } else { 0 };
        let Some(mut block) = input.get(..length) else { return Ok(DecodeStep::Idle) };
        self.decoder
            .decode_blocks(&mut block, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_error| "its data is corrupt")?;
        input.advance(length);
        if is_last {
            self.state = State::Draining;
        }
        Ok(DecodeStep::Wrote(0))
    }

    fn drain(&mut self, out: &mut [u8]) -> Result<usize, &'static str> {
        self.decoder.read(out).map_err(|_error| "its data is corrupt")
    }
}

impl Decode for Zstd {
    fn step(&mut self, input: &mut BytesMut, out: &mut [u8]) -> Result<DecodeStep, Flaw> {
        match self.state {
            State::Header => self.start(input),
            State::Skipping(left) => {
                let count = left.min(input.len());
                input.advance(count);
                self.state =
                    if count == left { State::Header } else { State::Skipping(left - count) };
                Ok(if count == 0 && left > 0 { DecodeStep::Idle } else { DecodeStep::Wrote(0) })
            }
            State::Block { has_checksum } => match self.drain(out)? {
                0 => self.block(input, has_checksum),
                count => Ok(DecodeStep::Wrote(count)),
            },
            State::Draining => {
                let count = self.drain(out)?;
                if count == 0 {
                    let (told, found) = (
                        self.decoder.get_checksum_from_data(),
                        self.decoder.get_calculated_checksum(),
                    );
                    if told.is_some() && told != found {
                        return Err("its checksum does not match".into());
                    }
                    self.state = State::Header;
                }
                Ok(DecodeStep::Wrote(count))
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.state == State::Header && self.frames > 0
    }
}

/// How long a frame's header is (RFC 8878 §3.1.1.1), with the magic number, and the part of it that
/// is the content size.
fn header_lengths(descriptor: u8) -> (usize, usize) {
    let is_single_segment = descriptor & 1 << 5 != 0;
    let window = usize::from(!is_single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    (5 + window + dictionary + content_size, content_size)
}

/// The content size of a header; 0 if it has none.
fn content_size(field: &[u8]) -> u64 {
    let number = field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    if field.len() == 2 { number + 256 } else { number }
}
