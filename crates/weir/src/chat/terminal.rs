//! The terminal: whether there is one, its size, its capabilities, and its keys during a response.

use std::io::{self, IsTerminal};

use super::render::style::Paint;

/// The size of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Whether both standard input and standard output are a terminal.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Terminals without line editing; rustyline has the same list.
const PLAIN: [&str; 3] = ["dumb", "cons25", "emacs"];

/// What the terminal can show; `None` if it has no escape sequences.
pub(super) fn paint() -> Option<Paint> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_plain =
        |name: std::ffi::OsString| PLAIN.iter().any(|plain| name.eq_ignore_ascii_case(plain));
    if !io::stdout().is_terminal() || std::env::var_os("TERM").is_none_or(is_plain) {
        return None;
    }
    // https://no-color.org
    Some(if is_set("NO_COLOR") { Paint::Weights } else { Paint::Colours })
}

/// The current size, queried every time, so that no resize signal is needed.
#[cfg(unix)]
pub(super) fn size() -> Size {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or(USUAL, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
}

#[cfg(not(unix))]
pub(super) fn size() -> Size {
    USUAL
}

/// The size of a VT100, the customary default.
const USUAL: Size = Size { columns: 80, rows: 24 };

#[cfg(unix)]
pub(super) use keys::{Interrupts, KeyInput, Quiet, restore_on_end};
#[cfg(not(unix))]
pub(super) use no_keys::{Interrupts, KeyInput, Quiet, restore_on_end};

#[cfg(unix)]
mod keys {
    use std::io::{self, PipeWriter, Read};
    use std::task::{Context, Poll, Waker};

    use engine::tasks::Tasks;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tokio::sync::mpsc;

    /// The terminal without echo while nothing reads it: keys, including Ctrl-C and Ctrl-D, stay in
    /// its buffer for the next reader. Dropping this restores its modes.
    pub(in crate::chat) struct Quiet {
        before: Termios,
    }

    impl Quiet {
        pub(in crate::chat) fn enter() -> io::Result<Self> {
            let before = termios::tcgetattr(io::stdin())?;
            let mut modes = unseen(&before);
            modes.local_modes.remove(LocalModes::ISIG);
            termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
            Ok(Self { before })
        }
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            // The terminal may be gone.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        }
    }

    /// The modes without echo, in which a read returns what is available.
    fn unseen(before: &Termios) -> Termios {
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        modes
    }

    /// Keys as they are typed during a response, without echo. Closing or dropping this restores
    /// the terminal's modes.
    pub(in crate::chat) struct KeyInput {
        typed: mpsc::Receiver<Vec<u8>>,
        /// Closing it stops the reader.
        wake: Option<PipeWriter>,
        before: Termios,
    }

    impl KeyInput {
        /// Must be called within the runtime. A thread waits for the keys: tokio's `AsyncFd`, which
        /// needs none, cannot be used without unsafe code.
        pub(in crate::chat) fn watch(tasks: &Tasks) -> io::Result<Self> {
            let before = termios::tcgetattr(io::stdin())?;
            let (woken, wake) = io::pipe()?;
            let (sender, typed) = mpsc::channel(16);
            let mut modes = unseen(&before);
            // Ctrl-C takes effect at once, however much was typed before it.
            modes.local_modes.insert(LocalModes::ISIG);
            termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
            let threads = tasks.clone();
            tasks.spawn("keys", async move {
                // The response continues without keyboard input.
                let _ended = threads.blocking(move || read(&woken, &sender)).await;
            });
            Ok(Self { typed, wake: Some(wake), before })
        }

        /// The next input.
        pub(in crate::chat) async fn next(&mut self) -> Vec<u8> {
            match self.typed.recv().await {
                Some(bytes) => bytes,
                None => std::future::pending().await,
            }
        }

        /// Stops reading, so that the next line gets all further keys; returns input that was not
        /// taken.
        pub(in crate::chat) async fn close(mut self) -> Vec<u8> {
            drop(self.wake.take());
            let mut rest = Vec::new();
            while let Some(bytes) = self.typed.recv().await {
                rest.extend(bytes);
            }
            rest
        }
    }

    impl Drop for KeyInput {
        fn drop(&mut self) {
            // The terminal may be gone.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        }
    }

    /// Reads until it is woken. Not through std's standard input: its buffer would take input that
    /// belongs to the next line.
    fn read(woken: &io::PipeReader, sender: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
        let mut terminal = std::fs::File::from(rustix::io::dup(io::stdin())?);
        loop {
            let mut both =
                [PollFd::new(woken, PollFlags::IN), PollFd::new(&terminal, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) if !both[0].revents().is_empty() => return Ok(()),
                Ok(_) => {}
            }
            let mut bytes = [0; 256];
            let count = terminal.read(&mut bytes)?;
            if count == 0 || sender.blocking_send(bytes[..count].to_vec()).is_err() {
                return Ok(());
            }
        }
    }

    /// Ctrl-C signals since creation.
    pub(in crate::chat) struct Interrupts(Signal);

    impl Interrupts {
        /// Must be called within the runtime.
        pub(in crate::chat) fn watch() -> io::Result<Self> {
            signal(SignalKind::interrupt()).map(Self)
        }

        /// Waits for the next Ctrl-C.
        pub(in crate::chat) async fn next(&mut self) {
            self.0.recv().await;
        }

        /// Discards signals that arrived after what they were meant to stop had ended.
        pub(in crate::chat) fn forget(&mut self) {
            let mut context = Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(())) = self.0.poll_recv(&mut context) {}
        }
    }

    /// Restores the current modes of the terminal when a signal ends the process.
    pub(in crate::chat) fn restore_on_end(tasks: &Tasks) -> io::Result<()> {
        let before = termios::tcgetattr(io::stdin())?;
        let (mut terminate, mut hang_up) =
            (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let running = tasks.clone();
        tasks.spawn("terminal", async move {
            let status = tokio::select! {
                _ = terminate.recv() => 143,
                _ = hang_up.recv() => 129,
                () = running.stopping() => return,
            };
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &before);
            std::process::exit(status);
        });
        Ok(())
    }
}

#[cfg(not(unix))]
mod no_keys {
    use std::io;

    use engine::tasks::Tasks;

    /// On this platform the terminal's modes stay unchanged.
    pub(in crate::chat) struct Quiet;

    impl Quiet {
        pub(in crate::chat) fn enter() -> io::Result<Self> {
            Ok(Self)
        }
    }

    /// On this platform only Ctrl-C is handled during a response.
    pub(in crate::chat) struct KeyInput;

    impl KeyInput {
        pub(in crate::chat) fn watch(_tasks: &Tasks) -> io::Result<Self> {
            Ok(Self)
        }

        pub(in crate::chat) async fn next(&mut self) -> Vec<u8> {
            std::future::pending().await
        }

        pub(in crate::chat) async fn close(self) -> Vec<u8> {
            Vec::new()
        }
    }

    /// Ctrl-C.
    pub(in crate::chat) struct Interrupts;

    impl Interrupts {
        pub(in crate::chat) fn watch() -> io::Result<Self> {
            Ok(Self)
        }

        pub(in crate::chat) async fn next(&mut self) {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }

        pub(in crate::chat) fn forget(&mut self) {}
    }

    pub(in crate::chat) fn restore_on_end(_tasks: &Tasks) -> io::Result<()> {
        Ok(())
    }
}
