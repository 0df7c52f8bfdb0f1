//! The ways in which a stream is resumed, and the log that they are compared with.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use serde_json::{Value, json};

use super::outcome::{Resumed, hash};
use crate::dialect::Dialect;
use crate::measure::{Measured, Meter};
use crate::subject::Subject;
use crate::target::document;
use crate::text::{Text, text};

/// How long a resumed stream is read: everything in it is there already.
const LONGEST: Duration = Duration::from_secs(5);

/// A way to resume a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResumeWay {
    Sse,
    Ndjson,
    EventSource,
    WebSocket,
    Poll,
}

impl ResumeWay {
    /// All of them; the first is OpenAI's, the others are those of a Weir.
    pub(super) const ALL: [Self; 5] =
        [Self::Sse, Self::Ndjson, Self::EventSource, Self::WebSocket, Self::Poll];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Ndjson => "ndjson",
            Self::EventSource => "event_source",
            Self::WebSocket => "websocket",
            Self::Poll => "poll",
        }
    }

    pub(super) fn title(self) -> Text {
        match self {
            Self::Sse => text!("SSE", "SSE"),
            Self::Ndjson => text!("NDJSON", "NDJSON"),
            Self::EventSource => text!("EventSource", "EventSource"),
            Self::WebSocket => text!("WebSocket", "WebSocket"),
            Self::Poll => text!("long poll", "长轮询"),
        }
    }

    /// The outcome, where the events of a poll were taken out of an array and have no bytes of
    /// their own.
    pub(super) fn judged(self, outcome: Resumed) -> Resumed {
        match (self, outcome) {
            (Self::Poll, Resumed::SameEvents) => Resumed::Exact,
            (_, outcome) => outcome,
        }
    }

    /// The data of the events after a position.
    pub(super) async fn resume(
        self,
        subject: &Subject<'_>,
        id: &str,
        after: u64,
    ) -> Result<Vec<Bytes>> {
        let path = subject.target.place.path.trim_end_matches('/');
        let stream = format!("{path}/{id}?stream=true&starting_after={after}");
        match self {
            Self::Sse => get(subject, &stream, &[("accept", "text/event-stream")]).await,
            Self::Ndjson => get(subject, &stream, &[("accept", "application/x-ndjson")]).await,
            Self::EventSource => {
                let position = after.to_string();
                let fields = [("accept", "text/event-stream"), ("last-event-id", &position)];
                get(subject, &format!("{path}/{id}/events"), &fields).await
            }
            Self::WebSocket => socket(subject, id, after).await,
            Self::Poll => poll(subject, &format!("{path}/{id}/events?wait=1"), after).await,
        }
    }
}

async fn get(subject: &Subject<'_>, path: &str, fields: &[(&str, &str)]) -> Result<Vec<Bytes>> {
    let place = subject.target.place.with_path(path);
    let dialect = subject.target.dialect;
    let request = subject.ask.credentials.request(dialect, "GET", path, fields);
    let meter = Meter { longest: LONGEST, ..subject.meter };
    match meter.stream(&place, &request, dialect, None).await? {
        Ok(measured) => Ok(data(*measured)),
        Err(refused) => bail!("{refused}"),
    }
}

/// The data of the events; the sentinel at the end has no position and is left out.
fn data(measured: Measured) -> Vec<Bytes> {
    let events = measured.events.into_iter().filter(|event| !event.is_sentinel());
    events.map(|event| event.fields.data).collect()
}

async fn socket(subject: &Subject<'_>, id: &str, after: u64) -> Result<Vec<Bytes>> {
    let message = json!({ "type": "response.resume", "response_id": id, "starting_after": after });
    let meter = Meter { longest: LONGEST, ..subject.meter };
    let (place, credentials) = (&subject.target.place, &subject.ask.credentials);
    let outcome = meter
        .socket(place, credentials, Dialect::Responses, Some(&message.to_string()), None)
        .await?;
    match outcome {
        Ok(measured) => Ok(data(*measured)),
        Err(refused) => bail!("{refused}"),
    }
}

async fn poll(subject: &Subject<'_>, path: &str, after: u64) -> Result<Vec<Bytes>> {
    let (mut after, mut events) = (after, Vec::new());
    loop {
        let path = format!("{path}&starting_after={after}");
        let batch = document(&subject.target.place, subject.ask, Dialect::Responses, &path).await?;
        for event in batch["data"].as_array().into_iter().flatten() {
            after = event["sequence_number"].as_u64().unwrap_or(after);
            events.push(event.to_string().into());
        }
        if batch["ended"] != false {
            return Ok(events);
        }
    }
}

