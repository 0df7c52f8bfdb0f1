//! Options, ioctls, polling and events of sockets.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// What a call returned, as a result.
pub(super) fn check(returned: libc::c_int) -> io::Result<libc::c_int> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// A length, as the kernel counts it in sockets' calls.
pub(super) fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// Takes what a call returned that makes a file descriptor.
pub(super) fn owned(returned: libc::c_int) -> io::Result<OwnedFd> {
    let descriptor: RawFd = check(returned)?;
    // SAFETY: the kernel has just made this descriptor for us, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A socket that does not block and is closed in programs that are started.
pub(crate) fn open(
    domain: libc::c_int,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> io::Result<OwnedFd> {
    // SAFETY: it takes three numbers.
    owned(unsafe {
        libc::socket(domain, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol)
    })
}

/// Sets an option that is one number.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer is to a number that lives until the call returns, and the length is that
    // number's.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length_of::<libc::c_int>(),
        )
    };
    check(returned).map(drop)
}

/// Reads an option into `buffer`. Returns how many bytes of it the kernel supports.
pub(crate) fn option_bytes(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut length = buffer.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which `buffer` has, and then how many it
    // wrote into `length`.
    let returned = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    check(returned)?;
    Ok((length as usize).min(buffer.len()))
}

/// Asks for a number by `ioctl`.
pub(crate) fn ioctl_number(
    socket: BorrowedFd<'_>,
    request: libc::Ioctl,
) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    // SAFETY: only requests that write one `int` are asked (`SIOCOUTQ`, `SIOCOUTQNSD`), and the
    // pointer is to one.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut value) })?;
    Ok(value)
}

/// Something that can be waited for and that one call wakes.
pub(crate) fn event() -> io::Result<OwnedFd> {
    // SAFETY: it takes two numbers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Wakes every waiter of the event, now and later.
pub(crate) fn signal(event: BorrowedFd<'_>) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the pointer is to eight bytes that live until the call returns. It can only fail when
    // the event is signalled already.
    unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// Waits until one of them can be read. Which can.
pub(crate) fn wait<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut waited = descriptors.map(|descriptor| libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // A part of a millisecond is a whole one, or a short wait would be none at all.
    let milliseconds = timeout.map_or(-1, |timeout| {
        timeout.as_micros().div_ceil(1000).try_into().unwrap_or(libc::c_int::MAX)
    });
    poll(&mut waited, milliseconds)?;
    Ok(waited.map(|waited| waited.revents != 0))
}

/// Waits until it can be written to.
pub(crate) fn wait_for_room(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    poll(&mut [libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLOUT, revents: 0 }], -1)
}

/// Nothing is ready if a signal interrupts it.
fn poll(waited: &mut [libc::pollfd], milliseconds: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer is to as many structures as the length says, and they live until the call
    // returns.
    match check(unsafe {
        libc::poll(waited.as_mut_ptr(), waited.len() as libc::nfds_t, milliseconds)
    }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
