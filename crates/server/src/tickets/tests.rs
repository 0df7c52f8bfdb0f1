//! Single use, resumption, and the order in which tickets and sessions are removed.

use engine::keys::{Caller, KeyDigest};
use engine::memory::keys::MemoryKeys;

use super::*;

const EVENTS: &str = "/v1/responses/resp_1/events";

fn credential(key: &str) -> Credential {
    Credential { key: Some(KeyDigest::of(key)), session: None }
}

fn ada() -> Owner {
    Owner::new("ada")
}

fn events(path: &str, is_return: bool) -> TicketTarget<'_> {
    TicketTarget::Events { path, is_return }
}

fn socket() -> TicketTarget<'static> {
    TicketTarget::Socket { path: "/v1/responses" }
}

fn ticket(tickets: &Tickets) -> String {
    tickets.ticket(&ada(), credential("wk_ada"), Purpose::Any).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_one_stream() {
    let tickets = Tickets::default();
    let ticket = ticket(&tickets);
    assert!(tickets.spend("tk_wrong", &events(EVENTS, false)).is_none());
    assert_eq!(tickets.spend(&ticket, &events(EVENTS, false)), Some(credential("wk_ada")));
    assert!(tickets.spend(&ticket, &events(EVENTS, false)).is_none(), "a second use");
    assert!(
        tickets.spend(&ticket, &events("/v1/responses/resp_2/events", true)).is_none(),
        "another stream"
    );
    assert!(tickets.spend(&ticket, &socket()).is_none(), "a socket");
    assert!(
        tickets.spend(&ticket, &TicketTarget::Stream { path: "/v1/responses/resp_1" }).is_none(),
        "another stream of the same response"
    );
    assert!(
        tickets.spend(&ticket, &events(EVENTS, true)).is_some(),
        "the same events, taken up again"
    );
    assert!(tickets.of_session(&ticket).is_none(), "a ticket is no session");
}

/// A ticket that a socket had used was good for `POST` with a `Last-Event-ID`, for an hour.
#[tokio::test(start_paused = true)]
async fn a_ticket_of_a_socket_does_not_return() {
    let tickets = Tickets::default();
    for opening in [socket(), TicketTarget::Stream { path: "/chat" }] {
        let ticket = ticket(&tickets);
        assert!(tickets.spend(&ticket, &opening).is_some());
        assert!(
            tickets.spend(&ticket, &opening).is_none()
                && tickets.spend(&ticket, &events(EVENTS, true)).is_none()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_what_it_is_for() {
    let tickets = Tickets::default();
    let ticket =
        tickets.ticket(&ada(), credential("wk_ada"), Purpose::Path(EVENTS.to_owned())).unwrap();
    assert!(tickets.spend(&ticket, &socket()).is_none());
    assert!(tickets.spend(&ticket, &events("/v1/responses/resp_2/events", false)).is_none());
    assert!(
        tickets.spend(&ticket, &events(EVENTS, false)).is_some(),
        "what it was refused for did not use it up"
    );
}

#[tokio::test(start_paused = true)]
async fn tickets_and_sessions_end() {
    let tickets = Tickets::default();
    let (ticket, session) =
        (ticket(&tickets), tickets.session(&ada(), credential("wk_ada")).unwrap());
    tokio::time::advance(TICKET + Duration::from_secs(1)).await;
    assert!(tickets.spend(&ticket, &socket()).is_none());
    let of_session = tickets.of_session(&session).unwrap();
    assert!(tickets.spend(&session, &socket()).is_none(), "a session is no ticket");
    let of_its = tickets.ticket(&ada(), of_session, Purpose::Any).unwrap();
    tickets.end_session(&session);
    assert!(
        tickets.of_session(&session).is_none() && !tickets.is_session(&of_session.session.unwrap())
    );
    assert!(
        tickets.spend(&of_its, &socket()).is_none(),
        "a ticket ends with the session that made it"
    );
}

/// Ten thousand sessions of one caller logged out all others.
#[tokio::test(start_paused = true)]
async fn each_owner_has_a_share_of_its_own() {
    let tickets = Tickets::default();
    let of_ada = (ticket(&tickets), tickets.session(&ada(), credential("wk_ada")).unwrap());
    let bob = Owner::new("bob");
    let sessions: Vec<_> =
        (0..10 * SESSIONS).map(|_| tickets.session(&bob, credential("wk_bob")).unwrap()).collect();
    let of_bob: Vec<_> = (0..10 * TICKETS)
        .map(|_| tickets.ticket(&bob, credential("wk_bob"), Purpose::Any).unwrap())
        .collect();
    assert!(tickets.of_session(&of_ada.1).is_some());
    assert_eq!(
        sessions.iter().map(|session| tickets.of_session(session).is_some()).collect::<Vec<_>>(),
        newest(sessions.len(), SESSIONS)
    );
    let spent: Vec<_> =
        of_bob.iter().map(|ticket| tickets.spend(ticket, &socket()).is_some()).collect();
    assert_eq!(spent, newest(of_bob.len(), TICKETS));
    assert!(tickets.spend(&of_ada.0, &socket()).is_some());
}

fn newest(count: usize, good: usize) -> Vec<bool> {
    (0..count).map(|index| index >= count - good).collect()
}

#[tokio::test(start_paused = true)]
async fn used_and_expired_tickets_take_no_room() {
    let tickets = Tickets::default();
    for _ in 0..3 * TICKETS {
        let ticket = ticket(&tickets);
        assert!(tickets.spend(&ticket, &socket()).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(tickets.held().tickets.is_empty());
    assert!(tickets.held().shares[&ada()].tickets.len() <= TICKETS);
    let waits = ticket(&tickets);
    tickets.sweep(&MemoryKeys::new([("wk_ada", Caller { owner: ada(), admin: false })]));
    assert!(tickets.spend(&waits, &socket()).is_some());
    tickets
        .sweep(&MemoryKeys::new([("wk_bob", Caller { owner: Owner::new("bob"), admin: false })]));
    let held = tickets.held();
    assert!(held.tickets.is_empty() && held.shares.is_empty());
}