/// The ids and data of the events after `Last-Event-ID`.
pub(super) async fn last_event_id(
    subject: &Subject<'_>,
    last: &Bytes,
) -> Result<Vec<(Bytes, Bytes)>> {
    let last = String::from_utf8_lossy(last).into_owned();
    let mut request = subject.target.request(subject.ask, "identity");
    request = request.header("last-event-id", &last);
    let meter = Meter { longest: LONGEST, ..subject.meter };
    match meter.stream(&subject.target.place, &request, Dialect::Plain, None).await? {
        Ok(measured) => Ok(measured
            .events
            .into_iter()
            .map(|event| (event.fields.id.unwrap_or_default(), event.fields.data))
            .collect()),
        Err(refused) => bail!("{refused}"),
    }
}

/// The whole stream, with which resumed parts are compared.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The positions of numbered events.
    positions: Vec<u64>,
    /// The ids of events of a plain stream.
    ids: Vec<Bytes>,
    data: Vec<Bytes>,
}

impl Log {
    /// The numbered events of a response.
    pub(super) fn of(seen: &Measured) -> Self {
        let framed = seen.framed();
        Self::numbered(framed.documents().filter_map(|(event, document)| {
            Some((document["sequence_number"].as_u64()?, event.fields.data.clone()))
        }))
    }

    /// The events of a plain stream, each of which has an id.
    pub(super) fn of_ids(seen: &Measured) -> Self {
        let fields = seen.events.iter().map(|event| &event.fields);
        Self::with_ids(
            fields.map(|fields| (fields.id.clone().unwrap_or_default(), fields.data.clone())),
        )
    }

    /// Events with their positions.
    pub(super) fn numbered(events: impl Iterator<Item = (u64, Bytes)>) -> Self {
        let (positions, data) = events.unzip();
        Self { positions, ids: Vec::new(), data }
    }

    /// Events with their ids.
    pub(super) fn with_ids(events: impl Iterator<Item = (Bytes, Bytes)>) -> Self {
        let (ids, data) = events.unzip();
        Self { positions: Vec::new(), ids, data }
    }

    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// After how many events it is cut.
    pub(super) fn cuts(&self) -> [usize; 4] {
        let length = self.len();
        [1, length / 3, 2 * length / 3, length - 1]
    }

    /// The position of the last event before a cut.
    pub(super) fn position(&self, cut: usize) -> u64 {
        self.positions.get(cut.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The hash of everything from an event on.
    pub(super) fn hash(&self, from: usize) -> String {
        hash(self.data.iter().skip(from).map(|data| &data[..]))
    }

    /// Compares what came after a cut.
    pub(super) fn compare(&self, cut: usize, resumed: Result<Vec<Bytes>>) -> Resumed {
        let resumed = match resumed {
            Ok(resumed) => resumed,
            Err(error) => return Resumed::Refused(error.root_cause().to_string()),
        };
        let expected = self.data.get(cut..).unwrap_or_default();
        if hash(resumed.iter().map(|data| &data[..])) == self.hash(cut) {
            return Resumed::Exact;
        }
        let value = |data: &Bytes| serde_json::from_slice::<Value>(data).ok();
        let first = resumed.first().and_then(value);
        let is_first =
            |index: usize| first.is_some() && first == self.data.get(index).and_then(value);
        if resumed.len() == expected.len()
            && resumed.iter().map(value).eq(expected.iter().map(value))
        {
            Resumed::SameEvents
        } else if is_first(0) {
            Resumed::StartsOver
        } else if (1..cut).any(is_first) {
            Resumed::Repeated
        } else if resumed.len() < expected.len() {
            Resumed::Missing(expected.len() - resumed.len())
        } else {
            Resumed::Differs
        }
    }

    /// Compares what came after an id; a live stream may have gone on meanwhile.
    pub(super) fn compare_ids(&self, cut: usize, resumed: Result<Vec<(Bytes, Bytes)>>) -> Resumed {
        let resumed = match resumed {
            Ok(resumed) => resumed,
            Err(error) => return Resumed::Refused(error.root_cause().to_string()),
        };
        let Some((first, _)) = resumed.first() else {
            return Resumed::Missing(self.len() - cut);
        };
        match self.ids.iter().position(|id| id == first) {
            Some(index) if index == cut => {
                let both = self.data.iter().skip(cut).zip(&resumed);
                let is_same = both.into_iter().all(|(data, (_, resumed))| data == resumed);
                if is_same { Resumed::Exact } else { Resumed::Differs }
            }
            Some(0) => Resumed::StartsOver,
            Some(index) if index < cut => Resumed::Repeated,
            Some(index) => Resumed::Missing(index - cut),
            None => Resumed::Missing(self.len() - cut),
        }
    }
}
