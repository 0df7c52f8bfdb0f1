//! Records the turns of a run: what was counted, and the times, apart from those of a stall.

use std::time::{Duration, Instant};

use anyhow::Result;
use lens::moment::Moment;

use crate::clock::wall_clock;
use crate::conversation::Turn;
use crate::numbers::{DoneCounts, Measured, Strip, milliseconds};
use crate::plan::{Cell, Dialect, Transport};
use crate::samples::{Samples, Taken};
use crate::stall::{Stalls, watched};
use crate::stamps::Stamps;
use client::ConnectionInfo;

/// Returns the processor time of the server.
type Processor<'a> = &'a (dyn Fn() -> Option<Duration> + Send + Sync);

/// Records the turns of a run.
#[derive(Default)]
pub(crate) struct RunRecorder<'a> {
    /// When the model sent tokens, if that is known.
    stamps: Option<&'a Stamps>,
    /// The processor time of the server, if that is known.
    processor: Option<Processor<'a>>,
    turns: Vec<Turn>,
    tokens: Option<u64>,
    samples: Samples,
    strip: Strip,
    /// When the last answer ended.
    pub(crate) over: Option<Moment>,
}

impl<'a> RunRecorder<'a> {
    /// A recorder of a run without turns.
    pub(crate) fn new(stamps: Option<&'a Stamps>, processor: Option<Processor<'a>>) -> Self {
        Self { stamps, processor, ..Self::default() }
    }

    /// Asks a question, and records its answer.
    pub(crate) async fn turn(&mut self, ask: impl Future<Output = Result<Turn>>) -> Result<()> {
        let read = self.processor;
        let processor = || read.and_then(|processor| processor());
        if let Some(stamps) = self.stamps {
            // Those of an earlier answer.
            drop(stamps.take());
        }
        let before = processor();
        let (turn, stalls) = watched(ask).await;
        let turn = turn?;
        let used = before.zip(processor()).map(|(before, after)| after.saturating_sub(before));
        self.over = Some(wall_clock());
        if let Some(stamps) = self.stamps {
            let given = stamps.take();
            *self.tokens.get_or_insert_default() += given.len() as u64;
            for (late, arrived) in added(&given, &turn.arrivals) {
                self.samples.added.push(late, taken(&stalls, arrived));
            }
            self.strip.given_ms = given
                .iter()
                .map(|given| milliseconds(given.saturating_duration_since(turn.asked)))
                .collect();
            if let Some(used) = used.filter(|_| !given.is_empty()) {
                self.samples
                    .processor
                    .push(used.as_secs_f64() * 1e6 / f64::from(u32::try_from(given.len())?));
            }
        }
        self.strip.arrived_ms =
            turn.arrivals.iter().map(|arrived| milliseconds(*arrived - turn.asked)).collect();
        self.times(&turn, &stalls);
        self.turns.push(turn);
        Ok(())
    }

    fn times(&mut self, turn: &Turn, stalls: &Stalls) {
        let samples = &mut self.samples;
        let since = |at: Instant| milliseconds(at - turn.asked);
        if let Some(head) = turn.head {
            samples.head.push(since(head), taken(stalls, head));
        }
        if let Some(first) = turn.arrivals.first() {
            samples.first_token.push(since(*first), taken(stalls, *first));
        }
        for pair in turn.arrivals.windows(2) {
            let is_stalled = stalls.cover(pair[0]) || stalls.cover(pair[1]);
            let taken = if is_stalled { Taken::Stalled } else { Taken::Calm };
            samples.gap.push(milliseconds(pair[1] - pair[0]), taken);
        }
        samples.whole.push(since(turn.ended));
        samples.stalled_ms += milliseconds(stalls.total());
    }

    /// The counts of the run, and its times.
    pub(crate) fn finish(
        mut self,
        cell: Cell,
        opened: &[ConnectionInfo],
        requests: u64,
    ) -> (Measured, Samples) {
        let turns = &self.turns;
        for opened in opened {
            self.samples.connect.push(milliseconds(opened.connected));
            if let Some(tls) = &opened.tls {
                let handshakes = if tls.is_resumed {
                    &mut self.samples.tls_resumed
                } else {
                    &mut self.samples.tls_full
                };
                handshakes.push(milliseconds(tls.duration));
            }
        }
        let pieces = turns.iter().map(|turn| turn.arrivals.len() as u64).sum();
        // Without the model's count, each piece that arrived counts as a token.
        let tokens = self
            .tokens
            .or_else(|| (cell.transport != Transport::Json).then_some(pieces))
            .filter(|tokens| *tokens > 0);
        let measured = Measured {
            cell: Some(cell),
            answers: turns.len() as u64,
            tokens,
            events: turns.iter().map(|turn| turn.events).sum(),
            text_bytes: turns.iter().map(|turn| turn.text.len() as u64).sum(),
            requests,
            connections: opened.len() as u64,
            strip: self.strip,
            done: (cell.dialect == Dialect::Classic && cell.transport == Transport::Sse).then(
                || DoneCounts {
                    streams: turns.len() as u64,
                    with_end_of_body: turns.iter().filter(|turn| turn.ends_with_body).count()
                        as u64,
                },
            ),
            ..Measured::default()
        };
        (measured, self.samples)
    }
}

fn taken(stalls: &Stalls, at: Instant) -> Taken {
    if stalls.cover(at) { Taken::Stalled } else { Taken::Calm }
}

/// The delay of each token, and its arrival. The tokens of an answer in one piece were delayed until
/// that arrived.
fn added(given: &[Instant], arrivals: &[Instant]) -> Vec<(f64, Instant)> {
    let late = |(given, arrived): (&Instant, &Instant)| {
        (milliseconds(arrived.saturating_duration_since(*given)), *arrived)
    };
    match arrivals {
        [whole] if given.len() > 1 => given.iter().map(|given| late((given, whole))).collect(),
        _ if given.len() == arrivals.len() => given.iter().zip(arrivals).map(late).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_one_piece_are_delayed_until_its_arrival() {
        let begin = client::now();
        let at = |milliseconds: u64| begin + Duration::from_millis(milliseconds);
        let delays = |given: &[Instant], arrivals: &[Instant]| {
            added(given, arrivals).into_iter().map(|(late, _)| late).collect::<Vec<_>>()
        };
        assert_eq!(delays(&[at(0), at(5), at(10)], &[at(1), at(7), at(10)]), [1.0, 2.0, 0.0]);
        assert_eq!(delays(&[at(0), at(5), at(10)], &[at(12)]), [12.0, 7.0, 2.0]);
        assert_eq!(delays(&[at(0)], &[at(3)]), [3.0]);
        assert!(
            delays(&[at(0), at(5)], &[at(1), at(2), at(3)]).is_empty(),
            "which is which is not known"
        );
    }
}
