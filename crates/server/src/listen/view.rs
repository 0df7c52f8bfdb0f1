//! A connection as the lens shows it, and which of them are wanted.

use std::net::SocketAddr;
use std::sync::Arc;

use lens::live::{ConnectionRecord, RequestRecord};
use lens::tcp_info::TcpInfo;

use super::protocol::HttpVersion;

/// A connection as the lens shows it: counts and times, and no contents.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionView {
    /// Its number, as in logs.
    pub(crate) id: u64,
    /// The client's address.
    pub(crate) client: SocketAddr,
    /// The peer's address: the client's, or a proxy's.
    pub(crate) peer: SocketAddr,
    /// The local address; `None` if the system does not provide it.
    pub(crate) local: Option<SocketAddr>,
    /// The protocol, once it is known.
    pub(crate) protocol: Option<HttpVersion>,
    /// Received bytes on the network, TLS included.
    pub(crate) received: u64,
    /// How many of them belong to requests.
    pub(crate) claimed: u64,
    /// Sent bytes on the network, TLS included.
    pub(crate) sent: u64,
    /// Whether the socket is still open: counts may grow until it closes, even after one side has.
    pub(crate) is_open: bool,
    /// What happened.
    pub(crate) record: ConnectionRecord,
    /// The kernel's data on the socket, if the system provides it.
    pub(crate) tcp: Option<TcpInfo>,
}

/// The bytes of a last GOAWAY and `close_notify` in TLS, which belong to no request.
const FAREWELL_BYTES: u64 = 128;

impl ConnectionView {
    /// Whether everything on it belongs to the caller of its first request. Unclaimed requests are
    /// attributed to other callers.
    pub(crate) fn has_owner(&self) -> bool {
        !self.record.is_shared && !self.record.is_unclaimed && self.received <= self.most_claimed()
    }

    /// How many received bytes can be of requests, or of a close after them.
    pub(crate) fn most_claimed(&self) -> u64 {
        self.claimed + if self.record.handshake.is_some() { FAREWELL_BYTES } else { 0 }
    }
}

/// Which connections are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionFilter<'a> {
    /// Those with a request of this owner; `None` for all.
    pub(crate) owner: Option<&'a str>,
    /// Those with a request in this lane, by the same owner.
    pub(crate) lane: Option<&'a str>,
}

impl ConnectionFilter<'_> {
    fn is_own(&self, owner: Option<&Arc<str>>) -> bool {
        self.owner.is_none_or(|wanted| owner.is_some_and(|owner| **owner == *wanted))
    }

    /// Whether a connection is one of them.
    pub(crate) fn is_met(&self, view: &ConnectionView) -> bool {
        self.matches(view.record.owner.as_ref(), &mut view.record.requests.iter())
    }

    /// The same, by the owner of its first request and by those that are remembered.
    pub(super) fn matches(
        &self,
        first: Option<&Arc<str>>,
        requests: &mut dyn Iterator<Item = &RequestRecord>,
    ) -> bool {
        let mut own = requests.filter(|request| self.is_own(request.owner.as_ref()));
        match self.lane {
            Some(lane) => own.any(|request| request.lane.as_deref() == Some(lane)),
            None => self.is_own(first) || own.next().is_some(),
        }
    }
}
