//! Receive timestamps of the kernel, which it enables only some time after they are requested.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use crate::moment::Moment;
use crate::system::{packet, socket};

/// A socket that wants times. While there is one, packets have them.
#[derive(Debug)]
pub(super) struct KernelTimestamps {
    socket: UdpSocket,
    /// Whether packets have their times by now.
    pub(super) have_begun: bool,
}

/// How long the kernel may take to enable them. It waits for its workers, a millisecond or so
/// (net_enable_timestamp()).
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries.
const PAUSE: Duration = Duration::from_micros(500);

impl KernelTimestamps {
    /// Waits until packets have times. Those that came without would be given the time at which
    /// they are read.
    #[expect(clippy::disallowed_methods, reason = "a capture is begun by a thread that may block")]
    pub(super) fn begin() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        socket::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        let (mut stamps, began) = (Self { socket, have_begun: false }, Moment::now());
        loop {
            stamps.have_begun = stamps.is_stamped_before_it_is_read()?;
            if stamps.have_begun || Moment::now().since(began) >= PATIENCE {
                return Ok(stamps);
            }
            sleep(PAUSE);
        }
    }

    fn is_stamped_before_it_is_read(&self) -> io::Result<bool> {
        self.socket.send_to(&[0], self.socket.local_addr()?)?;
        socket::wait([self.socket.as_fd()], Some(PATIENCE))?;
        let now = Moment::now();
        let received = packet::receive(self.socket.as_fd(), &mut [0])?;
        Ok(received.at.is_some_and(|at| Moment(at) <= now))
    }
}
