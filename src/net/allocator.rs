//! Settings of the C library's allocator, so that freed memory goes back to the system.

/// From this size on a block is mapped on its own, and unmapped when it is freed: every segment of a log.
#[cfg(target_env = "gnu")]
const MAPPED_FROM_BYTES: i32 = 64 << 10;

/// By itself the allocator takes ever larger blocks from its heaps, once some have been freed: then what is in use
/// keeps what is not from going back, and a relay stays as large as it has ever been.
pub(super) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number, under the allocator's own lock.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES) } == 1;
    #[cfg(target_env = "gnu")]
    if !is_set {
        tracing::debug!("allocator threshold not set");
    }
}

/// Has the allocator look through its heaps for whole pages that are free, and give them back. Takes milliseconds, in
/// which it holds each heap for a moment: for when much has been freed.
pub fn give_free_pages_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks, and no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
