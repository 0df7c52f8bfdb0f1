//! Pairs questions with the streams for their responses: two requests of one page that do not name
//! each other.
//!
//! A question takes the oldest stream of its uid that is idle, or waits a little for one to open.
//! Everything is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::fault::{Fault, FaultKind};
use protocol::id::ResponseId;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::caller_uid::CallerUid;

/// The most streams that one uid may have open, and the most of its questions that may wait. A
/// browser opens six connections.
const MAX_PER_UID: usize = 16;

/// The most failed questions that are remembered for streams that have not opened yet.
const MOST_FAILED: usize = 1024;

/// All streams and waiting questions. `Given` is what a stream delivers.
#[derive(Debug)]
pub(crate) struct Channels<Given> {
    held: Arc<Mutex<ChannelMap<Given>>>,
}

#[derive(Debug)]
struct ChannelMap<Given> {
    channels: HashMap<CallerUid, Channel<Given>>,
    /// Questions that failed before their stream was open, and until when such a stream ends at
    /// once.
    failed: VecDeque<(Instant, CallerUid)>,
    /// The number of the next stream or question.
    next: u64,
}

/// The streams and questions of one uid, oldest first.
#[derive(Debug)]
struct Channel<Given> {
    streams: VecDeque<OpenStream<Given>>,
    questions: VecDeque<(u64, oneshot::Sender<TakenPlace<Given>>)>,
}

#[derive(Debug)]
struct OpenStream<Given> {
    number: u64,
    state: OpenStreamState<Given>,
}

#[derive(Debug)]
enum OpenStreamState<Given> {
    /// Waiting for a question.
    Idle(oneshot::Sender<Given>),
    /// Taken by a question that is starting.
    Taken,
    /// Delivering this response.
    Delivering(ResponseId),
}

/// An open stream. Dropping it removes it from its channel.
#[derive(Debug)]
pub(crate) struct OpenedStream<Given> {
    /// What it is to deliver. It fails where the stream is to end without a response.
    pub(crate) given: oneshot::Receiver<Given>,
    /// Its place in the channel.
    pub(crate) place: OpenPlace<Given>,
}

#[derive(Debug)]
pub(crate) struct OpenPlace<Given> {
    held: Arc<Mutex<ChannelMap<Given>>>,
    asker: CallerUid,
    number: u64,
}

/// A stream that a question has taken. Dropping it ends the stream, so that its page does not wait
/// for a response.
#[derive(Debug)]
pub(crate) struct TakenPlace<Given> {
    held: Arc<Mutex<ChannelMap<Given>>>,
    asker: CallerUid,
    number: u64,
    stream: oneshot::Sender<Given>,
}

/// Removes a waiting question from its channel when dropped.
struct Waiting<'a, Given> {
    channels: &'a Channels<Given>,
    asker: &'a CallerUid,
    number: u64,
}

impl<Given> Default for Channels<Given> {
    fn default() -> Self {
        let held = ChannelMap { channels: HashMap::new(), failed: VecDeque::new(), next: 0 };
        Self { held: Arc::new(Mutex::new(held)) }
    }
}

impl<Given> Default for Channel<Given> {
    fn default() -> Self {
        Self { streams: VecDeque::new(), questions: VecDeque::new() }
    }
}

impl<Given> Channels<Given> {
    /// A stream opens. The question that has waited longest takes it.
    ///
    /// # Errors
    /// The uid has too many.
    pub(crate) fn open(&self, asker: &CallerUid) -> Result<OpenedStream<Given>, Fault> {
        let mut held = self.held();
        let number = held.number();
        let (sender, given) = oneshot::channel();
        let has_failed = held.take_failed(asker);
        let channel = held.channels.entry(asker.clone()).or_default();
        if channel.streams.len() >= MAX_PER_UID {
            return Err(too_many("streams"));
        }
        let mut stream = Some(sender);
        if has_failed {
            stream = None;
        }
        while let Some(free) = stream.take() {
            let Some((_number, question)) = channel.questions.pop_front() else {
                stream = Some(free);
                break;
            };
            let place = TakenPlace {
                held: Arc::clone(&self.held),
                asker: asker.clone(),
                number,
                stream: free,
            };
            // A question that was given up while it waited gives the stream back.
            stream = question.send(place).err().map(|place| place.stream);
        }
        let state = stream.map_or(OpenStreamState::Taken, OpenStreamState::Idle);
        channel.streams.push_back(OpenStream { number, state });
        let place = OpenPlace { held: Arc::clone(&self.held), asker: asker.clone(), number };
        Ok(OpenedStream { given, place })
    }

