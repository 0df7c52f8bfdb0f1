//! Which frame a stream comes in: Server-Sent Events, unless `Accept` prefers NDJSON.

use codec::Frame;
use codec::event_stream::Sse;
use codec::ndjson::Ndjson;
use http::{HeaderMap, header};

/// The frame of a stream for this request (RFC 9110 §12.5.1). `Accept` decides nothing else: any
/// other value gets SSE, as every OpenAI client expects.
pub(crate) fn stream_frame(headers: &HeaderMap) -> &'static dyn Frame {
    let (mut ndjson, mut sse) = (0.0_f32, None::<f32>);
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts
                .find_map(|parameter| {
                    parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))
                })
                .map_or(1.0, |text| text.parse().unwrap_or(0.0));
            match media.as_str() {
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                    ndjson = ndjson.max(quality);
                }
                "text/event-stream" => sse = Some(sse.unwrap_or(0.0).max(quality)),
                _ => {}
            }
        }
    }
    if ndjson > sse.unwrap_or(0.0) { &Ndjson } else { &Sse }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expected: &dyn Frame) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = accept.parse() {
            headers.insert(header::ACCEPT, value);
        }
        assert_eq!(stream_frame(&headers).name(), expected.name(), "{accept}");
    }

    #[test]
    fn ndjson_has_to_be_preferred() {
        check("", &Sse);
        check("*/*", &Sse);
        check("application/json", &Sse);
        check("text/event-stream", &Sse);
        check("application/x-ndjson", &Ndjson);
        check("application/x-ndjson, */*;q=0.1", &Ndjson);
        check("text/event-stream, application/x-ndjson;q=0.9", &Sse);
        check("text/event-stream;q=0.5, application/x-ndjson;q=0.9", &Ndjson);
        check("application/x-ndjson;q=0", &Sse);
    }
}
