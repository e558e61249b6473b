//! Memory for the maps of a pass, kept for the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unet3p_kernels::{AlignedBuffer, BlockedShape};

/// Maps that are not in use: the system hands out fresh memory in pages of zeros, which costs more than what is computed
/// in them. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct MapMemory(Arc<Mutex<Free>>);

#[derive(Default)]
struct Free {
    /// Images and size that the maps are for.
    of: (usize, [usize; 2]),
    /// By the number of images as well: a pass over other images may run at the same time.
    maps: HashMap<(usize, BlockedShape), Vec<AlignedBuffer>>,
    scratch: Option<AlignedBuffer>,
}

impl std::fmt::Debug for MapMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MapMemory")
    }
}

impl MapMemory {
    fn lock(&self) -> MutexGuard<'_, Free> {
        // a panic elsewhere leaves nothing half done here
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what was kept for another number of images or another size.
    pub(super) fn prepare(&self, images: usize, size: [usize; 2]) {
        let mut free = self.lock();
        if free.of != (images, size) {
            *free = Free { of: (images, size), ..Free::default() };
        }
    }

    /// A batch of maps with a zero halo and whatever inside.
    pub(super) fn take(&self, images: usize, shape: BlockedShape) -> AlignedBuffer {
        let found = self.lock().maps.get_mut(&(images, shape)).and_then(Vec::pop);
        let mut map = found.unwrap_or_else(|| AlignedBuffer::zeroed(images * shape.elements()));
        if cfg!(debug_assertions) {
            // so that tests see what reads it
            map.fill(f32::NAN);
            map.chunks_exact_mut(shape.elements()).for_each(|map| shape.clear_halo(map));
        }
        map
    }

    pub(super) fn give_back(&self, images: usize, shape: BlockedShape, map: AlignedBuffer) {
        self.lock().maps.entry((images, shape)).or_default().push(map);
    }

    /// Memory for what one convolution needs at a time: packed weights, transformed tiles.
    pub(super) fn take_scratch(&self) -> AlignedBuffer {
        self.lock().scratch.take().unwrap_or_else(|| AlignedBuffer::zeroed(0))
    }

    pub(super) fn give_back_scratch(&self, scratch: AlignedBuffer) {
        self.lock().scratch = Some(scratch);
    }
}
