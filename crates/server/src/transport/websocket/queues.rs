//! The streams of a socket: which turn runs on each, and which wait for it. Pure bookkeeping,
//! without I/O.

use std::collections::{HashMap, VecDeque};

use engine::shares::Reservation;
use protocol::dialect::StreamId;
use protocol::fault::{Fault, FaultKind};
use protocol::id::ResponseId;
use protocol::request::Create;

/// The most responses of one socket that may stream at once (OpenAI's limit).
const ACTIVE: usize = 16;

/// The most names that one socket may use (OpenAI's limit).
const NAMED: usize = 32;

/// The most turns that may wait in one stream.
pub(super) const WAITING: usize = 16;

/// A turn that waits in its stream.
#[derive(Debug, PartialEq)]
pub(super) enum QueuedTurn<D> {
    Create {
        create: Box<Create>,
        dialect: Box<D>,
        generate: bool,
        /// The memory that was taken for it.
        bytes: Reservation,
    },
    Resume {
        response_id: ResponseId,
        starting_after: Option<u64>,
        dialect: Box<D>,
    },
    /// A refused request, whose error waits for the responses before it.
    Refused(Fault),
}

impl<D> QueuedTurn<D> {
    /// Whether it reads a response that exists and starts nothing.
    pub(super) fn is_resume(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Refused(_) => false,
            Self::Resume { .. } => true,
        }
    }
}

#[derive(Debug)]
struct Queue<D> {
    busy: bool,
    running: Option<ResponseId>,
    waiting: VecDeque<QueuedTurn<D>>,
}

/// All streams of a socket.
#[derive(Debug)]
pub(super) struct StreamQueues<D> {
    queues: HashMap<StreamId, Queue<D>>,
    /// Streams with something to start, in order of arrival.
    ready: VecDeque<StreamId>,
    active: usize,
}

impl<D> Default for Queue<D> {
    fn default() -> Self {
        Self { busy: false, running: None, waiting: VecDeque::new() }
    }
}

impl<D> Default for StreamQueues<D> {
    fn default() -> Self {
        Self { queues: HashMap::new(), ready: VecDeque::new(), active: 0 }
    }
}

impl<D> StreamQueues<D> {
    /// Puts a turn at the end of its stream.
    ///
    /// # Errors
    /// Too many names, or too many turns that wait.
    pub(super) fn put(&mut self, stream: &StreamId, turn: QueuedTurn<D>) -> Result<(), Fault> {
        let is_new = !self.queues.contains_key(stream);
        let named = self.queues.keys().filter(|stream| stream.name().is_some()).count();
        if is_new && stream.name().is_some() && named >= NAMED {
            return Err(limit(format!("A socket has at most {NAMED} named streams.")));
        }
        let queue = self.queues.entry(stream.clone()).or_default();
        if queue.waiting.len() >= WAITING {
            return Err(limit(format!("At most {WAITING} turns may wait in one stream.")));
        }
        queue.waiting.push_back(turn);
        if !queue.busy && queue.waiting.len() == 1 {
            self.ready.push_back(stream.clone());
        }
        Ok(())
    }

    /// The next turn that may start, if there is one and not too many run.
    pub(super) fn take(&mut self) -> Option<(StreamId, QueuedTurn<D>)> {
        if self.active >= ACTIVE {
            return None;
        }
        let stream = self.ready.pop_front()?;
        let queue = self.queues.get_mut(&stream)?;
        let turn = queue.waiting.pop_front()?;
        queue.busy = true;
        self.active += 1;
        Some((stream, turn))
    }

    /// The turn taken from `stream` runs as `id`.
    pub(super) fn runs(&mut self, stream: &StreamId, id: ResponseId) {
        if let Some(queue) = self.queues.get_mut(stream) {
            queue.running = Some(id);
        }
    }

    /// The turn taken from `stream` has ended, or did not start.
    pub(super) fn done(&mut self, stream: &StreamId) {
        let Some(queue) = self.queues.get_mut(stream) else { return };
        queue.busy = false;
        queue.running = None;
        self.active -= 1;
        if !queue.waiting.is_empty() {
            self.ready.push_back(stream.clone());
        }
    }

