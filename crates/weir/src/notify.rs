//! Notifications to systemd: ready, reloading, stopping, watchdog (sd_notify(3)). None without
//! `NOTIFY_SOCKET`.

use std::time::Duration;

#[cfg(unix)]
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The connection to systemd.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    #[cfg(unix)]
    line: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Connects as the environment says. A failure is logged once, and does not prevent serving.
    #[cfg(unix)]
    pub(crate) fn of_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let text = |name: &str| std::env::var(name).ok();
        let is_ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let interval =
            text("WATCHDOG_USEC").and_then(|text| text.parse().ok()).map(Duration::from_micros);
        Self {
            line: line(&name),
            watchdog: interval.filter(|interval| is_ours && !interval.is_zero()),
        }
    }

    /// This platform has no systemd.
    #[cfg(not(unix))]
    pub(crate) fn of_environment() -> Self {
        Self::default()
    }

    /// Reports that the server is ready.
    pub(crate) fn ready(&self) {
        self.say("READY=1\nSTATUS=serving\n");
    }

    /// Reports a reload, which [`Self::ready`] ends.
    pub(crate) fn reloading(&self) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_micros()));
    }

    /// Reports that the process is stopping, which may take as long as `longest`.
    pub(crate) fn stopping(&self, longest: Duration) {
        self.say(&format!(
            "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={}\n",
            longest.as_micros()
        ));
    }

    /// Sends a keep-alive to the watchdog.
    pub(crate) fn alive(&self) {
        self.say("WATCHDOG=1\n");
    }

    /// The interval of keep-alives, if the watchdog is on: half of its timeout.
    pub(crate) fn pulse(&self) -> Option<Duration> {
        self.watchdog.map(|interval| interval / 2)
    }

    #[cfg(unix)]
    fn say(&self, words: &str) {
        let Some((socket, address)) = &self.line else { return };
        if let Err(error) = socket.send_to_addr(words.as_bytes(), address) {
            tracing::warn!(%error, "cannot notify systemd");
        }
    }

    #[cfg(not(unix))]
    fn say(&self, _words: &str) {}
}

/// The address of the socket: a path, or a name in Linux's abstract namespace, written with `@`.
#[cfg(unix)]
fn line(name: &std::ffi::OsStr) -> Option<(UnixDatagram, SocketAddr)> {
    let connected = address(name).and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        // A full socket must not block the server.
        socket.set_nonblocking(true)?;
        Ok((socket, address))
    });
    connected.inspect_err(|error| tracing::warn!(%error, "cannot use NOTIFY_SOCKET")).ok()
}

#[cfg(unix)]
fn address(name: &std::ffi::OsStr) -> std::io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::unix::ffi::OsStrExt::as_bytes(name).strip_prefix(b"@") {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(name)
}

/// The clock with which systemd orders reloads.
#[cfg(unix)]
fn monotonic_micros() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

#[cfg(not(unix))]
fn monotonic_micros() -> i64 {
    0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn check(name: &str, receiver: &UnixDatagram) -> std::io::Result<()> {
        let notifier =
            Notifier { line: line(OsStr::new(name)), watchdog: Some(Duration::from_secs(10)) };
        notifier.ready();
        notifier.reloading();
        notifier.stopping(Duration::from_secs(29));
        notifier.alive();
        let mut words = Vec::new();
        for _ in 0..4 {
            let mut buffer = [0; 256];
            let count = receiver.recv(&mut buffer)?;
            words.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
        assert!(words[0].starts_with("READY=1\n"), "{words:?}");
        assert!(
            words[1].starts_with("RELOADING=1\nMONOTONIC_USEC=") && !words[1].contains("=0\n"),
            "{words:?}"
        );
        assert!(
            words[2].starts_with("STOPPING=1\n")
                && words[2].contains("EXTEND_TIMEOUT_USEC=29000000\n"),
            "{words:?}"
        );
        assert_eq!(words[3], "WATCHDOG=1\n");
        assert_eq!(notifier.pulse(), Some(Duration::from_secs(5)));
        Ok(())
    }

    #[test]
    fn notifications_arrive_at_a_path_and_at_an_abstract_name() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("notify");
        check(&path.to_string_lossy(), &UnixDatagram::bind(&path)?)?;
        let name = format!("weir-test-{}", std::process::id());
        let address = <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(
            name.as_bytes(),
        )?;
        check(&format!("@{name}"), &UnixDatagram::bind_addr(&address)?)
    }

    #[test]
    fn without_a_socket_notifications_are_dropped() {
        Notifier::default().ready();
        Notifier { line: line(OsStr::new("/nowhere/notify")), watchdog: None }.ready();
    }
}
