//! The place of a response in a trace: the fields of W3C Trace Context (`traceparent` and
//! `tracestate`, level 2).

use std::fmt;
use std::sync::Arc;

/// A longer `tracestate` need not be passed on (§3.3.1.5).
const MAX_STATE: usize = 512;

/// How many members a state may have (§3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// The flags that have a meaning: sampled and random. Others must be sent as zero (§3.2.2.5).
const KNOWN_FLAGS: u8 = 0b11;

const SAMPLED: u8 = 0b1;

/// The id of a trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// The id of a span in a trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// A span that can have children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// `sampled` and `random`.
    pub flags: u8,
    /// Data of tracing systems, passed on unchanged.
    pub state: Option<Arc<str>>,
}

impl TraceContext {
    /// The start of a trace that is to be recorded.
    pub fn root(trace_id: TraceId, span_id: SpanId) -> Self {
        Self { trace_id, span_id, flags: KNOWN_FLAGS, state: None }
    }

    /// Reads the two fields. `None` where the first is malformed: a new trace starts then, and the
    /// second is ignored (§4.2). A malformed state is left out.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.trim().splitn(5, '-');
        let [version] = bytes(parts.next()?)?;
        let trace_id = TraceId(bytes(parts.next()?)?);
        let span_id = SpanId(bytes(parts.next()?)?);
        let [flags] = bytes(parts.next()?)?;
        // Later versions may have more fields, and 255 is not a version.
        let is_version = version != u8::MAX && (version > 0 || parts.next().is_none());
        let is_named = trace_id.0 != [0; 16] && span_id.0 != [0; 8];
        let state = tracestate.map(str::trim).filter(|state| is_state(state)).map(Into::into);
        (is_version && is_named).then_some(Self {
            trace_id,
            span_id,
            flags: flags & KNOWN_FLAGS,
            state,
        })
    }

    /// The same place in the trace, one span below.
    #[must_use]
    pub fn child(&self, span_id: SpanId) -> Self {
        Self { span_id, ..self.clone() }
    }

    /// Whether the trace is to be recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The field `traceparent`.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Lower-case hexadecimal digits, exactly as many as fill `N` bytes.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 2 * N || !is_hexadecimal {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, index) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(index..index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Whether a `tracestate` may be sent on: members `key=value` of printable ASCII.
fn is_state(state: &str) -> bool {
    let members = state.split(',').map(str::trim).filter(|member| !member.is_empty());
    let is_printable = state.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let has_keys = members
        .clone()
        .all(|member| member.split_once('=').is_some_and(|(key, _)| !key.is_empty()));
    !state.is_empty()
        && state.len() <= MAX_STATE
        && is_printable
        && has_keys
        && members.count() <= MAX_MEMBERS
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_what_is_written() {
        let context = TraceContext::parse(TRACE, Some("rojo=00f067aa0ba902b7,congo=t61")).unwrap();
        assert_eq!(context.traceparent(), TRACE);
        assert_eq!(context.state.as_deref(), Some("rojo=00f067aa0ba902b7,congo=t61"));
        let child = context.child(SpanId([1; 8]));
        assert_eq!(child.traceparent(), "00-0af7651916cd43dd8448eb211c80319c-0101010101010101-01");
        assert_eq!(child.state, context.state);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("cc-{}-what-ever", &TRACE[3..]);
        assert_eq!(
            TraceContext::parse(&later, None).map(|context| context.traceparent()).as_deref(),
            Some(TRACE)
        );
        assert!(TraceContext::parse(&format!("{TRACE}-more"), None).is_none());
    }

    #[test]
    fn unknown_flags_are_not_passed_on() {
        let context = TraceContext::parse(&format!("{}fe", &TRACE[..53]), None).unwrap();
        assert!(!context.is_sampled());
        assert!(context.traceparent().ends_with("-02"));
    }

    #[test]
    fn malformed_headers_start_no_trace() {
        for wrong in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c8031é-b7ad6b7169203331-01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(wrong, None), None, "{wrong}");
        }
    }

    #[test]
    fn a_malformed_state_is_left_out() {
        let many = vec!["a=b"; MAX_MEMBERS + 1].join(",");
        for wrong in [
            "",
            "no-value",
            "=x",
            "a=b\r\nx: y",
            "a=é",
            many.as_str(),
            &format!("a={}", "b".repeat(MAX_STATE)),
        ] {
            assert_eq!(TraceContext::parse(TRACE, Some(wrong)).unwrap().state, None, "{wrong}");
        }
    }
}
