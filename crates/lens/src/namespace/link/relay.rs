//! The relay in the middle of the link: frames from one packet socket (packet(7)) to the other,
//! when they are due.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::counts::FrameCounts;
use super::direction::LinkDirection;
use super::settings::LinkSettings;
use crate::moment::Moment;
use crate::namespace::end::{MTU, NetworkEnd};
use crate::namespace::error::NamespaceError;
use crate::system::{packet, socket, timer};

/// The longest frame: with Ethernet's header.
const LONGEST: usize = MTU as usize + 14;

/// How many frames are taken from one side before those that are due get their turn.
const AT_ONCE: usize = 32;

/// How much the kernel may hold for us, if it lets us: a megabyte of frames, each with what the
/// kernel needs besides.
const KERNEL_BYTES: libc::c_int = 4 << 20;

/// How long the kernel may have held a frame. If it seems longer, the clock was set.
const LONGEST_IN_KERNEL: Duration = Duration::from_millis(100);

/// The two directions, and what ends the relay.
#[derive(Debug)]
pub(super) struct FrameRelay {
    near: RelaySide,
    far: RelaySide,
    started: Instant,
    timer: OwnedFd,
    stop: OwnedFd,
}

/// What the middle has of an end: the socket on the interface towards it, and the frames that came
/// from there.
#[derive(Debug)]
struct RelaySide {
    socket: OwnedFd,
    direction: Mutex<LinkDirection>,
}

impl FrameRelay {
    /// A relay between two interfaces of this thread's namespace. All that comes after this returns
    /// will be taken.
    pub(super) fn new(
        [near, far]: [&str; 2],
        settings: LinkSettings,
    ) -> Result<Self, NamespaceError> {
        let failed = |source| NamespaceError::Failed { what: "a timer", source };
        let (timer, stop) = (timer::create().map_err(failed)?, socket::event().map_err(failed)?);
        Ok(Self {
            near: RelaySide::open(near, settings)?,
            far: RelaySide::open(far, settings)?,
            started: now(),
            timer,
            stop,
        })
    }

    /// Takes and gives until it is ended.
    pub(super) fn run(&self) -> io::Result<()> {
        let mut buffer = [0; LONGEST];
        loop {
            let mut next: Option<Duration> = None;
            for from in NetworkEnd::BOTH {
                self.take(from, &mut buffer)?;
                next = next.into_iter().chain(self.give(from)?).min();
            }
            timer::set(
                self.timer.as_fd(),
                next.map(|next| next.saturating_sub(self.started.elapsed())),
            )?;
            let ready = [
                self.stop.as_fd(),
                self.timer.as_fd(),
                self.near.socket.as_fd(),
                self.far.socket.as_fd(),
            ];
            let [is_stopped, ..] = socket::wait(ready, None)?;
            if is_stopped {
                return Ok(());
            }
        }
    }

    /// Asks it to end.
    pub(super) fn stop(&self) {
        socket::signal(self.stop.as_fd());
    }

    /// What comes from an end.
    pub(super) fn direction(&self, from: NetworkEnd) -> MutexGuard<'_, LinkDirection> {
        self.side(from).direction()
    }

    /// What became of the frames from an end.
    pub(super) fn counts(&self, from: NetworkEnd) -> io::Result<FrameCounts> {
        let side = self.side(from);
        let (_, dropped) = packet::statistics(side.socket.as_fd())?;
        let mut direction = side.direction();
        direction.miss(dropped);
        Ok(direction.counts())
    }

    fn side(&self, end: NetworkEnd) -> &RelaySide {
        match end {
            NetworkEnd::Near => &self.near,
            NetworkEnd::Far => &self.far,
        }
    }

    /// Takes what has come from an end.
    fn take(&self, from: NetworkEnd, buffer: &mut [u8]) -> io::Result<()> {
        let side = self.side(from);
        for _ in 0..AT_ONCE {
            match packet::receive(side.socket.as_fd(), buffer) {
                // What the middle itself sends is not on the link.
                Ok(received) if received.direction == libc::PACKET_OUTGOING => {}
                Ok(received) if received.original > buffer.len() => side.direction().miss(1),
                Ok(received) => {
                    let (came, at) = self.when_it_came(received.at);
                    side.direction().push(came, at, &buffer[..received.captured]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the other end what is due. When to do so again.
    fn give(&self, from: NetworkEnd) -> io::Result<Option<Duration>> {
        let (side, to) = (self.side(from), self.side(from.other()).socket.as_fd());
        loop {
            let frame = {
                let mut direction = side.direction();
                let Some(frame) = direction.pop(self.started.elapsed()) else {
                    return Ok(direction.next());
                };
                frame
            };
            match send(to, &frame) {
                Ok(()) => side.direction().arrive(),
                // The other end's queue is full (netdev_max_backlog).
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    side.direction().miss(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The kernel's timestamp of a frame comes from a clock that may be set. So only how long ago
    /// that was is taken from it; and since the clock that is not set is looked at last, a thread
    /// that has to pause here makes the frame late, never early.
    fn when_it_came(&self, at: Option<u64>) -> (Duration, Moment) {
        let now = Moment::now();
        let at = at.map_or(now, Moment);
        (self.started.elapsed().saturating_sub(now.since(at).min(LONGEST_IN_KERNEL)), at)
    }
}

impl RelaySide {
    fn open(interface: &str, settings: LinkSettings) -> Result<Self, NamespaceError> {
        let open = || {
            let descriptor = packet::open()?;
            let socket = descriptor.as_fd();
            socket::set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, KERNEL_BYTES)?;
            socket::set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
            packet::bind(socket, packet::interface_index(interface)?)?;
            Ok(descriptor)
        };
        let socket = open().map_err(|error| NamespaceError::new("packet sockets", error))?;
        Ok(Self { socket, direction: Mutex::new(LinkDirection::new(settings)) })
    }

    fn direction(&self) -> MutexGuard<'_, LinkDirection> {
        self.direction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(to: BorrowedFd<'_>, frame: &[u8]) -> io::Result<()> {
    loop {
        match packet::send(to, frame) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket::wait_for_room(to)?,
            other => return other,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "frames do not wait for a clock that is held")]
fn now() -> Instant {
    Instant::now()
}
