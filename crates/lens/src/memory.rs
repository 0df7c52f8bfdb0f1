//! How this process gives memory back.

/// Blocks above this are mapped by themselves, so that they go back to the system when they are
/// freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 1 << 20;

/// Has what a large request took go back to the system when it is freed, wherever that happens.
/// glibc would otherwise raise its limit to the size of the first large block that is freed, and
/// from then on keep such blocks for each of its arenas: a picture that five threads have held one
/// after another takes five times its size. To be called before there are other threads.
pub fn give_back_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // If the allocator does not support the option, memory is kept longer and nothing else is
        // different.
        let _is_known = crate::system::memory::map_above(LARGE);
    }
}
