//! A copy of the bytes of a connection, above TLS. A measurement compares it with the capture and
//! with the server's counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::runtime::now;

/// How many bytes of each direction are kept, as a bound on memory; the rest is only counted.
const MAX_KEPT: usize = 16 << 20;

/// How many reads or writes of each direction are kept with their times; the rest is only counted.
const MAX_CALLS: usize = 1 << 16;

/// The tap of one connection. Clones share it; it can be read while the connection is open and
/// after.
#[derive(Clone, Debug, Default)]
pub struct Tap(Arc<Mutex<TappedBytes>>);

/// The bytes of both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TappedBytes {
    /// From the client to the server.
    pub up: DirectionBytes,
    /// From the server to the client.
    pub down: DirectionBytes,
}

/// The bytes of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectionBytes {
    /// The first bytes, at most 16 MiB.
    pub bytes: Vec<u8>,
    /// How many bytes there were, kept or not.
    pub length: u64,
    /// The number of reads or writes.
    pub calls: u64,
    /// The first reads or writes, at most 65,536.
    pub kept_calls: Vec<TappedCall>,
}

/// One read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TappedCall {
    /// When it returned.
    pub at: Instant,
    /// The length of the direction's bytes after it.
    pub end: u64,
}

impl DirectionBytes {
    fn push(&mut self, bytes: &[u8]) {
        let room = MAX_KEPT - self.bytes.len().min(MAX_KEPT);
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
        self.calls += 1;
        if self.kept_calls.len() < MAX_CALLS {
            self.kept_calls.push(TappedCall { at: now(), end: self.length });
        }
    }
}

impl Tap {
    /// The bytes so far.
    pub fn tapped(&self) -> TappedBytes {
        self.lock().clone()
    }

    pub(crate) fn up(&self, bytes: &[u8]) {
        self.lock().up.push(bytes);
    }

    pub(crate) fn down(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.lock().down.push(bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, TappedBytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
