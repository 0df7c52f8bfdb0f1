//! The system calls that no safe crate has: each function does one, checks what it returns, and
//! says why it is sound.

#[cfg(target_env = "gnu")]
pub(crate) mod memory;
pub(crate) mod netlink;
pub(crate) mod packet;
pub(crate) mod process;
pub(crate) mod socket;
pub(crate) mod timer;
