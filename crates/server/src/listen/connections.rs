//! How many connections there are, were, and may be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::cores::CoreSlot;

use super::register::Register;
use super::traffic::Traffic;
use crate::config::Config;
use crate::network::is_trusted;

/// The default limit on connections of an address beyond loopback.
const PER_ADDRESS: usize = 1000;

/// How many refused connections get a response at once; the rest are closed without one.
const MAX_REFUSALS: usize = 64;

/// How many connections there are and were.
#[derive(Debug, Default)]
pub struct Connections {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    refusing: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    traffic: Arc<Traffic>,
    register: Arc<Register>,
}

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// `server.connections`.
    All,
    /// `server.connections_per_address`.
    Address,
}

impl Full {
    /// The message for the client.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::All => "the connection limit of this server is reached (server.connections)",
            Self::Address => {
                "the connection limit of this address is reached (server.connections_per_address)"
            }
        }
    }
}

impl Connections {
    /// How many are open.
    pub fn open(&self) -> u64 {
        self.opened.load(Ordering::Relaxed).saturating_sub(self.closed.load(Ordering::Relaxed))
    }

    /// How many were refused, because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Those that the lens shows.
    pub(crate) fn register(&self) -> &Register {
        &self.register
    }

    /// The counts of what goes over them.
    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Takes a place for a connection of `address`, and its number.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        config: &Config,
    ) -> Result<(ConnectionSlot, u64), Full> {
        let full = |full| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Err(full)
        };
        if self.open() >= config.connections as u64 {
            return full(Full::All);
        }
        let Some(address) = self.take(address, config) else { return full(Full::Address) };
        let id = self.opened.fetch_add(1, Ordering::Relaxed);
        Ok((ConnectionSlot { connections: Arc::clone(self), address, core: None }, id))
    }

    /// Takes one of an address's places. A trusted proxy stands for many clients, so its
    /// connections are not limited.
    fn take(&self, address: IpAddr, config: &Config) -> Option<IpAddr> {
        let is_free = is_trusted(&config.trusted_proxies, address);
        let address = network(address);
        let most = match config.connections_per_address {
            _ if is_free => usize::MAX,
            0 if address.is_loopback() => usize::MAX,
            0 => PER_ADDRESS,
            most => most,
        };
        let mut by_address = self.by_address();
        let count = by_address.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(address)
    }

    /// Releases it.
    fn give(&self, address: IpAddr) {
        let mut by_address = self.by_address();
        match by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(by_address.remove(&address)),
        }
    }

    /// The right to send a refusal; `None` where too many are being sent.
    pub(super) fn refuse(self: &Arc<Self>) -> Option<Refusing> {
        let refusing = Refusing(Arc::clone(self));
        (self.refusing.fetch_add(1, Ordering::Relaxed) < MAX_REFUSALS).then_some(refusing)
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that counts: one customer has a whole /64 of IPv6 (RFC 6177), and an IPv4 address is
/// the same mapped or not.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// The place of a connection, released on drop.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    connections: Arc<Connections>,
    /// Its slot among the connections of a core.
    core: Option<CoreSlot>,
    address: IpAddr,
}

impl ConnectionSlot {
    /// Its tasks run on this core.
    pub(super) fn runs_on(&mut self, core: Option<CoreSlot>) {
        self.core = core;
    }

    /// Where its bytes are counted.
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.connections.traffic)
    }

    /// Where it is listed for the lens.
    pub(super) fn register(&self) -> Arc<Register> {
        Arc::clone(&self.connections.register)
    }

    /// Counts it under the client's address that a proxy names, instead of the proxy's.
    pub(super) fn belongs_to(&mut self, address: IpAddr, config: &Config) -> Result<(), Full> {
        let Some(address) = self.connections.take(address, config) else {
            self.connections.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Full::Address);
        };
        self.connections.give(std::mem::replace(&mut self.address, address));
        Ok(())
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.closed.fetch_add(1, Ordering::Relaxed);
        self.connections.give(self.address);
    }
}

/// A refusal that is being sent, until it is dropped.
#[derive(Debug)]
pub(super) struct Refusing(Arc<Connections>);

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.refusing.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(
        connections: &Arc<Connections>,
        address: &str,
        config: &Config,
    ) -> Result<ConnectionSlot, Full> {
        connections.admit(address.parse().unwrap(), config).map(|(open, _)| open)
    }

    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let config = Config { connections: 3, connections_per_address: 2, ..Config::default() };
        let connections = Arc::new(Connections::default());
        let first = admit(&connections, "192.0.2.1", &config).unwrap();
        let _second = admit(&connections, "::ffff:192.0.2.1", &config).unwrap();
        assert_eq!(admit(&connections, "192.0.2.1", &config).err(), Some(Full::Address));
        let _third = admit(&connections, "2001:db8::1", &config).unwrap();
        assert_eq!(admit(&connections, "192.0.2.2", &config).err(), Some(Full::All));
        drop(first);
        let _fourth = admit(&connections, "2001:db8::2", &config).unwrap();
        assert_eq!(
            (connections.open(), connections.refused(), connections.by_address().len()),
            (3, 2, 2)
        );
    }

    #[test]
    fn loopback_has_no_limit_of_its_own_unless_one_is_set() {
        let connections = Arc::new(Connections::default());
        let config = Config::default();
        let held: Vec<_> = (0..=PER_ADDRESS)
            .filter_map(|_| admit(&connections, "127.0.0.1", &config).ok())
            .collect();
        assert_eq!(held.len(), PER_ADDRESS + 1);
        let held: Vec<_> = (0..=PER_ADDRESS)
            .filter_map(|_| admit(&connections, "192.0.2.1", &config).ok())
            .collect();
        assert_eq!(held.len(), PER_ADDRESS);
    }
}
