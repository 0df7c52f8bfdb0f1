//! The two frames of Server-Sent Events: one for SDKs, one for the `EventSource` of browsers.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::frame::{Frame, Message};
use crate::sse::{CONTENT_TYPE, HEARTBEAT, encode, retry};

/// The delay before a browser's `EventSource` reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Server-Sent Events for SDKs: with names, without ids, and with the dialect's sentinel at the
/// end. No `id:` and no `retry:`, as openai-python dispatches an event without data once it has
/// seen one.
#[derive(Clone, Copy, Debug)]
pub struct Sse;

impl Frame for Sse {
    fn name(&self) -> &'static str {
        "sse"
    }

    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn start(&self, _out: &mut BytesMut) {}

    fn message(&self, out: &mut BytesMut, message: &Message<'_>) {
        encode(out, message.name, None, message.data);
    }

    fn heartbeat(&self, out: &mut BytesMut) {
        out.put_slice(HEARTBEAT);
    }

    fn end(&self, out: &mut BytesMut, sentinel: Option<&[u8]>) {
        if let Some(sentinel) = sentinel {
            encode(out, None, None, sentinel);
        }
    }
}

/// Server-Sent Events for browsers' `EventSource`: with `id:` and `retry:`, so that a browser
/// resumes by itself; without names, as an event named `error` would fire `onerror`; without a
/// sentinel, which pages would have to tell from JSON.
#[derive(Clone, Copy, Debug)]
pub struct EventSource;

impl Frame for EventSource {
    fn name(&self) -> &'static str {
        "sse"
    }

    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn start(&self, out: &mut BytesMut) {
        self.set_reconnect_delay(out, RECONNECT_DELAY);
    }

    fn message(&self, out: &mut BytesMut, message: &Message<'_>) {
        encode(out, None, message.position, message.data);
    }

    fn heartbeat(&self, out: &mut BytesMut) {
        out.put_slice(HEARTBEAT);
    }

    fn end(&self, _out: &mut BytesMut, _sentinel: Option<&[u8]>) {}

    fn reconnect_delay(&self) -> Option<Duration> {
        Some(RECONNECT_DELAY)
    }

    fn set_reconnect_delay(&self, out: &mut BytesMut, delay: Duration) {
        retry(out, u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    }
}
