//! Timers that can be waited for like sockets (timerfd_create(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null_mut;
use std::time::Duration;

use super::socket::{check, owned};

/// A timer that is not set. It is as exact as the hardware, where `poll` may be late by a
/// thousandth of its timeout, and by 50 µs at least.
pub(crate) fn create() -> io::Result<OwnedFd> {
    // SAFETY: it takes two numbers.
    owned(unsafe {
        libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
    })
}

/// Makes it ready once, after a while and not before, whatever it was set to; never with `None`.
pub(crate) fn set(timer: BorrowedFd<'_>, after: Option<Duration>) -> io::Result<()> {
    // Nothing would stop it.
    let after = after.map_or(Duration::ZERO, |after| after.max(Duration::from_nanos(1)));
    // SAFETY: it is a structure of numbers, for which zeros are values: the timer is not repeated.
    let mut setting: libc::itimerspec = unsafe { std::mem::zeroed() };
    // In all the types that seconds have; 68 years are for ever.
    setting.it_value.tv_sec = i32::try_from(after.as_secs()).unwrap_or(i32::MAX).into();
    setting.it_value.tv_nsec = after.subsec_nanos().cast_signed().into();
    // SAFETY: the pointer is to a setting that lives until the call returns; the previous one is
    // not asked for.
    check(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const setting, null_mut()) })
        .map(drop)
}
