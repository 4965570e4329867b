//! A fixed run of cells that one writer fills once, from the front, while readers look at what is already
//! filled. Owns the unsafe accesses that this takes, and under loom reports each of them to the model.

use std::{cell::UnsafeCell, ops::Range};

/// Write-once memory for plain values; the caller decides which thread may access which cell.
pub(super) struct Cells<T> {
    data: Box<[UnsafeCell<T>]>,
    #[cfg(fanfare_loom)]
    touched: Box<[loom::cell::UnsafeCell<()>]>,
}

// SAFETY: the cells are plain `Copy` memory; `fill` and `filled` ask their callers to keep writes and reads of a cell
// apart, and to order them by a release store and an acquire load of something beside the cells. Readers on several
// threads share the values, hence `Sync`.
unsafe impl<T: Copy + Send + Sync> Sync for Cells<T> {}

impl<T: Copy> Cells<T> {
    /// Cells over `initial`. Zeroes come straight from the allocator: pages that are not written cost nothing.
    pub(super) fn new(initial: Box<[T]>) -> Self {
        Self {
            #[cfg(fanfare_loom)]
            touched: initial.iter().map(|_| loom::cell::UnsafeCell::new(())).collect(),
            // SAFETY: `UnsafeCell<T>` has the layout of `T`, and the box is owned.
            data: unsafe { Box::from_raw(Box::into_raw(initial) as *mut [UnsafeCell<T>]) },
        }
    }

    /// The same memory, to be filled from the front again: its owner has no readers any more.
    pub(super) fn renewed(self) -> Self {
        // SAFETY: the layout is that of `T`, as above, and the box is owned.
        Self::new(unsafe { Box::from_raw(Box::into_raw(self.data) as *mut [T]) })
    }

    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// Lends `range` for writing.
    ///
    /// # Safety
    /// The caller is the only writer, and no reader is shown a cell of `range` while the slice is alive.
    #[allow(clippy::mut_from_ref)] // One writer, and readers kept away: that is what the cells are for.
    pub(super) unsafe fn fill(&self, range: Range<usize>) -> &mut [T] {
        #[cfg(fanfare_loom)]
        self.touched[range.clone()].iter().for_each(|cell| cell.with_mut(|_| ()));
        let cells = &self.data[range];
        // SAFETY: layout as above; the caller keeps all others away.
        unsafe { std::slice::from_raw_parts_mut(cells.as_ptr().cast::<T>().cast_mut(), cells.len()) }
    }

    /// The cells of `range`.
    ///
    /// # Safety
    /// Their last `fill` happens before this call, and they are never lent for writing again.
    pub(super) unsafe fn filled(&self, range: Range<usize>) -> &[T] {
        #[cfg(fanfare_loom)]
        self.touched[range.clone()].iter().for_each(|cell| cell.with(|_| ()));
        let cells = &self.data[range];
        // SAFETY: layout as above; the caller guarantees that they are filled and do not change any more.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<T>(), cells.len()) }
    }
}
