//! Bodies of common encoders, whole and in every split; and corrupt, truncated or far too large
//! ones.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::super::decode::MOST_MEMBERS;
use super::*;

const TEXT: &str = r#"{"model":"demo","input":"你好 hello hello hello hello hello hello"}"#;

/// `TEXT` by the program zstd 1.5.4, which writes the size of the content, and a checksum.
const BY_ZSTD: &str = "28b52ffd244575010074027b226d6f64656c223a2264656d6f222c22696e707574223a22e4bda0e5a5bd2068656c6c6f227d01008d589e29e8fa3c";

/// The same from a pipe: with a window in place of the size.
const BY_ZSTD_PIPE: &str = "28b52ffd045875010074027b226d6f64656c223a2264656d6f222c22696e707574223a22e4bda0e5a5bd2068656c6c6f227d01008d589e29e8fa3c";

/// `TEXT` by the program gzip 1.12.
const BY_GZIP: &str = "1f8b0800000000000003ab56cacd4f49cd51b2524a49cdcd57d251cacc2b282d01729fec5df074e95e858cd49c9c7cfca4522d00d1219dee45000000";

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

/// Decodes a body that comes in these pieces.
async fn decode(
    codings: &[ContentCoding],
    pieces: &[&[u8]],
    limit: usize,
) -> Result<Vec<u8>, DecodeError> {
    let (mut decoder, mut out) = (RequestDecoder::new(codings, limit).unwrap(), Vec::new());
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece), &mut out).await?;
    }
    decoder.finish().map(|()| out)
}

/// The body decodes to `TEXT`, whole, byte by byte and cut anywhere, and does not without its last
/// byte or with one more.
async fn check(codings: &[ContentCoding], body: &[u8]) {
    let text = Ok(TEXT.as_bytes().to_vec());
    assert_eq!(decode(codings, &[body], 1000).await, text, "{codings:?}");
    assert_eq!(
        decode(codings, &body.chunks(1).collect::<Vec<_>>(), 1000).await,
        text,
        "{codings:?}"
    );
    for cut in 0..body.len() {
        let (start, rest) = body.split_at(cut);
        assert_eq!(decode(codings, &[start, rest], 1000).await, text, "{codings:?} cut at {cut}");
        let cut_off = decode(codings, &[start], 1000).await;
        let expected = if cut == 0 {
            Ok(Vec::new())
        } else {
            Err(DecodeError::Truncated(*codings.last().unwrap()))
        };
        assert_eq!(cut_off, expected, "{codings:?} cut off at {cut}");
    }
    let longer = [body, b"x"].concat();
    assert!(decode(codings, &[&longer], 1000).await.is_err(), "{codings:?}");
    assert_eq!(
        decode(codings, &[body], TEXT.len()).await,
        text,
        "{codings:?}: exactly as large as it may be"
    );
    assert_eq!(
        decode(codings, &[body], TEXT.len() - 1).await,
        Err(DecodeError::TooLarge),
        "{codings:?}"
    );
}

#[tokio::test]
async fn bodies_of_common_encoders_are_read_in_any_pieces() {
    check(&[ContentCoding::Gzip], &from_hex(BY_GZIP)).await;
    check(&[ContentCoding::Gzip], &gzip(TEXT.as_bytes())).await;
    check(&[ContentCoding::Deflate], &zlib(TEXT.as_bytes())).await;
    check(&[ContentCoding::Deflate], &raw_deflate(TEXT.as_bytes())).await;
    check(&[ContentCoding::Zstd], &from_hex(BY_ZSTD)).await;
    check(&[ContentCoding::Zstd], &from_hex(BY_ZSTD_PIPE)).await;
    check(&[ContentCoding::Zstd], &zstd(TEXT.as_bytes())).await;
}

#[tokio::test]
async fn codings_are_undone_in_the_order_opposite_to_their_list() {
    let body = zstd(&zlib(&gzip(TEXT.as_bytes())));
    let codings = [ContentCoding::Gzip, ContentCoding::Deflate, ContentCoding::Zstd];
    assert_eq!(decode(&codings, &[&body], 1000).await, Ok(TEXT.as_bytes().to_vec()));
    assert_eq!(
        decode(&codings, &body.chunks(1).collect::<Vec<_>>(), 1000).await,
        Ok(TEXT.as_bytes().to_vec())
    );
}

