//! Memory for kernels: aligned to cache lines, on huge pages where large.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A cache line, and a block of sixteen lanes.
const LINE: usize = 64;
/// From this size on a buffer is aligned to, and asks for, huge pages: a Winograd block reads 36 places at once,
/// more than the translation buffer holds of small ones.
const HUGE_PAGE: usize = 2 << 20;

/// A buffer of `f32`, zeroed when made, aligned to a cache line.
pub struct AlignedBuffer {
    start: NonNull<f32>,
    len: usize,
    layout: Layout,
}

// SAFETY: the buffer owns its memory, as a Vec does.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as for `Send`; shared access only reads.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// `len` zeros.
    ///
    /// # Panics
    /// Where `len` elements exceed the address space; memory that the system does not have ends the program, as
    /// with `Vec`.
    #[allow(clippy::expect_used)] // as Vec does
    pub fn zeroed(len: usize) -> Self {
        let bytes = len.max(1).checked_mul(size_of::<f32>()).expect("a buffer beyond the address space");
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { LINE };
        let layout = Layout::from_size_align(bytes, align).expect("a buffer beyond the address space");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start.cast::<f32>()) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        if align == HUGE_PAGE {
            // SAFETY: the range is ours; the call is advice, and its failure changes nothing.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        Self { start, len, layout }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len` initialised elements that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} f32)", self.len)
    }
}

/// Calls `f` with this thread's scratch of `len` elements, whose content is whatever it was; in debug builds NaN, so
/// that tests see what reads it.
///
/// `f` must not hand work to other threads: this one could then be given a task that wants the scratch as well.
pub(crate) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<AlignedBuffer> = RefCell::new(AlignedBuffer::zeroed(0));
    }
    SCRATCH.with_borrow_mut(|buffer| {
        if buffer.len() < len {
            *buffer = AlignedBuffer::zeroed(len);
        }
        let scratch = &mut buffer[..len];
        if cfg!(debug_assertions) {
            scratch.fill(f32::NAN);
        }
        f(scratch)
    })
}
