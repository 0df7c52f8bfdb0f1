//! The allocator of the C library (mallopt(3)).

/// Has every block above `bytes` mapped by itself. Says whether the allocator takes it.
pub(crate) fn map_above(bytes: libc::c_int) -> bool {
    // SAFETY: it takes two numbers.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) == 1 }
}
