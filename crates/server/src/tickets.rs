//! Tickets and sessions, by which a browser's `EventSource` and `WebSocket`, which cannot send a
//! key, authenticate.
//!
//! Both refer to a key, by its digest, and are valid as long as it is: revoking the key ends them.
//! A ticket opens one stream or socket, once; one that was made by a session ends with it. They are
//! kept in memory, hashed, and each owner has a share of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::keys::{Caller, KeyStore};
use protocol::id::Owner;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::credential::{Credential, SessionId};

pub(crate) mod purpose;

use purpose::{Purpose, TicketTarget};

/// How long a ticket may be used for the first time.
pub(crate) const TICKET: Duration = Duration::from_secs(60);

/// How long a used ticket may resume the same events: an `EventSource` reconnects by itself.
const RETURN: Duration = Duration::from_secs(3600);

/// How long a session lasts.
pub(crate) const SESSION: Duration = Duration::from_secs(12 * 3600);

/// How many sessions one owner may have; its oldest goes when one more is made.
const SESSIONS: usize = 64;

/// How many tickets one owner may have, used ones that may resume included.
const TICKETS: usize = 256;

/// The SHA-256 of a ticket or of a session's cookie.
type Hash = [u8; 32];

/// All tickets and sessions of the process.
#[derive(Debug, Default)]
pub struct Tickets {
    held: Mutex<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    sessions: HashMap<Hash, Session>,
    tickets: HashMap<Hash, Ticket>,
    /// What each owner has, oldest first. Expired ones are removed later.
    shares: HashMap<Owner, OwnedTickets>,
}

#[derive(Debug, Default)]
struct OwnedTickets {
    sessions: VecDeque<Hash>,
    tickets: VecDeque<Hash>,
}

#[derive(Debug)]
struct Session {
    credential: Credential,
    expires: Instant,
}

#[derive(Debug)]
struct Ticket {
    credential: Credential,
    purpose: Purpose,
    state: TicketState,
    expires: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TicketState {
    Unused,
    /// Spent on the events at this path.
    Used(String),
}

impl Tickets {
    /// Makes a ticket for one stream.
    pub(crate) fn ticket(
        &self,
        owner: &Owner,
        credential: Credential,
        purpose: Purpose,
    ) -> Option<String> {
        let (text, hash) = random("tk_")?;
        let mut held = self.held();
        let Stored { tickets, shares, .. } = &mut *held;
        make_room(
            tickets,
            &mut shares.entry(owner.clone()).or_default().tickets,
            TICKETS,
            hash,
            |ticket| ticket.expires,
        );
        tickets.insert(
            hash,
            Ticket {
                credential,
                purpose,
                state: TicketState::Unused,
                expires: Instant::now() + TICKET,
            },
        );
        Some(text)
    }

    /// Makes a session, for a cookie.
    pub(crate) fn session(&self, owner: &Owner, credential: Credential) -> Option<String> {
        let (text, hash) = random("ws_")?;
        let credential = Credential { session: Some(SessionId(hash)), ..credential };
        let mut held = self.held();
        let Stored { sessions, shares, .. } = &mut *held;
        make_room(
            sessions,
            &mut shares.entry(owner.clone()).or_default().sessions,
            SESSIONS,
            hash,
            |session| session.expires,
        );
        sessions.insert(hash, Session { credential, expires: Instant::now() + SESSION });
        Some(text)
    }

