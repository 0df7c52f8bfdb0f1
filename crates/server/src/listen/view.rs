//! A connection as the lens shows it, and which of them somebody wants to see.

use std::net::SocketAddr;
use std::sync::Arc;

use lens::live::{Record, Request};
use lens::tcp_info::TcpInfo;

use super::io::Protocol;

/// A connection as the lens shows it: counts and times, and no contents.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Its number, as in logs.
    pub(crate) id: u64,
    /// The caller that it belongs to.
    pub(crate) client: SocketAddr,
    /// Who made it.
    pub(crate) peer: SocketAddr,
    /// Where it arrived; unknown where the system did not say.
    pub(crate) local: Option<SocketAddr>,
    /// What is spoken, once that is known.
    pub(crate) protocol: Option<Protocol>,
    /// Bytes on the network, up to and with TLS.
    pub(crate) received: u64,
    /// As much of it as belongs to requests.
    pub(crate) claimed: u64,
    /// The same from us.
    pub(crate) sent: u64,
    /// Whether the socket is still there: until then counts may grow, also when one side has closed.
    pub(crate) is_open: bool,
    /// What happened.
    pub(crate) record: Record,
    /// What the kernel knows of the socket, where it says so.
    pub(crate) tcp: Option<TcpInfo>,
}

/// What TLS says last, and belongs to no request: a goodbye of HTTP/2 and one of TLS.
const GOODBYE: u64 = 128;

impl View {
    /// Whether everything on it is the caller's who asked on it first. Where it is not known yet whose something is, it is not.
    pub(crate) fn is_ones_own(&self) -> bool {
        !self.record.is_shared && !self.record.is_unclaimed && self.received <= self.most_claimed()
    }

    /// As many bytes can be of requests, or of a goodbye behind them.
    pub(crate) fn most_claimed(&self) -> u64 {
        self.claimed + if self.record.handshake.is_some() { GOODBYE } else { 0 }
    }
}

/// Which connections somebody wants to see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Those on which this owner asked; `None` for all.
    pub(crate) owner: Option<&'a str>,
    /// Those with a request of that lane, which must be the owner's too.
    pub(crate) lane: Option<&'a str>,
}

impl Wanted<'_> {
    fn is_own(&self, owner: Option<&Arc<str>>) -> bool {
        self.owner.is_none_or(|wanted| owner.is_some_and(|owner| **owner == *wanted))
    }

    /// Whether a connection is one of them.
    pub(crate) fn is_met(&self, view: &View) -> bool {
        self.matches(view.record.owner.as_ref(), &mut view.record.requests.iter())
    }

    /// The same, by the owner of its first request and by those that are remembered.
    pub(super) fn matches(&self, first: Option<&Arc<str>>, requests: &mut dyn Iterator<Item = &Request>) -> bool {
        let mut own = requests.filter(|request| self.is_own(request.owner.as_ref()));
        match self.lane {
            Some(lane) => own.any(|request| request.lane.as_deref() == Some(lane)),
            None => self.is_own(first) || own.next().is_some(),
        }
    }
}
