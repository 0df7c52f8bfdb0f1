//! From the bytes of a body to events: content codings, then Server-Sent Events, NDJSON, or reads as
//! they come.

use std::io::Write;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use codec::ndjson::{NdjsonDecoder, NdjsonFrame};
use codec::sse::{SseDecoder, SseFrame};
use flate2::write::{MultiGzDecoder, ZlibDecoder};

/// Larger than any event of a model.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// How events are told apart in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// Server-Sent Events.
    Sse,
    /// A JSON document on each line.
    Ndjson,
    /// Unknown: each read counts as an event.
    Opaque,
}

impl BodyFormat {
    /// The format of a media type; `None` if the first bytes have to tell.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type.to_ascii_lowercase().as_str() {
            "text/event-stream" => Some(Self::Sse),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// The format that the first bytes of a body of another type have.
    pub fn sniff(start: &[u8]) -> Self {
        let start = start.trim_ascii_start();
        let is_field = |field: &[u8]| start.starts_with(field);
        if [&b"data:"[..], b"event:", b"id:", b"retry:", b": "].into_iter().any(is_field) {
            Self::Sse
        } else if start.first() == Some(&b'{')
            && start
                .iter()
                .position(|byte| *byte == b'\n')
                .is_some_and(|end| start[..end].ends_with(b"}"))
        {
            Self::Ndjson
        } else {
            Self::Opaque
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Ndjson => "ndjson",
            Self::Opaque => "bytes",
        }
    }
}

/// What a body contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event.
    Event(EventFields),
    /// A comment or an empty line, which keeps the connection alive.
    Heartbeat,
}

/// The fields of an event; NDJSON has data only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFields {
    /// Its name.
    pub name: Option<String>,
    /// Its id.
    pub id: Option<Bytes>,
    /// The time after which a browser reconnects, in milliseconds.
    pub retry: Option<u64>,
    /// Its data.
    pub data: Bytes,
}

/// Undoes a content coding.
pub struct Coding(CodingKind);

enum CodingKind {
    Identity,
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl Coding {
    /// A decoder for the field `content-encoding`.
    ///
    /// # Errors
    /// A coding that was not offered.
    pub fn of(name: Option<&str>) -> Result<Self> {
        Ok(Self(match name.map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "identity") => CodingKind::Identity,
            Some("gzip" | "x-gzip") => CodingKind::Gzip(MultiGzDecoder::new(Vec::new())),
            Some("deflate") => CodingKind::Deflate(ZlibDecoder::new(Vec::new())),
            Some(other) => {
                bail!("the body has the content coding {other:?}, and only gzip was offered")
            }
        }))
    }

    /// What these bytes hold, as far as it can be decoded now.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Bytes> {
        fn push(mut decoder: impl Write, bytes: &[u8]) -> Result<()> {
            decoder.write_all(bytes).context("the compressed body is damaged")?;
            decoder.flush().context("the compressed body is damaged")
        }
        match &mut self.0 {
            CodingKind::Identity => Ok(Bytes::copy_from_slice(bytes)),
            CodingKind::Gzip(decoder) => {
                push(&mut *decoder, bytes)?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            CodingKind::Deflate(decoder) => {
                push(&mut *decoder, bytes)?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
        }
    }
}

/// Splits a decoded body into events.
pub struct EventDecoder {
    kind: DecoderKind,
    /// The bytes that a decoder of unknown format has been given.
    opaque: Vec<Bytes>,
}

enum DecoderKind {
    Sse(SseDecoder),
    Ndjson(NdjsonDecoder),
    Opaque,
}

impl EventDecoder {
    /// A decoder for a format.
    pub fn new(format: BodyFormat) -> Self {
        let kind = match format {
            BodyFormat::Sse => DecoderKind::Sse(SseDecoder::new(MAX_EVENT_BYTES)),
            BodyFormat::Ndjson => DecoderKind::Ndjson(NdjsonDecoder::new(MAX_EVENT_BYTES)),
            BodyFormat::Opaque => DecoderKind::Opaque,
        };
        Self { kind, opaque: Vec::new() }
    }

