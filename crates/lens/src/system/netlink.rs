//! Requests to the kernel's network configuration: route netlink (rtnetlink(7)) and ethtool's
//! ioctl.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::socket::{check, open, owned};

/// A socket for route netlink, in the network namespace of this thread.
pub(crate) fn route_socket() -> io::Result<OwnedFd> {
    // SAFETY: it takes three numbers. It blocks: the kernel answers at once.
    owned(unsafe {
        libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE)
    })
}

/// Sends a request and waits for the kernel's reply.
pub(crate) fn ask(socket: BorrowedFd<'_>, request: &[u8]) -> io::Result<Vec<u8>> {
    // SAFETY: the pointer is to as many bytes as the length says, and they live until the call
    // returns.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = vec![0; 8192];
    // SAFETY: the pointer is to as many bytes as the length says, and they live until the call
    // returns.
    let received =
        unsafe { libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    answer.truncate(received);
    Ok(answer)
}

/// Sets one of the old settings of ethtool that are a number, on an interface of this thread's
/// network namespace.
pub(crate) fn set_feature(interface: &str, command: u32, value: u32) -> io::Result<()> {
    /// `struct ethtool_value`
    #[repr(C)]
    struct Setting {
        command: u32,
        value: u32,
    }
    let socket = open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut setting = Setting { command, value };
    // SAFETY: it is a structure of numbers and a union of numbers and pointers, for which zeros are
    // values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = interface.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut setting).cast();
    // SAFETY: for this request the kernel reads the name and the setting that the pointer is to;
    // both live until it returns.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) })
        .map(drop)
}
