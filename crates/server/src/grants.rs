//! Streams, sockets and waiting requests that are open on behalf of a caller and end when its
//! credential does.
//!
//! A grant keeps the proof (the digest of a key), not a name. Nothing is checked per event: one
//! task checks every 200 ms whether the keys have changed, and only then checks all grants.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use engine::keys::{Caller, KeyStore};
use futures_util::task::AtomicWaker;
use protocol::fault::{Fault, FaultKind};
use tokio::time::{Instant, sleep_until};

use crate::credential::Credential;
use crate::tickets::Tickets;

/// All grants of the process.
#[derive(Debug, Default)]
pub struct Grants {
    open: Mutex<HashMap<u64, (Credential, Arc<Flag>)>>,
    next: AtomicU64,
}

/// When a grant ended, and the task that waits for that.
#[derive(Debug, Default)]
struct Flag {
    ended: OnceLock<Instant>,
    waker: AtomicWaker,
}

/// The permission of one request, as long as it is served. Clones are the same grant, and only one
/// task waits for its end.
#[derive(Clone)]
pub(crate) struct Grant(Arc<Granted>);

struct Granted {
    grants: Arc<Grants>,
    number: u64,
    credential: Credential,
    flag: Arc<Flag>,
    keys: Arc<dyn KeyStore>,
    tickets: Arc<Tickets>,
}

impl Grants {
    /// Ends every grant whose credential is no longer valid, and returns their number.
    pub(crate) fn sweep(&self, keys: &dyn KeyStore, tickets: &Tickets) -> usize {
        let mut known: HashMap<Credential, bool> = HashMap::new();
        let ended: Vec<Arc<Flag>> = {
            let open = self.open();
            let is_good = |credential: &Credential| tickets.holder(credential, keys).is_some();
            let ended = open.values().filter(|(credential, _)| {
                !*known.entry(*credential).or_insert_with(|| is_good(credential))
            });
            ended.map(|(_, flag)| Arc::clone(flag)).collect()
        };
        ended.iter().filter(|flag| !flag.end()).count()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, (Credential, Arc<Flag>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flag {
    /// Returns whether it had ended before.
    fn end(&self) -> bool {
        let is_first = self.ended.set(Instant::now()).is_ok();
        self.waker.wake();
        !is_first
    }
}

impl Grant {
    /// Grants what this credential may open, and gives its caller; `None` where the credential is
    /// not valid.
    ///
    /// The grant is registered before its credential is checked, so that no revocation is
    /// missed.
    pub(crate) fn open(
        grants: &Arc<Grants>,
        keys: &Arc<dyn KeyStore>,
        tickets: &Arc<Tickets>,
        credential: Credential,
    ) -> Option<(Self, Caller)> {
        let (number, flag) = (grants.next.fetch_add(1, Ordering::Relaxed), Arc::<Flag>::default());
        grants.open().insert(number, (credential, Arc::clone(&flag)));
        let (grants, keys, tickets) = (Arc::clone(grants), Arc::clone(keys), Arc::clone(tickets));
        let granted = Self(Arc::new(Granted { grants, number, credential, flag, keys, tickets }));
        let caller = granted.0.holder()?;
        Some((granted, caller))
    }

    /// Resolves when the credential has stopped being valid, with the time at which it did. Takes
    /// no lock.
    pub(crate) async fn ended(&self) -> Instant {
        let flag = &self.0.flag;
        poll_fn(|context| {
            if let Some(ended) = flag.ended.get() {
                return Poll::Ready(*ended);
            }
            flag.waker.register(context.waker());
            // It may have ended before the waker was there.
            flag.ended.get().map_or(Poll::Pending, |ended| Poll::Ready(*ended))
        })
        .await
    }

    /// Resolves `patience` after the end of the grant, however often it is waited for.
    pub(crate) async fn overdue(&self, patience: Duration) {
        let ended = self.ended().await;
        sleep_until(ended + patience).await;
    }

    /// Checks that the credential is valid now, before something new is started.
    ///
    /// # Errors
    /// [`revoked`].
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let has_ended = self.0.flag.ended.get().is_some() || self.0.holder().is_none();
        if has_ended { Err(revoked()) } else { Ok(()) }
    }
}

impl Granted {
    fn holder(&self) -> Option<Caller> {
        self.tickets.holder(&self.credential, &*self.keys)
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.grants.open().remove(&self.number);
    }
}

/// The fault for everything that was open when its credential stopped being valid.
pub(crate) fn revoked() -> Fault {
    let message = "The key or session that opened this is no longer valid: it was revoked or has ended, or this server now requires a key.";
    Fault::new(FaultKind::Authentication, "invalid_api_key", message)
}
