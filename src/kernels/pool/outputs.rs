//! A slice that several threads write at once, each its own elements.
//! Which are whose is not known here.

use std::marker::PhantomData;

/// A slice, borrowed for threads that each write a part of it.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: its only use is `slice`, whose caller sees to it that no element is two threads'.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as before.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), of: PhantomData }
    }

    /// Elements `first..first + len`.
    ///
    /// # Safety
    ///
    /// While it is used, none of them is used through anything else.
    #[inline(always)]
    pub(crate) unsafe fn slice(&self, first: usize, len: usize) -> &'a mut [T] {
        assert!(first <= self.len && len <= self.len - first, "elements past the end");
        // SAFETY: they lie in the slice, and are the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}
