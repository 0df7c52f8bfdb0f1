//! What is open on behalf of a caller, and ends when its credential does: streams, sockets, and requests that wait for an answer.
//!
//! A grant keeps the proof (the digest of a key), not a name. Nothing is checked per event: one task looks every 200 ms whether the
//! keys have changed, and only then at all grants.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use engine::keys::{Caller, KeyDigest, Keys};
use futures_util::task::AtomicWaker;
use protocol::fault::{Fault, FaultKind};
use tokio::time::{Instant, sleep, sleep_until};

use crate::app::App;
use crate::tickets::{SessionId, Tickets};

/// How often the keys are looked at. What their revocation ends has ended within two seconds, even if they cannot be read at first.
const LOOK: Duration = Duration::from_millis(200);

/// How often sessions are looked at that end by their age.
const AGED: Duration = Duration::from_secs(30);

/// By what a caller was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Credential {
    /// The digest of the key; `None` where the server wanted none.
    pub(crate) key: Option<KeyDigest>,
    /// The session that stood for it, whether itself or by a ticket.
    pub(crate) session: Option<SessionId>,
}

impl Credential {
    /// Of a server without keys.
    pub(crate) const KEYLESS: Self = Self { key: None, session: None };

    /// Whose it is; `None` where it is nobody's any more.
    pub(crate) fn holder(&self, keys: &dyn Keys, tickets: &Tickets) -> Option<Caller> {
        if self.session.is_some_and(|session| !tickets.is_session(&session)) {
            return None;
        }
        match &self.key {
            Some(key) => keys.holder(key),
            None if keys.configured() => None,
            None => Some(Caller::local()),
        }
    }
}

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

/// The permission of one request, for as long as it is answered. Clones are the same grant, and only one task waits for its end.
#[derive(Clone)]
pub(crate) struct Grant(Arc<Granted>);

struct Granted {
    grants: Arc<Grants>,
    number: u64,
    credential: Credential,
    flag: Arc<Flag>,
    keys: Arc<dyn Keys>,
    tickets: Arc<Tickets>,
}

impl Grants {
    /// Ends what a credential opened that is nobody's any more.
    pub(crate) fn sweep(&self, keys: &dyn Keys, tickets: &Tickets) -> usize {
        let mut known: HashMap<Credential, bool> = HashMap::new();
        let ended: Vec<Arc<Flag>> = {
            let open = self.open();
            let is_good = |credential: &Credential| credential.holder(keys, tickets).is_some();
            let ended = open.values().filter(|(credential, _)| !*known.entry(*credential).or_insert_with(|| is_good(credential)));
            ended.map(|(_, flag)| Arc::clone(flag)).collect()
        };
        ended.iter().filter(|flag| !flag.end()).count()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, (Credential, Arc<Flag>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flag {
    /// Gives whether it had ended before.
    fn end(&self) -> bool {
        let is_first = self.ended.set(Instant::now()).is_ok();
        self.waker.wake();
        !is_first
    }
}

impl Grant {
    /// Grants what this credential may open, and says to whom.
    ///
    /// The grant is among the others before its credential is checked: no revocation falls in between.
    pub(crate) fn open(app: &App, credential: Credential) -> Option<(Self, Caller)> {
        let (number, flag) = (app.grants.next.fetch_add(1, Ordering::Relaxed), Arc::<Flag>::default());
        app.grants.open().insert(number, (credential, Arc::clone(&flag)));
        let (grants, keys, tickets) = (Arc::clone(&app.grants), Arc::clone(&app.keys), Arc::clone(&app.tickets));
        let granted = Self(Arc::new(Granted { grants, number, credential, flag, keys, tickets }));
        let caller = credential.holder(&*app.keys, &app.tickets)?;
        Some((granted, caller))
    }

    /// Resolves when the credential is nobody's any more, and gives when that was. Costs no lock.
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

    /// Whether the credential is good at this moment, for what begins something new.
    ///
    /// # Errors
    /// [`revoked`].
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let Granted { credential, flag, keys, tickets, .. } = &*self.0;
        let has_ended = flag.ended.get().is_some() || credential.holder(&**keys, tickets).is_none();
        if has_ended { Err(revoked()) } else { Ok(()) }
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.grants.open().remove(&self.number);
    }
}

/// What is said on whatever was open when its credential ended.
pub(crate) fn revoked() -> Fault {
    let message =
        "The key or session that opened this is not known here any more: it was revoked or has ended, or this server wants a key now.";
    Fault::new(FaultKind::Authentication, "invalid_api_key", message)
}

/// Ends what stands on credentials that are nobody's any more, until the server stops: what is open, sessions and tickets, and the
/// responses that run for their owners.
pub async fn watch(app: App) {
    let (mut version, mut swept, mut was_unreadable) = (app.keys.version(), Instant::now(), app.keys.is_unreadable());
    loop {
        tokio::select! {
            () = app.tasks.stopping() => return,
            () = sleep(LOOK) => {}
        }
        let is_unreadable = app.keys.is_unreadable();
        // A file that is just being written is read again before everybody is sent away.
        let is_settled = !is_unreadable || was_unreadable;
        was_unreadable = is_unreadable;
        let now = app.keys.version();
        if is_settled && (now != version || swept.elapsed() >= AGED) {
            (version, swept) = (now, Instant::now());
            sweep(&app);
        }
        // Always: a request may be on its way to a start when its key is revoked.
        for owner in app.engine.owners().iter().filter(|owner| !app.keys.admits(owner)) {
            let stopped = app.engine.revoke(owner);
            tracing::info!(%owner, stopped, "stopped what ran for a key that was revoked");
        }
    }
}

/// Ends at once what stands on credentials that are nobody's any more.
pub(crate) fn sweep(app: &App) {
    app.tickets.sweep(&*app.keys);
    let ended = app.grants.sweep(&*app.keys, &app.tickets);
    if ended > 0 {
        tracing::info!(ended, "ended streams and sockets whose key or session is not good any more");
    }
}
