//! The document: OTLP 1.x in its JSON encoding (`ExportTraceServiceRequest`). Ids are hexadecimal there, and 64-bit numbers texts.

use std::time::{SystemTime, UNIX_EPOCH};

use engine::trace::{AttributeValue, Span, SpanKind};
use serde_json::{Map, Value as Json, json};

/// The next bit is valid (`SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`).
const KNOWS_REMOTE: u32 = 0x100;

/// The parent is in another process.
const IS_REMOTE: u32 = 0x200;

/// The code of a span's status that is an error.
const ERROR: u32 = 2;

/// The document of these spans.
pub(crate) fn document(service: &str, spans: &[Span]) -> Json {
    let version = env!("CARGO_PKG_VERSION");
    let resource =
        [attribute("service.name", &service.into()), attribute("service.version", &version.into())];
    let spans: Vec<Json> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": { "name": "weir", "version": version }, "spans": spans }],
    }] })
}

fn span(span: &Span) -> Json {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    let is_remote = span.parent.is_some() && span.kind == SpanKind::Server;
    let flags =
        u32::from(span.context.flags) | KNOWS_REMOTE | if is_remote { IS_REMOTE } else { 0 };
    let attributes: Vec<Json> =
        span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut written = json!({
        "traceId": span.context.trace_id.to_string(),
        "spanId": span.context.span_id.to_string(),
        "flags": flags,
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(span.end),
        "attributes": attributes,
    });
    let more = [
        ("parentSpanId", span.parent.map(|parent| parent.to_string().into())),
        ("traceState", span.context.state.as_deref().map(Json::from)),
        ("status", span.error.map(|error| json!({ "code": ERROR, "message": error }))),
    ];
    let more: Map<String, Json> =
        more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    if let Json::Object(written) = &mut written {
        written.extend(more);
    }
    written
}

fn attribute(key: &str, value: &AttributeValue) -> Json {
    json!({ "key": key, "value": any(value) })
}

fn any(value: &AttributeValue) -> Json {
    match value {
        AttributeValue::Text(text) => json!({ "stringValue": &**text }),
        AttributeValue::Number(number) => json!({ "intValue": number.to_string() }),
        AttributeValue::Fraction(number) => json!({ "doubleValue": number }),
        AttributeValue::Boolean(is_so) => json!({ "boolValue": is_so }),
        AttributeValue::Texts(texts) => {
            let values: Vec<Json> =
                texts.iter().map(|text| json!({ "stringValue": &**text })).collect();
            json!({ "arrayValue": { "values": values } })
        }
    }
}

/// Since 1970, as a text: a double cannot hold it.
fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::trace::{SpanId, TraceContext};

    use super::*;

    #[test]
    fn a_span_is_written_as_the_specification_says() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = TraceContext::parse(parent, Some("a=b")).unwrap();
        let start = UNIX_EPOCH + Duration::from_nanos(1_544_712_660_300_000_001);
        let given = Span {
            context: parent.child(SpanId([7; 8])),
            parent: Some(parent.span_id),
            name: "chat demo".into(),
            kind: SpanKind::Server,
            start,
            end: start + Duration::from_secs(1),
            attributes: vec![
                ("gen_ai.usage.input_tokens", AttributeValue::Number(9)),
                ("gen_ai.response.finish_reasons", AttributeValue::Texts(vec!["stop".into()])),
            ],
            error: Some("upstream_cut"),
        };
        let document = document("weir", &[given]);
        let expected = json!({
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "0707070707070707", "flags": 0x301, "name": "chat demo", "kind": 2,
            "startTimeUnixNano": "1544712660300000001", "endTimeUnixNano": "1544712661300000001",
            "attributes": [
                { "key": "gen_ai.usage.input_tokens", "value": { "intValue": "9" } },
                { "key": "gen_ai.response.finish_reasons", "value": { "arrayValue": { "values": [{ "stringValue": "stop" }] } } },
            ],
            "parentSpanId": "b7ad6b7169203331", "traceState": "a=b", "status": { "code": 2, "message": "upstream_cut" },
        });
        assert_eq!(document["resourceSpans"][0]["scopeSpans"][0]["spans"][0], expected);
        let name = &document["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(name, &json!({ "key": "service.name", "value": { "stringValue": "weir" } }));
    }
}
