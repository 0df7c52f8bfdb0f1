//! A copy of what passes on a connection, above TLS: what a measurement compares with the capture and with the server's own counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of each direction that much is kept; what is over it is only counted.
const KEPT: usize = 16 << 20;

/// The tap of one connection, which others can read while it is open and after.
#[derive(Clone, Debug, Default)]
pub struct Tap(Arc<Mutex<Tapped>>);

/// What has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tapped {
    /// From the client to the server.
    pub up: Passed,
    /// From the server to the client.
    pub down: Passed,
}

/// One direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// The first bytes.
    pub bytes: Vec<u8>,
    /// How many bytes there were, kept or not.
    pub length: u64,
    /// How many reads or writes they came by.
    pub calls: u64,
}

impl Passed {
    fn push(&mut self, bytes: &[u8]) {
        let room = KEPT - self.bytes.len().min(KEPT);
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
        self.calls += 1;
    }
}

impl Tap {
    /// What has passed by now.
    pub fn tapped(&self) -> Tapped {
        self.lock().clone()
    }

    pub(super) fn up(&self, bytes: &[u8]) {
        self.lock().up.push(bytes);
    }

    pub(super) fn down(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.lock().down.push(bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tapped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
