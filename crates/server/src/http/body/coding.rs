//! Content codings of request bodies (RFC 9110 §8.4.1): decoded as the bytes come, within a limit
//! on what comes out.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use protocol::fault::{Fault, FaultKind};
use tokio::task::yield_now;

use super::decode::{Decode, DecodeStep, Flaw, PIECE};
use super::deflate::{Deflate, Gzip};
use super::zstd::Zstd;
use crate::error::{ACCEPTED_CODINGS, UNSUPPORTED_CODING};

/// How many codings may be applied to one body. Real bodies have one.
const MOST_CODINGS: usize = 3;

/// After this number of steps other tasks may run: one byte may decode to a thousand.
const STEPS: usize = 8;

/// One content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentCoding {
    Gzip,
    /// The zlib format (RFC 1950), or the bare stream that some clients send under this name.
    Deflate,
    Zstd,
}

impl ContentCoding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// The codings of a body, in the order in which they were applied.
///
/// # Errors
/// 415 with the coding that is not supported.
pub(super) fn of(headers: &HeaderMap) -> Result<Vec<ContentCoding>, Fault> {
    let mut codings = Vec::new();
    for line in headers.get_all(header::CONTENT_ENCODING) {
        for name in line.to_str().unwrap_or("?").split(',').map(str::trim) {
            match name.to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => codings.push(ContentCoding::Gzip),
                "deflate" => codings.push(ContentCoding::Deflate),
                "zstd" => codings.push(ContentCoding::Zstd),
                _ => {
                    return Err(unsupported(&format!(
                        "The content coding '{name}' is not supported"
                    )));
                }
            }
        }
    }
    if codings.len() > MOST_CODINGS {
        return Err(unsupported(&format!(
            "{} content codings on one body are too many",
            codings.len()
        )));
    }
    Ok(codings)
}

fn unsupported(what: &str) -> Fault {
    let message = format!("{what}: send the body as it is, or with one of {ACCEPTED_CODINGS}.");
    Fault::new(FaultKind::InvalidRequest, UNSUPPORTED_CODING, message)
        .with_status(415)
        .with_param("Content-Encoding")
}

/// Why a body could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecodeError {
    /// The decoded body exceeds the limit.
    TooLarge,
    /// Not valid in its coding.
    Invalid(&'static str, ContentCoding),
    /// It ended before its coding did.
    Truncated(ContentCoding),
}

impl DecodeError {
    /// 400; a body that is too large is refused by the caller, which has the limit.
    pub(super) fn fault(self) -> Option<Fault> {
        let (code, message) = match self {
            Self::TooLarge => return None,
            Self::Invalid(what, coding) => (
                "invalid_content_encoding",
                format!(
                    "The body is not valid {}, which Content-Encoding declares: {what}.",
                    coding.name()
                ),
            ),
            Self::Truncated(coding) => {
                ("truncated_body", format!("The body ended before its {} data did.", coding.name()))
            }
        };
        Some(Fault::new(FaultKind::InvalidRequest, code, message).with_param("Content-Encoding"))
    }
}

/// One coding of a body, with the input that it has not taken yet.
struct Stage {
    coding: ContentCoding,
    decoder: Box<dyn Decode>,
    input: BytesMut,
    wrote: usize,
}

/// The decoder of a whole body: as many stages as it has codings, the outermost first.
pub(super) struct RequestDecoder {
    stages: Vec<Stage>,
    limit: usize,
    has_begun: bool,
}

impl RequestDecoder {
    /// `None` where there is nothing to decode. `limit` applies to the output of each coding, as
    /// intermediate output costs as much.
    pub(super) fn new(codings: &[ContentCoding], limit: usize) -> Option<Self> {
        let stage = |coding: &ContentCoding| Stage {
            coding: *coding,
            decoder: match coding {
                ContentCoding::Gzip => Box::new(Gzip::default()),
                ContentCoding::Deflate => Box::new(Deflate::default()),
                ContentCoding::Zstd => Box::new(Zstd::new(limit)),
            },
            input: BytesMut::new(),
            wrote: 0,
        };
        let stages: Vec<Stage> = codings.iter().rev().map(stage).collect();
        (!stages.is_empty()).then_some(Self { stages, limit, has_begun: false })
    }

    /// Takes in the next bytes of the body, and appends what they decode to.
    pub(super) async fn push(
        &mut self,
        bytes: Bytes,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        self.has_begun |= !bytes.is_empty();
        if let Some(outermost) = self.stages.first_mut() {
            outermost.input.extend_from_slice(&bytes);
        }
        drop(bytes);
        let mut steps = 0;
        while self.step(out)? {
            steps += 1;
            if steps % STEPS == 0 {
                yield_now().await;
            }
        }
        Ok(())
    }

    /// One step of the innermost stage that can do one; so no stage gets more than it can process.
    /// False: more input is needed.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let mut piece = [0; PIECE];
        for index in (0..self.stages.len()).rev() {
            let Some(stage) = self.stages.get_mut(index) else { continue };
            let step = stage.decoder.step(&mut stage.input, &mut piece);
            let step = step.map_err(|flaw| match flaw {
                Flaw::TooLarge => DecodeError::TooLarge,
                Flaw::Invalid(what) => DecodeError::Invalid(what, stage.coding),
            });
            let DecodeStep::Wrote(count) = step? else { continue };
            stage.wrote += count;
            if stage.wrote > self.limit {
                return Err(DecodeError::TooLarge);
            }
            let written = piece.get(..count).unwrap_or_default();
            match self.stages.get_mut(index + 1) {
                Some(next) => next.input.extend_from_slice(written),
                None => out.extend_from_slice(written),
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// The body has ended. One without a byte needs no coding.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self
            .stages
            .iter()
            .find(|stage| !stage.decoder.is_complete() || !stage.input.is_empty())
        {
            Some(stage) if self.has_begun => Err(DecodeError::Truncated(stage.coding)),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
