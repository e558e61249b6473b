//! Where the tiles of a convolution come from and go to; blocked maps as both.

use super::tiles::Patch;
use crate::blocked::{BlockedView, BlockedViewMut};
use crate::simd::{LANES, Simd};

/// Where the inputs of tiles come from.
pub(crate) trait TileInput: Sync {
    /// Elements of scratch that a patch of these rows and columns of pixels needs.
    fn scratch(&self, rows: usize, cols: usize) -> usize;

    /// The pixels of `patch` in tiles of a side, with pixels of padding around, of one block of channels: a pointer
    /// to the first and the elements between rows.
    ///
    /// # Safety
    /// `scratch` is as long as [`TileInput::scratch`] says, and the pointer is used while it lives.
    unsafe fn patch<S: Simd>(
        &self,
        simd: S,
        patch: &Patch,
        tile_and_pad: [usize; 2],
        block: usize,
        scratch: &mut [f32],
    ) -> (*const f32, usize);
}

/// Where the outputs of tiles go.
pub(crate) trait Sink: Sync {
    /// Whether outputs are added to what is there.
    const ADDS: bool = false;

    /// Rows and columns of the image.
    fn size(&self) -> [usize; 2];

    /// Elements of scratch that a patch of these rows and columns of pixels needs.
    fn scratch(&self, rows: usize, cols: usize) -> usize;

    /// Where to write the pixels of `patch`: a pointer to the first and the elements between rows.
    ///
    /// # Safety
    /// As for [`TileInput::patch`], and no other task writes this patch of this block.
    unsafe fn position(
        &self,
        patch: &Patch,
        tile: usize,
        block: usize,
        scratch: &mut [f32],
    ) -> (*mut f32, usize);

    /// Called when the patch of this block is written.
    ///
    /// # Safety
    /// As for [`Sink::position`].
    unsafe fn finish<S: Simd>(&self, simd: S, patch: &Patch, tile: usize, block: usize, scratch: &[f32]);
}

impl TileInput for BlockedView<'_> {
    fn scratch(&self, _: usize, _: usize) -> usize {
        0
    }
    #[inline(always)]
    unsafe fn patch<S: Simd>(
        &self,
        _: S,
        patch: &Patch,
        [tile, pad]: [usize; 2],
        block: usize,
        _: &mut [f32],
    ) -> (*const f32, usize) {
        let first = self.layout.at(block, patch.rows.start * tile, patch.cols.start * tile);
        let first = first + patch.image * self.layout.image;
        let corner = first - pad * (self.layout.pitch + LANES);
        (self.data[corner..].as_ptr(), self.layout.pitch)
    }
}

impl Sink for BlockedViewMut<'_> {
    fn size(&self) -> [usize; 2] {
        [self.layout.height, self.layout.width]
    }
    fn scratch(&self, _: usize, _: usize) -> usize {
        0
    }
    #[inline(always)]
    unsafe fn position(&self, patch: &Patch, tile: usize, block: usize, _: &mut [f32]) -> (*mut f32, usize) {
        let [row, col] = [patch.rows.start * tile, patch.cols.start * tile];
        let last_row = self.layout.height.min(patch.rows.end * tile) - 1;
        let last_col = self.layout.width.min(patch.cols.end * tile) - 1;
        let first = self.layout.at(block, row, col);
        let reach = self.layout.at(block, last_row, last_col) + LANES - 1 - first;
        let first = first + patch.image * self.layout.image;
        // SAFETY: the caller's promise.
        (unsafe { self.data.at(first, reach) }, self.layout.pitch)
    }
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, _: S, _: &Patch, _: usize, _: usize, _: &[f32]) {}
}

/// A map that outputs are added to.
pub(crate) struct Adding<'a>(pub(crate) BlockedViewMut<'a>);

impl Sink for Adding<'_> {
    const ADDS: bool = true;

    fn size(&self) -> [usize; 2] {
        Sink::size(&self.0)
    }
    fn scratch(&self, rows: usize, cols: usize) -> usize {
        Sink::scratch(&self.0, rows, cols)
    }
    #[inline(always)]
    unsafe fn position(
        &self,
        patch: &Patch,
        tile: usize,
        block: usize,
        scratch: &mut [f32],
    ) -> (*mut f32, usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.position(patch, tile, block, scratch) }
    }
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, _: S, _: &Patch, _: usize, _: usize, _: &[f32]) {}
}