#[tokio::test]
async fn members_follow_each_other_and_headers_may_have_every_field() {
    let (start, end) = TEXT.as_bytes().split_at(20);
    let gzips = [gzip(start), gzip(b""), gzip(end)].concat();
    assert_eq!(decode(&[ContentCoding::Gzip], &[&gzips], 1000).await, Ok(TEXT.as_bytes().to_vec()));
    let skippable = [&0x184D_2A53_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"xyz"].concat();
    let zstds = [skippable.clone(), zstd(start), skippable, zstd(end)].concat();
    for pieces in [vec![&zstds[..]], zstds.chunks(1).collect()] {
        assert_eq!(
            decode(&[ContentCoding::Zstd], &pieces, 1000).await,
            Ok(TEXT.as_bytes().to_vec())
        );
    }

    // FTEXT, FHCRC, FEXTRA, FNAME and FCOMMENT; the checksum of the header is not checked.
    let plain = gzip(TEXT.as_bytes());
    let header = [
        &[0x1f, 0x8b, 8, 0b1_1111, 0, 0, 0, 0, 0, 3, 2, 0, b'a', b'b'][..],
        b"name\0comment\0\x01\x02",
    ]
    .concat();
    let body = [&header, &plain[10..]].concat();
    for pieces in [vec![&body[..]], body.chunks(1).collect()] {
        assert_eq!(
            decode(&[ContentCoding::Gzip], &pieces, 1000).await,
            Ok(TEXT.as_bytes().to_vec())
        );
    }
}

#[tokio::test]
async fn corrupt_bodies_are_reported() {
    let mut wrong_sum = gzip(TEXT.as_bytes());
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    let mut wrong_zstd_sum = from_hex(BY_ZSTD);
    *wrong_zstd_sum.last_mut().unwrap() ^= 1;
    let endless_name = [&[0x1f, 0x8b, 8, 1 << 3, 0, 0, 0, 0, 0, 3][..], &[b'n'; 5000]].concat();
    let members = gzip(b"").repeat(MOST_MEMBERS + 1);
    let frames = zstd(b"").repeat(MOST_MEMBERS + 1);
    // A window of 16 MiB.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0, 14 << 3, 1, 0, 0];
    for (coding, body) in [
        (ContentCoding::Gzip, &b"{\"model\":\"demo\"}"[..]),
        (ContentCoding::Gzip, &wrong_sum),
        (ContentCoding::Gzip, &endless_name),
        (ContentCoding::Gzip, &members),
        (ContentCoding::Deflate, b"{\"model\":\"demo\"}"),
        (ContentCoding::Zstd, b"{\"model\":\"demo\"}"),
        (ContentCoding::Zstd, &wrong_zstd_sum),
        (ContentCoding::Zstd, &frames),
        (ContentCoding::Zstd, &wide),
    ] {
        for pieces in [vec![body], body.chunks(7).collect()] {
            let found = decode(&[coding], &pieces, 1 << 20).await;
            assert!(
                matches!(found, Err(DecodeError::Invalid(_, named)) if named == coding),
                "{coding:?}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    let outer = |inner: Vec<u8>| gzip(&inner);
    for (codings, body) in [
        (vec![ContentCoding::Gzip], gzip(&zeros)),
        (vec![ContentCoding::Deflate], zlib(&zeros)),
        (vec![ContentCoding::Zstd], zstd(&zeros)),
        (vec![ContentCoding::Gzip, ContentCoding::Gzip], outer(gzip(&zeros))),
        // Intermediate output counts as well: the final output of this body is empty.
        (vec![ContentCoding::Gzip, ContentCoding::Gzip], outer(gzip(b"").repeat(200_000))),
    ] {
        let (mut decoder, mut out) = (RequestDecoder::new(&codings, 1 << 20).unwrap(), Vec::new());
        let stopped = decoder.push(body.into(), &mut out).await;
        assert!(stopped.is_err(), "{codings:?}: {} bytes came out", out.len());
        assert!(out.capacity() <= 4 << 20, "{codings:?}: {}", out.capacity());
    }
    // A frame whose header has its size is refused before it starts.
    let says = [&[0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000][..], &(5_u32 << 20).to_le_bytes()].concat();
    assert_eq!(decode(&[ContentCoding::Zstd], &[&says], 1 << 20).await, Err(DecodeError::TooLarge));
}

fn check_codings(lines: &[&str], expected: Option<&[ContentCoding]>) {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header::CONTENT_ENCODING, HeaderValue::from_str(line).unwrap());
    }
    match (of(&headers), expected) {
        (Ok(found), Some(expected)) => assert_eq!(found, expected, "{lines:?}"),
        (Err(fault), None) => {
            assert_eq!((fault.status, &*fault.code), (415, UNSUPPORTED_CODING), "{lines:?}");
        }
        (found, _) => panic!("{lines:?}: {found:?}"),
    }
}

#[test]
fn codings_are_named_as_the_standard_names_them() {
    check_codings(&[], Some(&[]));
    check_codings(&["", "identity"], Some(&[]));
    check_codings(&["GZIP"], Some(&[ContentCoding::Gzip]));
    check_codings(
        &["x-gzip , zstd", "deflate"],
        Some(&[ContentCoding::Gzip, ContentCoding::Zstd, ContentCoding::Deflate]),
    );
    for refused in ["br", "compress", "gzip, br", "aws-chunked", "gzip,gzip,gzip,gzip", "gzip;q=1"]
    {
        check_codings(&[refused], None);
    }
}
