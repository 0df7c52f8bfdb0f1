//! Bodies that an upstream has compressed although nobody asked for it (RFC 9110 §8.4).

use std::io::Write;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

/// What a gzip member begins with (RFC 1952 §2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Encodings that compress, and that Weir cannot read, alone or together.
const COMPRESSIONS: [&str; 10] = ["br", "zstd", "compress", "x-compress", "lz4", "snappy", "dcb", "dcz", "gzip", "deflate"];

/// How many bytes are decompressed at once. They may become a thousand times as many, and all of those are held.
pub(crate) const SLICE: usize = 256;

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodingError {
    /// An encoding that Weir does not know.
    #[error("compressed its response with '{0}', though it was asked not to compress it")]
    Unknown(String),
    /// The bytes are not what their encoding says.
    #[error("sent a compressed response that cannot be decompressed")]
    Corrupt,
}

/// Decompresses a body as it comes.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// Nothing came yet, and no field names an encoding: the first bytes may be gzip all the same.
    Unknown(Vec<u8>),
    /// The bytes are as they are.
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// `deflate` without the first byte, which tells zlib's format from the bare one that some servers send.
    DeflateStart,
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Deflate(Box<DeflateDecoder<Vec<u8>>>),
}

impl Decoder {
    /// The decoder of a body with this head.
    ///
    /// # Errors
    /// It is compressed in a way that Weir does not know.
    pub(crate) fn new(headers: &HeaderMap) -> Result<Self, EncodingError> {
        let encoding = headers.get(CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase());
        match encoding.as_deref() {
            Some("gzip" | "x-gzip") => Ok(Self::gzip()),
            Some("deflate") => Ok(Self::DeflateStart),
            Some(other) if COMPRESSIONS.iter().any(|name| other.split([',', ' ']).any(|word| word == *name)) => {
                Err(EncodingError::Unknown(other.chars().take(32).collect()))
            }
            // A value that names no compression is a configuration mistake (`utf-8`) or harmless (`aws-chunked`).
            None | Some(_) => Ok(Self::Unknown(Vec::new())),
        }
    }

    fn gzip() -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
    }

    /// Whether bytes have to be decompressed, and may become far more.
    pub(crate) fn may_expand(&self) -> bool {
        !matches!(self, Self::Identity)
    }

    /// Decompresses more bytes: [`SLICE`] of them at most, where [`Self::may_expand`].
    ///
    /// # Errors
    /// The bytes are not what their encoding says.
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
                // The lower half of zlib's first byte is 8 (RFC 1950 §2.2); no bare stream of usual encoders begins like that.
                *self = if first & 0x0f == 8 {
                    Self::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
                } else {
                    Self::Deflate(Box::new(DeflateDecoder::new(Vec::new())))
                };
                self.decode(bytes)
            }
            Self::Gzip(decoder) => written(decoder.write_all(bytes).and_then(|()| decoder.flush()).is_ok(), decoder.get_mut()),
            Self::Zlib(decoder) => written(decoder.write_all(bytes).and_then(|()| decoder.flush()).is_ok(), decoder.get_mut()),
            Self::Deflate(decoder) => written(decoder.write_all(bytes).and_then(|()| decoder.flush()).is_ok(), decoder.get_mut()),
        }
    }
}

fn written(is_read: bool, out: &mut Vec<u8>) -> Result<Vec<u8>, EncodingError> {
    let out = std::mem::take(out);
    // What could be read before the corruption counts.
    if is_read || !out.is_empty() { Ok(out) } else { Err(EncodingError::Corrupt) }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use reqwest::header::HeaderValue;

    use super::*;

    const TEXT: &[u8] = b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n";

    fn decoder(encoding: Option<&str>) -> Result<Decoder, EncodingError> {
        let fields = encoding.map(|encoding| (CONTENT_ENCODING, HeaderValue::from_str(encoding).unwrap()));
        Decoder::new(&HeaderMap::from_iter(fields))
    }

    fn check(encoding: Option<&str>, body: &[u8]) {
        for size in [1, 7, SLICE] {
            let mut decoder = decoder(encoding).unwrap();
            let decoded: Vec<u8> = body.chunks(size).flat_map(|slice| decoder.decode(slice).unwrap()).collect();
            assert_eq!(decoded, TEXT, "{encoding:?} in pieces of {size}");
        }
    }

    #[test]
    fn compressed_bodies_are_read_as_they_come() {
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
        assert_eq!(decoder(Some("gzip, br")).unwrap_err(), EncodingError::Unknown("gzip, br".into()));
        assert_eq!(decoder(Some("gzip")).unwrap().decode(gzip.get_ref()).unwrap(), b"data: 1\n\n");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(decoder(Some("br")).unwrap_err(), EncodingError::Unknown("br".into()));
        assert_eq!(decoder(Some("gzip")).unwrap().decode(b"data: plain text, though gzip was said"), Err(EncodingError::Corrupt));
    }
}