    /// The stream for a question: the oldest that is idle, or the next that opens within
    /// `patience`.
    ///
    /// # Errors
    /// None came; too many questions of this uid wait.
    pub(crate) async fn pair(
        &self,
        asker: &CallerUid,
        patience: Duration,
    ) -> Result<TakenPlace<Given>, Fault> {
        let (mut coming, waiting) = {
            let mut held = self.held();
            if let Some((number, stream)) = held.take_idle(asker) {
                return Ok(TakenPlace {
                    held: Arc::clone(&self.held),
                    asker: asker.clone(),
                    number,
                    stream,
                });
            }
            let number = held.number();
            let channel = held.channels.entry(asker.clone()).or_default();
            if channel.questions.len() >= MAX_PER_UID {
                return Err(too_many("questions that wait for a stream"));
            }
            let (sender, coming) = oneshot::channel();
            channel.questions.push_back((number, sender));
            (coming, Waiting { channels: self, asker, number })
        };
        let come = timeout(patience, &mut coming).await;
        drop(waiting);
        // A stream may have opened in the very moment in which the time was over.
        let place = come.ok().and_then(Result::ok).or_else(|| coming.try_recv().ok());
        place.ok_or_else(|| {
            let message = "No stream is open for this uid. Open one with GET /createSse and the same uid; the response is sent there.";
            Fault::new(FaultKind::Conflict, "no_stream", message).with_param("uid")
        })
    }

    /// A question has failed before it took a stream: the stream that was meant for it ends, also
    /// if it opens only now.
    pub(crate) fn fail(&self, asker: &CallerUid, patience: Duration) {
        let mut held = self.held();
        if held.take_idle(asker).is_none() && held.failed.len() < MOST_FAILED {
            held.failed.push_back((Instant::now() + patience, asker.clone()));
        }
    }

    /// Closes the latest stream of this uid. If it delivers a response, that is to be stopped,
    /// which ends the stream.
    pub(crate) fn close(&self, asker: &CallerUid) -> Option<ResponseId> {
        let mut held = self.held();
        for stream in held.channels.get_mut(asker)?.streams.iter_mut().rev() {
            match &stream.state {
                OpenStreamState::Idle(_) => {
                    stream.state = OpenStreamState::Taken;
                    return None;
                }
                // It was closed already, or its response is about to start.
                OpenStreamState::Taken => {}
                OpenStreamState::Delivering(id) => return Some(id.clone()),
            }
        }
        None
    }

    fn held(&self) -> MutexGuard<'_, ChannelMap<Given>> {
        lock(&self.held)
    }
}

impl<Given> TakenPlace<Given> {
    /// Hands the stream the response `id` to deliver.
    ///
    /// # Errors
    /// The stream has been closed meanwhile.
    pub(crate) fn give(self, id: &ResponseId, given: Given) -> Result<(), Fault> {
        if let Some(stream) = lock(&self.held).stream(&self.asker, self.number) {
            stream.state = OpenStreamState::Delivering(id.clone());
        }
        let gone = || {
            Fault::new(
                FaultKind::Conflict,
                "stream_closed",
                "The stream was closed before its response started.",
            )
            .with_param("uid")
        };
        self.stream.send(given).map_err(|_given| gone())
    }
}

impl<Given> ChannelMap<Given> {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn stream(&mut self, asker: &CallerUid, number: u64) -> Option<&mut OpenStream<Given>> {
        self.channels.get_mut(asker)?.streams.iter_mut().find(|stream| stream.number == number)
    }

    /// The oldest idle stream. One whose client has just left does not count.
    fn take_idle(&mut self, asker: &CallerUid) -> Option<(u64, oneshot::Sender<Given>)> {
        for stream in &mut self.channels.get_mut(asker)?.streams {
            match std::mem::replace(&mut stream.state, OpenStreamState::Taken) {
                OpenStreamState::Idle(sender) if !sender.is_closed() => {
                    return Some((stream.number, sender));
                }
                OpenStreamState::Idle(_) => {}
                state @ (OpenStreamState::Taken | OpenStreamState::Delivering(_)) => {
                    stream.state = state;
                }
            }
        }
        None
    }

    /// Whether a question of this uid failed a moment ago, before its stream was open.
    fn take_failed(&mut self, asker: &CallerUid) -> bool {
        let now = Instant::now();
        self.failed.retain(|(until, _asker)| *until > now);
        let place = self.failed.iter().position(|(_until, failed)| failed == asker);
        place.and_then(|place| self.failed.remove(place)).is_some()
    }

    /// Removes a channel in which nothing is left.
    fn tidy(&mut self, asker: &CallerUid) {
        if self
            .channels
            .get(asker)
            .is_some_and(|channel| channel.streams.is_empty() && channel.questions.is_empty())
        {
            self.channels.remove(asker);
        }
    }
}

impl<Given> Drop for OpenPlace<Given> {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(channel) = held.channels.get_mut(&self.asker) {
            channel.streams.retain(|stream| stream.number != self.number);
        }
        held.tidy(&self.asker);
    }
}

impl<Given> Drop for Waiting<'_, Given> {
    fn drop(&mut self) {
        let mut held = self.channels.held();
        if let Some(channel) = held.channels.get_mut(self.asker) {
            channel.questions.retain(|(number, _question)| *number != self.number);
        }
        held.tidy(self.asker);
    }
}

fn lock<Given>(held: &Mutex<ChannelMap<Given>>) -> MutexGuard<'_, ChannelMap<Given>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_many(what: &str) -> Fault {
    let message = format!("This uid has reached its limit of {MAX_PER_UID} {what}.");
    let fault = Fault::new(FaultKind::RateLimit, "too_many_streams", message).with_param("uid");
    Fault { retry_after: Some(1), ..fault }
}

#[cfg(test)]
mod tests;