    /// Takes bytes.
    pub fn push(&mut self, bytes: &Bytes) {
        match &mut self.kind {
            DecoderKind::Sse(decoder) => decoder.push(bytes),
            DecoderKind::Ndjson(decoder) => decoder.push(bytes),
            DecoderKind::Opaque => {
                if !bytes.is_empty() {
                    self.opaque.push(bytes.clone());
                }
            }
        }
    }

    /// The next item that is complete.
    ///
    /// # Errors
    /// An event is larger than 16 MiB.
    pub fn next_item(&mut self) -> Result<Option<Item>> {
        Ok(match &mut self.kind {
            DecoderKind::Sse(decoder) => {
                decoder.next_event().transpose()?.map(|frame| match frame {
                    SseFrame::Event(event) => Item::Event(EventFields {
                        name: event.name,
                        id: event.id,
                        retry: event.retry,
                        data: event.data,
                    }),
                    SseFrame::Comment => Item::Heartbeat,
                })
            }
            DecoderKind::Ndjson(decoder) => {
                decoder.next_event().transpose()?.map(|frame| match frame {
                    NdjsonFrame::Line(data) => {
                        Item::Event(EventFields { data, ..EventFields::default() })
                    }
                    NdjsonFrame::Heartbeat => Item::Heartbeat,
                })
            }
            DecoderKind::Opaque => (!self.opaque.is_empty()).then(|| {
                Item::Event(EventFields { data: self.opaque.remove(0), ..EventFields::default() })
            }),
        })
    }

    /// Whether the body ended inside of an event.
    pub fn ends_inside_event(&mut self) -> bool {
        match &mut self.kind {
            DecoderKind::Sse(decoder) => decoder.finish().is_some(),
            DecoderKind::Ndjson(decoder) => {
                // A last line without its end is still a line, if it is a document.
                decoder.push(b"\n");
                matches!(decoder.next_event(), Some(Ok(NdjsonFrame::Line(line)))
                    if serde_json::from_slice::<serde_json::Value>(&line).is_err())
            }
            DecoderKind::Opaque => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn data(decoder: &mut EventDecoder) -> Vec<String> {
        std::iter::from_fn(|| decoder.next_item().unwrap())
            .filter_map(|item| match item {
                Item::Event(fields) => Some(String::from_utf8(fields.data.to_vec()).unwrap()),
                Item::Heartbeat => None,
            })
            .collect()
    }

    #[test]
    fn what_was_flushed_is_decoded_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut coding = Coding::of(Some("gzip")).unwrap();
        for text in ["data: 1\n\n", "data: 2\n\n"] {
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.flush().unwrap();
            let sent = std::mem::take(encoder.get_mut());
            assert_eq!(coding.decode(&sent).unwrap(), text);
        }
        assert!(Coding::of(Some("br")).is_err());
        assert!(Coding::of(Some("gzip")).unwrap().decode(b"not gzip at all").is_err());
    }

    #[test]
    fn formats_are_told_by_type_or_by_content() {
        assert_eq!(BodyFormat::of("Text/Event-Stream"), Some(BodyFormat::Sse));
        assert_eq!(BodyFormat::of("text/plain"), None);
        assert_eq!(BodyFormat::sniff(b"data: x\n\n"), BodyFormat::Sse);
        assert_eq!(BodyFormat::sniff(b"{\"a\":1}\n{\"a\":2}\n"), BodyFormat::Ndjson);
        assert_eq!(BodyFormat::sniff(b"{\"a\":1}"), BodyFormat::Opaque);
        assert_eq!(BodyFormat::sniff(b"<html>"), BodyFormat::Opaque);
    }

    #[test]
    fn a_rest_at_the_end_is_noticed() {
        let mut sse = EventDecoder::new(BodyFormat::Sse);
        sse.push(&Bytes::from_static(b"data: 1\n\ndata: 2\n"));
        assert_eq!(data(&mut sse), ["1"]);
        assert!(sse.ends_inside_event());
        let mut lines = EventDecoder::new(BodyFormat::Ndjson);
        lines.push(&Bytes::from_static(b"{\"a\":1}\n{\"a\""));
        assert_eq!(data(&mut lines), ["{\"a\":1}"]);
        assert!(lines.ends_inside_event());
    }
}
