//! A pseudo-terminal running a program: sends keys, and waits for what the screen shows.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use vt100::Parser;

/// A program in a terminal; dropping it kills the program.
pub(super) struct PseudoTerminal {
    child: Child,
    control: File,
    screen: Arc<Mutex<Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
    changes: watch::Receiver<u64>,
    reading: Option<JoinHandle<()>>,
}

fn size(columns: u16, rows: u16) -> (NonZero<u16>, NonZero<u16>) {
    (NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap())
}

fn resize_to(control: &File, columns: u16, rows: u16) {
    tcsetwinsize(control, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
        .unwrap();
}

impl PseudoTerminal {
    /// Starts `command` in a terminal of this size.
    pub(super) fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&control).unwrap();
        unlockpt(&control).unwrap();
        let name = ptsname(&control, Vec::new()).unwrap().into_string().unwrap();
        let control = File::from(control);
        resize_to(&control, columns, rows);
        let inside = || Stdio::from(OpenOptions::new().read(true).write(true).open(&name).unwrap());
        // setsid(1) makes the terminal the controlling terminal, so that Ctrl-C works.
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => setsid.env(name, value),
                None => setsid.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            setsid.current_dir(directory);
        }
        let child = setsid.stdin(inside()).stdout(inside()).stderr(inside()).spawn().unwrap();
        let (rows, columns) = size(columns, rows);
        let screen = Arc::new(Mutex::new(Parser::new(rows, columns, 1000)));
        let (changed, changes) = watch::channel(0);
        let written = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&written);
        let (shown, mut out, mut answers) =
            (Arc::clone(&screen), control.try_clone().unwrap(), control.try_clone().unwrap());
        let reading = spawn_blocking(move || {
            let mut bytes = [0; 4096];
            // Linux reports EIO once the program has closed its side.
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                copy.lock().unwrap().extend_from_slice(&bytes[..count]);
                let mut screen = shown.lock().unwrap();
                screen.process(&bytes[..count]);
                // Responds to a request for the cursor position.
                if bytes[..count].windows(4).any(|window| window == b"\x1b[6n") {
                    let (row, column) = screen.screen().cursor_position();
                    drop(write!(answers, "\x1b[{};{}R", row + 1, column + 1));
                }
                drop(screen);
                changed.send_modify(|count| *count += 1);
            }
        });
        Self { child, control, screen, written, changes, reading: Some(reading) }
    }

    /// Types keys.
    pub(super) fn press(&mut self, keys: &str) {
        self.control.write_all(keys.as_bytes()).unwrap();
    }

    /// The visible screen, without trailing spaces.
    pub(super) fn shown(&self) -> String {
        let contents = self.screen.lock().unwrap().screen().contents();
        contents.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// The visible screen with its colour escape sequences.
    pub(super) fn painted(&self) -> String {
        self.screen.lock().unwrap().screen().contents_formatted()
    }

    /// Everything the program has written, escape sequences included.
    pub(super) fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits until the screen satisfies `is_so`.
    pub(super) async fn until(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        let seen = async {
            loop {
                self.changes.borrow_and_update();
                let shown = self.shown();
                if is_so(&shown) || self.changes.changed().await.is_err() {
                    return shown;
                }
            }
        };
        let shown = client::soon(seen).await;
        let shown = shown.unwrap_or_else(|_late| panic!("it shows:\n{}", self.shown()));
        assert!(is_so(&shown), "it ended with:\n{shown}");
        shown
    }

    /// Waits until the screen shows `text`.
    pub(super) async fn wait_for(&mut self, text: &str) -> String {
        self.until(|shown| shown.contains(text)).await
    }

    /// Waits for the input prompt.
    pub(super) async fn prompt(&mut self) {
        self.until(|shown| shown.ends_with("\n>")).await;
    }

    /// Resizes the window.
    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        let (high, wide) = size(columns, rows);
        self.screen.lock().unwrap().screen_mut().set_size(high, wide);
        resize_to(&self.control, columns, rows);
    }

    /// Waits for the program to exit; returns its exit status.
    pub(super) async fn ended(mut self) -> Option<i32> {
        if let Some(reading) = self.reading.take() {
            client::soon(reading)
                .await
                .unwrap_or_else(|_late| panic!("it runs on:\n{}", self.shown()))
                .unwrap();
        }
        self.child.wait().unwrap().code()
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        // It may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
