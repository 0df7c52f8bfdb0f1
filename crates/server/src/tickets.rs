//! Tickets and sessions: how a browser's `EventSource` and `WebSocket`, which cannot send a key, show whose they are.
//!
//! Both stand for a key and are worth what it is worth when they are shown: a revoked key takes them with it. They live in
//! memory, hashed, and never hold the caller's name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::secret::Secret;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// How long a ticket waits to be used.
pub(crate) const TICKET: Duration = Duration::from_secs(60);

/// How long a ticket that was used lets the same stream be taken up again: an `EventSource` comes back by itself.
const RETURN: Duration = Duration::from_secs(3600);

/// How long a session lasts.
pub(crate) const SESSION: Duration = Duration::from_secs(12 * 3600);

/// How many there may be; the oldest goes when one more is made.
const MOST: usize = 10_000;

/// All tickets and sessions of the process.
#[derive(Debug, Default)]
pub struct Tickets {
    held: Mutex<HashMap<[u8; 32], Held>>,
}

#[derive(Debug)]
struct Held {
    /// The key it stands for; `None` where the server wanted none.
    key: Option<Secret>,
    kind: Kind,
    expires: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Session,
    Unused,
    /// Spent on this path.
    Used(String),
}

/// What was shown in place of a key: the key itself, or the knowledge that none was wanted.
pub(crate) struct Shown(pub(crate) Option<Secret>);

impl Tickets {
    /// Makes a ticket for one stream.
    pub(crate) fn ticket(&self, key: Option<Secret>) -> Option<String> {
        self.make("tk_", key, Kind::Unused, TICKET)
    }

    /// Makes a session, for a cookie.
    pub(crate) fn session(&self, key: Option<Secret>) -> Option<String> {
        self.make("ws_", key, Kind::Session, SESSION)
    }

    /// Spends a ticket on the stream at `path`. `returning` is true for a client that says where it was cut: it may take
    /// up the same stream again, and no other.
    pub(crate) fn spend(&self, ticket: &str, path: &str, returning: bool) -> Option<Shown> {
        let mut held = self.held();
        let found = held.get_mut(&hash(ticket)).filter(|found| found.expires > Instant::now())?;
        match &found.kind {
            Kind::Unused => {
                found.kind = Kind::Used(path.to_owned());
                found.expires = Instant::now() + RETURN;
            }
            Kind::Used(stream) if returning && stream == path => {}
            Kind::Used(_) | Kind::Session => return None,
        }
        Some(Shown(found.key.clone()))
    }

    /// Whose session this is.
    pub(crate) fn of_session(&self, session: &str) -> Option<Shown> {
        let held = self.held();
        let found = held.get(&hash(session)).filter(|found| found.expires > Instant::now() && found.kind == Kind::Session)?;
        Some(Shown(found.key.clone()))
    }

    /// Ends a session.
    pub(crate) fn end_session(&self, session: &str) {
        self.held().remove(&hash(session));
    }

    fn make(&self, prefix: &str, key: Option<Secret>, kind: Kind, lifetime: Duration) -> Option<String> {
        let mut random = [0_u8; 24];
        getrandom::fill(&mut random).ok()?;
        let text = random.iter().fold(prefix.to_owned(), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(digit), 16));
            }
            text
        });
        let mut held = self.held();
        if held.len() >= MOST {
            let now = Instant::now();
            held.retain(|_, held| held.expires > now);
        }
        if held.len() >= MOST
            && let Some(oldest) = held.iter().min_by_key(|(_, held)| held.expires).map(|(hash, _)| *hash)
        {
            held.remove(&oldest);
        }
        held.insert(hash(&text), Held { key, kind, expires: Instant::now() + lifetime });
        Some(text)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<[u8; 32], Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ticket_opens_one_stream() {
        let tickets = Tickets::default();
        let ticket = tickets.ticket(None).unwrap_or_default();
        assert!(tickets.spend("tk_wrong", "/a", false).is_none());
        assert!(tickets.spend(&ticket, "/a", false).is_some());
        assert!(tickets.spend(&ticket, "/a", false).is_none(), "a second use");
        assert!(tickets.spend(&ticket, "/b", true).is_none(), "another stream");
        assert!(tickets.spend(&ticket, "/a", true).is_some(), "the same stream, taken up again");
        assert!(tickets.of_session(&ticket).is_none(), "a ticket is no session");
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_and_sessions_end() {
        let tickets = Tickets::default();
        let (ticket, session) = (tickets.ticket(None).unwrap_or_default(), tickets.session(None).unwrap_or_default());
        tokio::time::advance(TICKET + Duration::from_secs(1)).await;
        assert!(tickets.spend(&ticket, "/a", false).is_none());
        assert!(tickets.of_session(&session).is_some());
        assert!(tickets.spend(&session, "/a", false).is_none(), "a session is no ticket");
        tickets.end_session(&session);
        assert!(tickets.of_session(&session).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_too_many() {
        let tickets = Tickets::default();
        let first = tickets.ticket(None).unwrap_or_default();
        for _ in 0..MOST {
            drop(tickets.session(None));
        }
        assert!(tickets.spend(&first, "/a", false).is_none());
        assert_eq!(tickets.held().len(), MOST);
    }
}
