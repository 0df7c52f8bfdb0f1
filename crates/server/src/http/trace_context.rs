//! The trace that a request belongs to: the headers of W3C Trace Context.

use http::HeaderMap;
use protocol::trace::TraceContext;

/// The trace context of a request. Two parents count as none (§3.2), and the lines of a state are
/// one list (§3.3).
pub(crate) fn read(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all("traceparent").iter();
    let parent = parents.next().filter(|_| parents.next().is_none())?.to_str().ok()?;
    let state: Option<Vec<&str>> =
        headers.get_all("tracestate").iter().map(|line| line.to_str().ok()).collect();
    TraceContext::parse(parent, state.map(|lines| lines.join(",")).as_deref())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_parent_and_any_number_of_lines_of_state() {
        let parent =
            HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), None);
        headers.insert("traceparent", parent.clone());
        headers.append("tracestate", HeaderValue::from_static("a=1"));
        headers.append("tracestate", HeaderValue::from_static("b=2"));
        assert_eq!(read(&headers).and_then(|context| context.state).as_deref(), Some("a=1,b=2"));
        headers.append("traceparent", parent);
        assert_eq!(read(&headers), None);
    }
}
