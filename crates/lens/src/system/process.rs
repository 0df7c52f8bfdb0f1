//! Namespaces of this process (namespaces(7)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::socket::check;

/// Leaves namespaces for new ones.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: it takes a number.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// Enters a network namespace, with this thread only.
pub(crate) fn enter_network(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it takes two numbers, of which one is an open descriptor.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Makes a program start in another network namespace, whose descriptor has to live until it is
/// started.
pub(crate) fn start_in_network(command: &mut Command, namespace: BorrowedFd<'_>) {
    let descriptor = namespace.as_raw_fd();
    // SAFETY: between fork and exec only a system call is made, which neither allocates nor locks.
    unsafe {
        command.pre_exec(move || check(libc::setns(descriptor, libc::CLONE_NEWNET)).map(drop));
    }
}

/// User and group, as they are outside of a namespace that is not entered yet.
pub(crate) fn user_and_group() -> (u32, u32) {
    // SAFETY: they take nothing and cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}