    /// Spends a ticket on what a request opens.
    pub(crate) fn spend(&self, ticket: &str, opening: &TicketTarget<'_>) -> Option<Credential> {
        let hash = hash(ticket);
        let mut held = self.held();
        let found = held
            .tickets
            .get_mut(&hash)
            .filter(|found| found.expires > Instant::now() && found.purpose.admits(opening))?;
        let credential = found.credential;
        match (&found.state, opening) {
            (TicketState::Unused, TicketTarget::Events { path, .. }) => {
                found.state = TicketState::Used((*path).to_owned());
                found.expires = Instant::now() + RETURN;
            }
            (TicketState::Unused, TicketTarget::Socket { .. } | TicketTarget::Stream { .. }) => {
                drop(held.tickets.remove(&hash));
            }
            (TicketState::Used(events), TicketTarget::Events { path, is_return: true })
                if events == path => {}
            (
                TicketState::Used(_),
                TicketTarget::Events { .. }
                | TicketTarget::Socket { .. }
                | TicketTarget::Stream { .. },
            ) => return None,
        }
        Some(credential)
    }

    /// The credential of a session.
    pub(crate) fn of_session(&self, session: &str) -> Option<Credential> {
        let held = self.held();
        let found =
            held.sessions.get(&hash(session)).filter(|found| found.expires > Instant::now())?;
        Some(found.credential)
    }

    /// The caller that holds a credential; `None` where it is no longer valid.
    pub(crate) fn holder(&self, credential: &Credential, keys: &dyn KeyStore) -> Option<Caller> {
        if credential.session.is_some_and(|session| !self.is_session(&session)) {
            return None;
        }
        match &credential.key {
            Some(key) => keys.holder(key),
            None if keys.configured() => None,
            None => Some(Caller::local()),
        }
    }

    /// Whether a session has not ended yet.
    fn is_session(&self, session: &SessionId) -> bool {
        self.held().sessions.get(&session.0).is_some_and(|found| found.expires > Instant::now())
    }

    /// Ends a session, and the tickets that it made.
    pub(crate) fn end_session(&self, session: &str) {
        let hash = hash(session);
        let mut held = self.held();
        if held.sessions.remove(&hash).is_some() {
            held.tickets.retain(|_, ticket| ticket.credential.session != Some(SessionId(hash)));
        }
    }

    /// Removes everything that has expired, or whose key is no longer valid.
    pub(crate) fn sweep(&self, keys: &dyn KeyStore) {
        let now = Instant::now();
        let is_good = |credential: &Credential| match &credential.key {
            Some(key) => keys.holder(key).is_some(),
            None => !keys.configured(),
        };
        // A key that cannot be looked up now opens nothing, and may be readable again later.
        let is_lost = |credential: &Credential| !keys.is_unreadable() && !is_good(credential);
        let mut held = self.held();
        let Stored { sessions, tickets, shares } = &mut *held;
        sessions.retain(|_, session| session.expires > now && !is_lost(&session.credential));
        tickets.retain(|_, ticket| ticket.expires > now && !is_lost(&ticket.credential));
        shares.retain(|_, share| {
            share.sessions.retain(|hash| sessions.contains_key(hash));
            share.tickets.retain(|hash| tickets.contains_key(hash));
            !share.sessions.is_empty() || !share.tickets.is_empty()
        });
    }

    fn held(&self) -> MutexGuard<'_, Stored> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts `new` into a share of at most `most`: removed and expired ones make room first, then the
/// oldest.
fn make_room<Kind>(
    all: &mut HashMap<Hash, Kind>,
    share: &mut VecDeque<Hash>,
    most: usize,
    new: Hash,
    expires: impl Fn(&Kind) -> Instant,
) {
    if share.len() >= most {
        let now = Instant::now();
        share.retain(|hash| {
            let is_good = all.get(hash).is_some_and(|kept| expires(kept) > now);
            if !is_good {
                all.remove(hash);
            }
            is_good
        });
    }
    while share.len() >= most
        && let Some(oldest) = share.pop_front()
    {
        all.remove(&oldest);
    }
    share.push_back(new);
}

/// A random text, and its hash.
fn random(prefix: &str) -> Option<(String, Hash)> {
    let mut random = [0_u8; 24];
    getrandom::fill(&mut random).ok()?;
    let text = random.iter().fold(prefix.to_owned(), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    });
    let hash = hash(&text);
    Some((text, hash))
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests;
