//! Signals: to stop, and to reload the settings.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals to stop. Caught from creation on: a program that reads the greeting may send one at
/// once.
#[cfg(unix)]
pub(crate) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// SIGHUP when the terminal closes; without a terminal it means to reload the settings.
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

    /// Waits for a signal to stop. Returns the exit status of a program that this signal ends.
    pub(crate) async fn next(&mut self) -> u8 {
        let Self { interrupt, terminate, hangup } = self;
        tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            () = received(hangup.as_mut()) => 129,
        }
    }
}

/// The signal to reload the settings (SIGHUP).
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

/// Whether standard error is a terminal.
#[cfg(unix)]
fn is_interactive() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

/// This platform has only Ctrl-C.
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

/// This platform has no such signal; the settings file is watched nevertheless.
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
