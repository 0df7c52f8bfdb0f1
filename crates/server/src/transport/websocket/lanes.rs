//! The lanes of a socket: which turn runs on each, and what waits behind it. Pure bookkeeping, without I/O.

use std::collections::{HashMap, VecDeque};

use engine::shares::Reservation;
use protocol::dialect::responses::Lane;
use protocol::fault::{Fault, FaultKind};
use protocol::id::ResponseId;
use protocol::request::Create;

/// How many answers of one socket may stream at once (OpenAI's limit).
const ACTIVE: usize = 16;

/// How many names one socket may use (OpenAI's limit).
const NAMED: usize = 32;

/// How many turns may wait in one lane.
const WAITING: usize = 16;

/// What waits in a lane.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    Create {
        create: Box<Create>,
        generate: bool,
        /// The memory that was taken for it.
        bytes: Reservation,
    },
    Resume {
        response_id: ResponseId,
        starting_after: Option<u64>,
    },
}

impl Wanted {
    /// Whether it reads what there is and begins nothing.
    pub(super) fn is_there_already(&self) -> bool {
        match self {
            Self::Create { .. } => false,
            Self::Resume { .. } => true,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    busy: bool,
    running: Option<ResponseId>,
    waiting: VecDeque<Wanted>,
}

/// All lanes of a socket.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    queues: HashMap<Lane, Queue>,
    /// Lanes with something to start, in order of arrival.
    ready: VecDeque<Lane>,
    active: usize,
}

impl Lanes {
    /// Puts a turn at the end of its lane.
    ///
    /// # Errors
    /// Too many names, or too many turns that wait.
    pub(super) fn put(&mut self, lane: &Lane, wanted: Wanted) -> Result<(), Fault> {
        let is_new = !self.queues.contains_key(lane);
        let named = self.queues.keys().filter(|lane| lane.name().is_some()).count();
        if is_new && lane.name().is_some() && named >= NAMED {
            return Err(limit(format!("A socket has at most {NAMED} named streams.")));
        }
        let queue = self.queues.entry(lane.clone()).or_default();
        if queue.waiting.len() >= WAITING {
            return Err(limit(format!("At most {WAITING} turns may wait in one stream.")));
        }
        queue.waiting.push_back(wanted);
        if !queue.busy && queue.waiting.len() == 1 {
            self.ready.push_back(lane.clone());
        }
        Ok(())
    }

    /// The next turn that may start, if there is one and not too many run.
    pub(super) fn take(&mut self) -> Option<(Lane, Wanted)> {
        if self.active >= ACTIVE {
            return None;
        }
        let lane = self.ready.pop_front()?;
        let queue = self.queues.get_mut(&lane)?;
        let wanted = queue.waiting.pop_front()?;
        queue.busy = true;
        self.active += 1;
        Some((lane, wanted))
    }

    /// The turn taken from `lane` runs as `id`.
    pub(super) fn runs(&mut self, lane: &Lane, id: ResponseId) {
        if let Some(queue) = self.queues.get_mut(lane) {
            queue.running = Some(id);
        }
    }

    /// The turn taken from `lane` has ended, or did not come to run.
    pub(super) fn done(&mut self, lane: &Lane) {
        let Some(queue) = self.queues.get_mut(lane) else { return };
        queue.busy = false;
        queue.running = None;
        self.active -= 1;
        if !queue.waiting.is_empty() {
            self.ready.push_back(lane.clone());
        }
    }

    /// What runs on `lane`.
    pub(super) fn running(&self, lane: &Lane) -> Option<&ResponseId> {
        self.queues.get(lane)?.running.as_ref()
    }

    /// Whether nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.active == 0
    }

    /// Takes what waits and `is_refused`; gives its lanes, to be told.
    pub(super) fn refuse(&mut self, is_refused: impl Fn(&Wanted) -> bool) -> Vec<Lane> {
        let mut refused = Vec::new();
        for (lane, queue) in &mut self.queues {
            let before = queue.waiting.len();
            queue.waiting.retain(|wanted| !is_refused(wanted));
            refused.extend((queue.waiting.len()..before).map(|_| lane.clone()));
        }
        self.ready.retain(|lane| self.queues.get(lane).is_some_and(|queue| !queue.waiting.is_empty()));
        refused
    }
}

fn limit(message: String) -> Fault {
    Fault::new(FaultKind::InvalidRequest, "websocket_stream_limit_reached", message)
}

#[cfg(test)]
mod tests {
    use protocol::dialect::responses::{ClientEvent, read_client_event};

    use super::*;

    fn lane(name: &str) -> Lane {
        let message = format!(r#"{{"type":"response.cancel","stream_id":"{name}"}}"#);
        match read_client_event(message.as_bytes()) {
            Ok(ClientEvent::Cancel { lane, .. }) => lane,
            other => panic!("{other:?}"),
        }
    }

    fn wanted(name: &str) -> Wanted {
        Wanted::Resume { response_id: ResponseId::new(name), starting_after: None }
    }

    #[test]
    fn a_lane_is_first_in_first_out_and_one_at_a_time() {
        let mut lanes = Lanes::default();
        let a = Lane::default();
        assert!(lanes.put(&a, wanted("1")).is_ok() && lanes.put(&a, wanted("2")).is_ok());
        assert_eq!(lanes.take(), Some((a.clone(), wanted("1"))));
        assert_eq!(lanes.take(), None);
        lanes.done(&a);
        assert_eq!(lanes.take(), Some((a.clone(), wanted("2"))));
        lanes.done(&a);
        assert!(lanes.is_idle() && lanes.take().is_none());
    }

    #[test]
    fn what_waits_is_refused_and_the_rest_goes_on() {
        let mut lanes = Lanes::default();
        let (a, b) = (lane("a"), lane("b"));
        for (lane, name) in [(&a, "1"), (&a, "2"), (&a, "3"), (&b, "2")] {
            assert!(lanes.put(lane, wanted(name)).is_ok());
        }
        assert_eq!(lanes.take(), Some((a.clone(), wanted("1"))));
        let mut refused = lanes.refuse(|waiting| *waiting == wanted("2"));
        refused.sort_by_key(|lane| lane.name().map(str::to_owned));
        assert_eq!(refused, [a.clone(), b]);
        assert_eq!(lanes.take(), None, "nothing is ready any more");
        lanes.done(&a);
        assert_eq!(lanes.take(), Some((a, wanted("3"))));
    }

    #[test]
    fn sixteen_run_thirty_two_have_names_and_sixteen_wait() {
        let mut lanes = Lanes::default();
        for number in 0..NAMED {
            assert!(lanes.put(&lane(&number.to_string()), wanted("x")).is_ok());
        }
        assert!(lanes.put(&lane("one-too-many"), wanted("x")).is_err());
        assert!(lanes.put(&Lane::default(), wanted("x")).is_ok(), "the sequential lane has no name");
        let started = std::iter::from_fn(|| lanes.take()).count();
        assert_eq!(started, ACTIVE);
        lanes.done(&lane("0"));
        assert_eq!(lanes.take(), Some((lane("16"), wanted("x"))));
        for _ in 0..WAITING {
            assert!(lanes.put(&lane("0"), wanted("x")).is_ok());
        }
        assert!(lanes.put(&lane("0"), wanted("x")).is_err());
    }
}
