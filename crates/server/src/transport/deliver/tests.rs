//! The properties of streams that a dialect determines: keep-alives and the end.

use codec::event_stream::Sse;
use engine::keys::Caller;
use http_body_util::BodyExt;
use protocol::dialect::Description;
use protocol::event::Event;
use protocol::id::ResponseId;
use protocol::request::Create;
use serde_json::Value;
use tokio::sync::oneshot;

use super::*;
use crate::config::Config;
use crate::credential::Credential;
use crate::grants::Grant;
use crate::test_app;

/// A dialect without messages, which decides only what is tested.
struct Silent {
    keep_alive: KeepAlive,
    end: StreamEnd,
}

impl Dialect for Silent {
    fn description(&self) -> &'static Description {
        &Description { name: "silent", frames: &["sse"] }
    }

    fn read(_body: &Value) -> Result<(Create, Self), Fault> {
        Err(Fault::invalid("unsupported", "body", "This dialect has no requests."))
    }

    fn fold(&mut self, _entry: &Entry, _messages: &mut Vec<Message>) {}

    fn error(&mut self, _fault: &Fault, _messages: &mut Vec<Message>) {}

    fn end(&self) -> StreamEnd {
        self.end
    }

    fn keep_alive(&self) -> KeepAlive {
        self.keep_alive.clone()
    }
}

fn delivery(source: Source, dialect: Silent) -> Option<Delivery> {
    let app = test_app::app(Config::default());
    let (grant, Caller { owner, .. }) =
        Grant::open(&app.grants, &app.keys, &app.tickets, Credential::KEYLESS)?;
    let context =
        RequestContext { owner, grant, connection: None, is_http_1_0: false, trace: None };
    Some(Delivery::new(&app, context, source, Box::new(dialect), &Sse))
}

/// All bytes of the body; an error where it is aborted.
async fn body(delivery: Delivery) -> Result<String, axum::Error> {
    let bytes = delivery.respond().into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn a_dialect_decides_what_keeps_its_streams_alive() {
    let message = KeepAlive::Message(Message { data: "{}".into(), ..Message::default() });
    for (keep_alive, expected) in
        [(KeepAlive::Frame, ": ping\n"), (message, "data: {}\n\n"), (KeepAlive::Nothing, "")]
    {
        let (sender, request) = oneshot::channel();
        let end = StreamEnd::Clean { sentinel: Some("[END]") };
        let delivery = delivery(Source::Waiting(request), Silent { keep_alive, end });
        // No request comes: the stream ends without a response, and so without a sentinel.
        drop(sender);
        assert_eq!(
            body(delivery.expect("a server without keys")).await.ok().as_deref(),
            Some(expected)
        );
    }
}

#[tokio::test]
async fn a_dialect_that_only_streams_has_no_document() {
    let dialect = Silent { keep_alive: KeepAlive::Frame, end: StreamEnd::Abort };
    let response =
        protocol::response::Response::accepted(ResponseId::new("resp_1"), 0, &Create::new("demo"));
    let entry = Entry::new(0, &Event::terminal(&response));
    assert_eq!(dialect.whole(&entry).map_err(|fault| fault.status), Err(500));
}
