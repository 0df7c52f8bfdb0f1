//! The figures of a tap.

use std::time::Duration;

use serde_json::{Value, json};

use super::line::milliseconds;
use super::recording::{Recording, TappedEvent};

/// Whose clock the times are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeBasis {
    /// The server's: when each event was appended to its log.
    Log,
    /// That of this machine: when each event arrived.
    Arrival,
}

/// The figures.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Between the first and the last event.
    pub(super) duration: Duration,
    /// Of the first text, since the creation of the response.
    pub(super) first_text: Option<Duration>,
    /// Between one text and the next, the shortest first.
    gaps: Vec<Duration>,
    basis: TimeBasis,
}

impl Summary {
    /// Of what was recorded. The times are the server's if it has recorded all of them.
    pub(super) fn of(recording: &Recording) -> Self {
        let events = &recording.events;
        let is_logged = !events.is_empty() && events.iter().all(|event| event.logged.is_some());
        let basis = if is_logged { TimeBasis::Log } else { TimeBasis::Arrival };
        let start = events.first().map(|event| event.taken);
        let time = |event: &TappedEvent| match (basis, start) {
            (TimeBasis::Log, _) => event.logged.unwrap_or_default(),
            (TimeBasis::Arrival, Some(start)) => event.taken.saturating_duration_since(start),
            (TimeBasis::Arrival, None) => Duration::ZERO,
        };
        let texts: Vec<Duration> =
            events.iter().filter(|event| event.has_text()).map(time).collect();
        let mut gaps: Vec<Duration> =
            texts.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        gaps.sort_unstable();
        let first_text = match basis {
            TimeBasis::Log => texts.first().copied(),
            TimeBasis::Arrival => {
                events.iter().find(|event| event.has_text()).and_then(|event| event.shown)
            }
        };
        let ends = events.first().zip(events.last());
        Self {
            events: events.len(),
            bytes: events.iter().map(|event| event.data.len()).sum(),
            duration: ends
                .map(|(first, last)| time(last).saturating_sub(time(first)))
                .unwrap_or_default(),
            // A tap that starts later cannot know what came before.
            first_text: first_text.filter(|_| recording.from == 0),
            gaps,
            basis,
        }
    }

    fn median(&self) -> Option<Duration> {
        self.gaps.get(self.gaps.len() / 2).copied()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let duration = milliseconds(self.duration);
        let mut lines =
            vec![format!("{} events, {} bytes, over {duration} ms", self.events, self.bytes)];
        if let Some(first) = self.first_text {
            lines.push(format!("first text after {} ms", milliseconds(first)));
        }
        if let (Some(median), Some(slowest)) = (self.median(), self.gaps.last()) {
            lines.push(format!(
                "between texts: median {} ms, slowest {} ms ({} gaps)",
                milliseconds(median),
                milliseconds(*slowest),
                self.gaps.len()
            ));
        }
        let basis = match self.basis {
            TimeBasis::Log => "when the server appended each event to its log",
            TimeBasis::Arrival => "when each event arrived here; the server has recorded no others",
        };
        lines.push(format!("times: {basis}\n"));
        lines.join("\n")
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let number = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        json!({
            "events": self.events,
            "bytes": self.bytes,
            "duration_ms": number(self.duration),
            "first_text_ms": self.first_text.map(number),
            "text_gaps": {
                "count": self.gaps.len(),
                "median_ms": self.median().map(number),
                "slowest_ms": self.gaps.last().copied().map(number),
            },
            "times": match self.basis {
                TimeBasis::Log => "log",
                TimeBasis::Arrival => "arrival",
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use client::now;

    use super::super::recording::TapEnd;
    use super::*;

    fn recording(times: &[(&str, Option<u64>)]) -> Recording {
        let start = now();
        let event = |(position, (kind, logged)): (usize, &(&str, Option<u64>))| TappedEvent {
            position: position as u64,
            kind: (*kind).to_owned(),
            data: "12345".into(),
            logged: logged.map(Duration::from_millis),
            taken: start + Duration::from_millis(position as u64),
            shown: None,
        };
        Recording {
            response_id: "resp_1".to_owned(),
            server: "http://h".to_owned(),
            created_ms: None,
            from: 0,
            events: times.iter().enumerate().map(event).collect(),
            exchanges: Vec::new(),
            end: TapEnd::Complete,
        }
    }

    const TEXT: &str = "response.output_text.delta";

    #[test]
    fn the_servers_times_count_if_all_are_known() {
        let mut recording = recording(&[
            ("response.created", Some(1)),
            (TEXT, Some(50)),
            (TEXT, Some(70)),
            (TEXT, Some(75)),
            (TEXT, Some(275)),
            ("response.completed", Some(301)),
        ]);
        let text = Summary::of(&recording).text();
        assert_eq!(
            text,
            "6 events, 30 bytes, over 300.0 ms\nfirst text after 50.0 ms\nbetween texts: median 20.0 ms, slowest 200.0 ms (3 gaps)\ntimes: when the server appended each event to its log\n"
        );
        recording.from = 3;
        assert_eq!(Summary::of(&recording).first_text, None);
        recording.events[2].logged = None;
        let summary = Summary::of(&recording);
        assert_eq!(summary.duration, Duration::from_millis(5));
        assert_eq!(summary.json()["times"], "arrival");
    }

    #[test]
    fn nothing_has_no_gaps() {
        let summary = Summary::of(&recording(&[]));
        assert_eq!(summary.json()["text_gaps"]["median_ms"], Value::Null);
        assert!(summary.text().starts_with("0 events, 0 bytes, over 0.0 ms\n"));
    }
}
