//! Every kind of event has a meaning wherever kinds are told apart, also where the compiler does not list them.

use weir_protocol::dialect::chat_completions::{ChatCompletions, ChatOptions};
use weir_protocol::dialect::classic::{Classic, Transport};
use weir_protocol::dialect::responses::Responses;
use weir_protocol::dialect::{self, Dialect};
use weir_protocol::entry::Entry;
use weir_protocol::event::{Event, EventKind, Snapshot};
use weir_protocol::id::ResponseId;
use weir_protocol::response::Response;
use weir_protocol::snapshot;

/// An entry of this kind with a delta of five bytes, and none of its other fields.
fn entry(position: u64, kind: EventKind) -> Option<Entry> {
    let data =
        format!(r#"{{"type":"{}","sequence_number":{position},"delta":"hello"}}"#, kind.as_str());
    Entry::read(position, data.into())
}

#[test]
fn every_delta_of_the_model_counts_as_text() {
    for kind in EventKind::ALL {
        let is_text = kind.as_str().rsplit('.').next() == Some("delta") && !kind.is_hosted();
        let expected = if is_text { 5 } else { 0 };
        assert_eq!(entry(3, *kind).unwrap().text_bytes(), expected, "{}", kind.as_str());
    }
}

/// A kind that is neither handled nor a hosted tool's fails an assertion of debug builds.
#[test]
fn every_kind_is_known_to_every_dialect() {
    let dialects: [Box<dyn Dialect>; 3] = [
        Box::new(Responses),
        Box::new(ChatCompletions::new(ChatOptions::default())),
        Box::new(Classic::new(Transport::Channel)),
    ];
    assert_eq!(dialects.len(), dialect::ALL.len());
    for mut dialect in dialects {
        for kind in EventKind::ALL {
            dialect.fold(&entry(0, *kind).unwrap(), &mut Vec::new());
        }
    }
}

/// The same for the response that is folded from a log.
#[test]
fn every_kind_is_known_to_the_snapshot() {
    let body = serde_json::json!({ "model": "demo", "input": "hi" });
    let create = dialect::responses::read_create(&body).unwrap();
    let response = Response::accepted(ResponseId::new("resp_1"), 0, &create);
    let created = Entry::new(0, &Event::Created(Snapshot { response: &response }));
    for kind in EventKind::ALL.iter().filter(|kind| kind.is_hosted()) {
        let log = [created.clone(), entry(1, *kind).unwrap()];
        assert!(snapshot::response(&log).is_some(), "{}", kind.as_str());
    }
    // The others change the response, or are refused as they lack their fields.
    for kind in EventKind::ALL.iter().filter(|kind| !kind.is_hosted()) {
        let _folded = snapshot::response(&[created.clone(), entry(1, *kind).unwrap()]);
    }
}
