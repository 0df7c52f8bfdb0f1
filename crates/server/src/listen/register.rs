//! The connections that are open, and the last that have closed, for the lens.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::view::{ConnectionFilter, ConnectionView};

/// Connections that have closed and are still shown.
const REMEMBERED: usize = 256;

/// A connection that the register lists while it is open.
pub(super) trait Registered: fmt::Debug + Send + Sync {
    /// How it is now.
    fn view(&self) -> ConnectionView;

    /// Whether it is one of those wanted. Cheaper than a view.
    fn matches(&self, wanted: &ConnectionFilter<'_>) -> bool;

    /// Resets it (RST), with whatever is being sent.
    fn reset(&self);
}

/// The connections that are open, and the last that have closed.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    open: BTreeMap<u64, Weak<dyn Registered>>,
    closed: VecDeque<ConnectionView>,
}

impl Register {
    pub(super) fn opened(&self, id: u64, connection: Weak<dyn Registered>) {
        self.lists().open.insert(id, connection);
    }

    pub(super) fn closed(&self, id: u64, view: ConnectionView) {
        let mut lists = self.lists();
        lists.open.remove(&id);
        if lists.closed.len() == REMEMBERED {
            lists.closed.pop_front();
        }
        lists.closed.push_back(ConnectionView { is_open: false, ..view });
    }

    /// Those that are wanted, the newest first, at most `limit`. Only these are asked for their
    /// views, which cost a system call.
    pub(crate) fn views(&self, wanted: &ConnectionFilter<'_>, limit: usize) -> Vec<ConnectionView> {
        let (open, closed) = {
            let lists = self.lists();
            let closed: Vec<ConnectionView> = lists
                .closed
                .iter()
                .rev()
                .filter(|view| wanted.is_met(view))
                .take(limit)
                .cloned()
                .collect();
            (lists.open.values().rev().cloned().collect::<Vec<_>>(), closed)
        };
        // Outside of the lock: the last handle on a connection may be dropped here, which registers
        // its close.
        let open = open
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|connection| connection.matches(wanted))
            .take(limit);
        let mut views: Vec<ConnectionView> =
            open.map(|connection| connection.view()).chain(closed).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.id));
        views.dedup_by_key(|view| view.id);
        views.truncate(limit);
        views
    }

    /// One of them.
    pub(crate) fn view(&self, id: u64) -> Option<ConnectionView> {
        let (open, closed) = {
            let lists = self.lists();
            (lists.open.get(&id).cloned(), lists.closed.iter().find(|view| view.id == id).cloned())
        };
        // Outside of the lock, as above.
        closed.or_else(|| open?.upgrade().map(|connection: Arc<dyn Registered>| connection.view()))
    }

    /// Resets the open ones that are wanted and that `is_allowed`, and counts them.
    pub(crate) fn reset(
        &self,
        wanted: &ConnectionFilter<'_>,
        is_allowed: impl Fn(&ConnectionView) -> bool,
    ) -> usize {
        let open: Vec<_> = self.lists().open.values().cloned().collect();
        let mut count = 0;
        // Outside of the lock, as above.
        for connection in open.iter().filter_map(Weak::upgrade) {
            if connection.matches(wanted) && is_allowed(&connection.view()) {
                connection.reset();
                count += 1;
            }
        }
        count
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
