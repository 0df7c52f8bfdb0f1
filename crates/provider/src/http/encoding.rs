//! Decompresses response bodies that the upstream compressed although it was asked not to (RFC 9110
//! §8.4).

use std::io::Write;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};

/// The start of a gzip member (RFC 1952 §2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Content codings that compress and that Weir does not support, alone or combined.
const COMPRESSIONS: [&str; 10] =
    ["br", "zstd", "compress", "x-compress", "lz4", "snappy", "dcb", "dcz", "gzip", "deflate"];

/// How many bytes are decompressed at a time. The output can be a thousand times larger, and is
/// held in memory.
pub(crate) const SLICE: usize = 256;

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodingError {
    /// An unsupported content coding.
    #[error("compressed its response with '{0}', though it was asked not to compress it")]
    Unknown(String),
    /// The bytes do not match their coding.
    #[error("sent a compressed response that cannot be decompressed")]
    Corrupt,
}

/// Decompresses a body incrementally.
#[derive(Debug)]
pub(crate) enum BodyDecoder {
    /// No bytes yet and no `Content-Encoding`; the body may still turn out to be gzip.
    Unknown(Vec<u8>),
    /// Not compressed.
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// `deflate` before its first byte, which distinguishes the zlib format from the raw one that
    /// some servers send.
    DeflateStart,
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Deflate(Box<DeflateDecoder<Vec<u8>>>),
}

impl BodyDecoder {
    /// The decoder for a response with these headers.
    ///
    /// # Errors
    /// The content coding is not supported.
    pub(crate) fn new(headers: &HeaderMap) -> Result<Self, EncodingError> {
        let encoding = headers
            .get(CONTENT_ENCODING)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase());
        match encoding.as_deref() {
            Some("gzip" | "x-gzip") => Ok(Self::gzip()),
            Some("deflate") => Ok(Self::DeflateStart),
            Some(other)
                if COMPRESSIONS
                    .iter()
                    .any(|name| other.split([',', ' ']).any(|word| word == *name)) =>
            {
                Err(EncodingError::Unknown(other.chars().take(32).collect()))
            }
            // A value that names no compression is a configuration mistake (`utf-8`) or harmless
            // (`aws-chunked`).
            None | Some(_) => Ok(Self::Unknown(Vec::new())),
        }
    }

    fn gzip() -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
    }

    /// Whether the body may be compressed, so that decoding can expand it.
    pub(crate) fn may_expand(&self) -> bool {
        !matches!(self, Self::Identity)
    }

    /// Decompresses more bytes; at most [`SLICE`] at a time if [`Self::may_expand`].
    ///
    /// # Errors
    /// The bytes do not match their coding.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<Vec<u8>, EncodingError> {
        match self {
            Self::Identity => Ok(bytes.to_vec()),
            Self::Unknown(start) => {
                start.extend_from_slice(bytes);
                if start.len() < GZIP_MAGIC.len() && GZIP_MAGIC.starts_with(start) {
                    return Ok(Vec::new());
                }
                let start = std::mem::take(start);
                *self = if start.starts_with(&GZIP_MAGIC) { Self::gzip() } else { Self::Identity };
                self.decode(&start)
            }
            Self::DeflateStart => {
                let Some(first) = bytes.first() else { return Ok(Vec::new()) };
                // The low nibble of a zlib header is 8 (RFC 1950 §2.2); common encoders never start
                // a raw stream with it.
                *self = if first & 0x0f == 8 {
                    Self::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
                } else {
                    Self::Deflate(Box::new(DeflateDecoder::new(Vec::new())))
                };
                self.decode(bytes)
            }
            Self::Gzip(decoder) => written(
                decoder.write_all(bytes).and_then(|()| decoder.flush()).is_ok(),
                decoder.get_mut(),
            ),
            Self::Zlib(decoder) => written(
                decoder.write_all(bytes).and_then(|()| decoder.flush()).is_ok(),
                decoder.get_mut(),
            ),
            Self::Deflate(decoder) => written(
                decoder.write_all(bytes).and_then(|()| decoder.flush()).is_ok(),
                decoder.get_mut(),
            ),
        }
    }
}

fn written(is_read: bool, out: &mut Vec<u8>) -> Result<Vec<u8>, EncodingError> {
    let out = std::mem::take(out);
    // Whatever was decompressed before the corruption is delivered.
    if is_read || !out.is_empty() { Ok(out) } else { Err(EncodingError::Corrupt) }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::header::HeaderValue;

    use super::*;

    const TEXT: &[u8] = b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n";

    fn decoder(encoding: Option<&str>) -> Result<BodyDecoder, EncodingError> {
        let fields =
            encoding.map(|encoding| (CONTENT_ENCODING, HeaderValue::from_str(encoding).unwrap()));
        BodyDecoder::new(&HeaderMap::from_iter(fields))
    }

    fn check(encoding: Option<&str>, body: &[u8]) {
        for size in [1, 7, SLICE] {
            let mut decoder = decoder(encoding).unwrap();
            let decoded: Vec<u8> =
                body.chunks(size).flat_map(|slice| decoder.decode(slice).unwrap()).collect();
            assert_eq!(decoded, TEXT, "{encoding:?} in pieces of {size}");
        }
    }

    #[test]
    fn compressed_bodies_are_decoded_incrementally() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(TEXT).unwrap();
        let gzip = gzip.finish().unwrap();
        check(Some("gzip"), &gzip);
        check(Some("X-GZIP"), &gzip);
        check(None, &gzip);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        check(Some("deflate"), &zlib.finish().unwrap());
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(TEXT).unwrap();
        check(Some("deflate"), &deflate.finish().unwrap());
        check(None, TEXT);
        for none in ["identity", "utf-8", "none", "aws-chunked", "UTF-8", "binary", "chunked"] {
            check(Some(none), TEXT);
        }
    }

    #[test]
    fn a_flushed_event_does_not_wait_for_the_next() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"data: 1\n\n").unwrap();
        gzip.flush().unwrap();
        assert_eq!(
            decoder(Some("gzip, br")).unwrap_err(),
            EncodingError::Unknown("gzip, br".into())
        );
        assert_eq!(decoder(Some("gzip")).unwrap().decode(gzip.get_ref()).unwrap(), b"data: 1\n\n");
    }

    #[test]
    fn unsupported_codings_are_named() {
        assert_eq!(decoder(Some("br")).unwrap_err(), EncodingError::Unknown("br".into()));
        assert_eq!(
            decoder(Some("gzip")).unwrap().decode(b"data: plain text, though gzip was said"),
            Err(EncodingError::Corrupt)
        );
    }
}
