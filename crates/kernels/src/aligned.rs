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
///
/// A large one is a mapping of its own. The allocator would fill aligned memory with zeros before huge pages could be
/// asked for, and they come with the first touch; and it would keep what is freed for small allocations to come.
pub struct AlignedBuffer {
    start: NonNull<f32>,
    len: usize,
    memory: Memory,
}

/// What a buffer's memory goes back to.
enum Memory {
    Heap(Layout),
    #[cfg(target_os = "linux")]
    Mapping {
        base: NonNull<u8>,
        bytes: usize,
    },
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
        let allocated = if align == HUGE_PAGE { large(layout) } else { from_heap(layout) };
        let Some((start, memory)) = allocated else { handle_alloc_error(layout) };
        Self { start: start.cast(), len, memory }
    }

    /// The first `len` elements: of this memory where it suffices, with whatever it holds, else of new zeros.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            *self = Self::zeroed(0); // the old memory goes before the new comes
            *self = Self::zeroed(len);
        }
        &mut self[..len]
    }

    /// Gives memory that the allocator keeps of freed allocations back to the system, where that can be asked for:
    /// what large tensors leave behind would otherwise stay the process's beside the buffers that replace them.
    pub fn return_freed_memory() {
        // SAFETY: no argument but a number; the allocator locks what it looks through.
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        unsafe {
            libc::malloc_trim(0)
        };
    }
}

/// Zeroed memory of a layout whose size is not zero, from the allocator.
fn from_heap(layout: Layout) -> Option<(NonNull<u8>, Memory)> {
    assert_ne!(layout.size(), 0);
    // SAFETY: the layout's size is not zero.
    let start = unsafe { alloc_zeroed(layout) };
    Some((NonNull::new(start)?, Memory::Heap(layout)))
}

#[cfg(not(target_os = "linux"))]
use from_heap as large;

/// Zeroed memory from the system, advised to lie on huge pages.
#[cfg(target_os = "linux")]
fn large(layout: Layout) -> Option<(NonNull<u8>, Memory)> {
    // room to start at a multiple of the alignment; what is never touched takes no memory
    let bytes = layout.size().checked_add(layout.align())?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, of which nothing else knows.
    let base = unsafe {
        libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if base == libc::MAP_FAILED {
        return None;
    }
    let base = NonNull::new(base.cast::<u8>())?;
    // SAFETY: less than the alignment, which the mapping is longer by.
    let start = unsafe { base.add(base.align_offset(layout.align())) };
    // SAFETY: the range is ours; the call is advice, and its failure changes nothing.
    unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
    Some((start, Memory::Mapping { base, bytes }))
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        match self.memory {
            // SAFETY: allocated with this layout, freed once.
            Memory::Heap(layout) => unsafe { dealloc(self.start.as_ptr().cast(), layout) },
            #[cfg(target_os = "linux")]
            Memory::Mapping { base, bytes } => {
                // SAFETY: mapped with this length, unmapped once.
                unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
            }
        }
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
        let scratch = buffer.at_least(len);
        if cfg!(debug_assertions) {
            scratch.fill(f32::NAN);
        }
        f(scratch)
    })
}