    /// The response that runs on `stream`.
    pub(super) fn running(&self, stream: &StreamId) -> Option<&ResponseId> {
        self.queues.get(stream)?.running.as_ref()
    }

    /// Whether nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.active == 0
    }

    /// Removes the turns that wait and for which `is_refused`; gives their streams.
    pub(super) fn refuse(&mut self, is_refused: impl Fn(&QueuedTurn<D>) -> bool) -> Vec<StreamId> {
        let mut refused = Vec::new();
        for (stream, queue) in &mut self.queues {
            let before = queue.waiting.len();
            queue.waiting.retain(|turn| !is_refused(turn));
            refused.extend((queue.waiting.len()..before).map(|_| stream.clone()));
        }
        self.ready.retain(|stream| {
            self.queues.get(stream).is_some_and(|queue| !queue.waiting.is_empty())
        });
        refused
    }
}

fn limit(message: String) -> Fault {
    Fault::new(FaultKind::InvalidRequest, "websocket_stream_limit_reached", message)
}

#[cfg(test)]
mod tests {
    use protocol::dialect::ClientEvent;
    use protocol::dialect::responses::{Responses, read_client_event};

    use super::*;

    fn stream(name: &str) -> StreamId {
        let message = format!(r#"{{"type":"response.cancel","stream_id":"{name}"}}"#);
        match read_client_event(message.as_bytes()) {
            Ok(ClientEvent::Cancel { stream, .. }) => stream,
            other => panic!("{other:?}"),
        }
    }

    fn turn(name: &str) -> QueuedTurn<Responses> {
        QueuedTurn::Resume {
            response_id: ResponseId::new(name),
            starting_after: None,
            dialect: Box::new(Responses),
        }
    }

    #[test]
    fn a_stream_is_first_in_first_out_and_one_at_a_time() {
        let mut queues = StreamQueues::default();
        let a = StreamId::default();
        assert!(queues.put(&a, turn("1")).is_ok() && queues.put(&a, turn("2")).is_ok());
        assert_eq!(queues.take(), Some((a.clone(), turn("1"))));
        assert_eq!(queues.take(), None);
        queues.done(&a);
        assert_eq!(queues.take(), Some((a.clone(), turn("2"))));
        queues.done(&a);
        assert!(queues.is_idle() && queues.take().is_none());
    }

    #[test]
    fn waiting_turns_are_refused_and_running_ones_continue() {
        let mut queues = StreamQueues::default();
        let (a, b) = (stream("a"), stream("b"));
        for (id, name) in [(&a, "1"), (&a, "2"), (&a, "3"), (&b, "2")] {
            assert!(queues.put(id, turn(name)).is_ok());
        }
        assert_eq!(queues.take(), Some((a.clone(), turn("1"))));
        let mut refused = queues.refuse(|waiting| *waiting == turn("2"));
        refused.sort_by_key(|stream| stream.name().map(str::to_owned));
        assert_eq!(refused, [a.clone(), b]);
        assert_eq!(queues.take(), None, "nothing is ready any more");
        queues.done(&a);
        assert_eq!(queues.take(), Some((a, turn("3"))));
    }

    #[test]
    fn sixteen_run_thirty_two_have_names_and_sixteen_wait() {
        let mut queues = StreamQueues::default();
        for number in 0..NAMED {
            assert!(queues.put(&stream(&number.to_string()), turn("x")).is_ok());
        }
        assert!(queues.put(&stream("one-too-many"), turn("x")).is_err());
        assert!(
            queues.put(&StreamId::default(), turn("x")).is_ok(),
            "the default stream has no name"
        );
        let started = std::iter::from_fn(|| queues.take()).count();
        assert_eq!(started, ACTIVE);
        queues.done(&stream("0"));
        assert_eq!(queues.take(), Some((stream("16"), turn("x"))));
        for _ in 0..WAITING {
            assert!(queues.put(&stream("0"), turn("x")).is_ok());
        }
        assert!(queues.put(&stream("0"), turn("x")).is_err());
    }
}
