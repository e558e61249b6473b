//! One output buffer written by several tasks, each in its own places.

use std::marker::PhantomData;

/// A mutable slice that parallel tasks share, under the promise that no two of them touch the same element.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    _borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Shared` hands out pointers only; whoever writes through them promises (see `Shared::at`) that
// tasks write disjoint elements, and `T: Send` lets those elements be written from another thread.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), _borrow: PhantomData }
    }

    /// A pointer to element `index`, from which elements up to `index + reach` (inclusive) may be touched.
    ///
    /// # Safety
    /// No other task may read or write, during the life of the borrow, an element written through it.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, index: usize, reach: usize) -> *mut T {
        assert!(
            index.checked_add(reach).is_some_and(|last| last < self.len),
            "{index} + {reach} is outside a buffer of {}",
            self.len
        );
        // SAFETY: within the slice, by the assertion.
        unsafe { self.start.add(index) }
    }

    /// Elements `index..index + len` as a slice.
    ///
    /// # Safety
    /// As for [`Shared::at`], for the whole range and while the returned slice lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // the caller's promise makes the ranges disjoint
    pub(crate) unsafe fn slice(&self, index: usize, len: usize) -> &mut [T] {
        assert!(
            index.checked_add(len).is_some_and(|end| end <= self.len),
            "{index} + {len} is outside a buffer of {}",
            self.len
        );
        // SAFETY: within the slice by the assertion, and unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index), len) }
    }
}
