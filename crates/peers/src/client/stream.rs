//! One response of the client, and what has become of it.

use crate::verify::Verifier;

/// One response that is read, or was.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// What has been read of the body and not been scanned.
    pub body: Vec<u8>,
    pub verifier: Verifier,
    /// When its request was sent.
    pub sent: u64,
    pub is_running: bool,
    /// Its number in HTTP/2, and whether its head has come there.
    pub http2: u32,
    pub has_head: bool,
}

/// What has become of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more later.
    More,
    /// It has ended.
    Ended,
    /// It was broken off.
    Cut,
}
