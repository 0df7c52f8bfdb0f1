//! What the system tells the process: to stop, and to read its settings again.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals are caught from the moment this is made: who reads the greeting may send one at once.
#[cfg(unix)]
pub(crate) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// A terminal that is closed; who serves without one is told to read its settings again instead.
    hangup: Option<Signal>,
}

#[cfg(unix)]
impl Stops {
    pub(crate) fn new() -> io::Result<Self> {
        let hangup = if is_interactive() { Some(signal(SignalKind::hangup())?) } else { None };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Resolves when the process is told to stop. Gives the exit status of a program that such a signal ends.
    pub(crate) async fn next(&mut self) -> u8 {
        let Self { interrupt, terminate, hangup } = self;
        tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            () = received(hangup.as_mut()) => 129,
        }
    }
}

/// Resolves when the process is told to read its settings again (SIGHUP).
#[cfg(unix)]
pub(crate) struct Reloads(Option<Signal>);

#[cfg(unix)]
impl Reloads {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(if is_interactive() { None } else { Some(signal(SignalKind::hangup())?) }))
    }

    pub(crate) async fn next(&mut self) {
        received(self.0.as_mut()).await;
    }
}

#[cfg(unix)]
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether a person watches.
#[cfg(unix)]
fn is_interactive() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

/// Ctrl-C is all there is.
#[cfg(not(unix))]
pub(crate) struct Stops;

#[cfg(not(unix))]
impl Stops {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> u8 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        130
    }
}

/// Nobody says it here; the file of settings is watched all the same.
#[cfg(not(unix))]
pub(crate) struct Reloads;

#[cfg(not(unix))]
impl Reloads {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) {
        std::future::pending().await
    }
}
