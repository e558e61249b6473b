//! Tiles of dense `[batch, channels, height, width]` tensors: a patch is turned into blocks of channels in scratch
//! that stays in the cache, so that the transforms see the same position as the inference kernels do.

use super::source::{Sink, TileInput};
use super::tiles::Patch;
use crate::shared::Shared;
use crate::simd::{Block, LANES, Simd};

/// Sizes of a dense tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Planes {
    fn area(&self) -> usize {
        self.height * self.width
    }

    /// Where the planes of a block of channels start, and how many there are.
    fn block(&self, image: usize, block: usize) -> (usize, usize) {
        let first = block * LANES;
        ((image * self.channels + first) * self.area(), LANES.min(self.channels - first))
    }
}

/// A dense tensor that tiles are read from; zero outside.
pub(crate) struct PlaneSource<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) planes: Planes,
}

/// Columns that a row of `width` is turned in, sixteen at a time: the last group overlaps the one before.
fn groups(from: usize, to: usize) -> impl Iterator<Item = usize> {
    (from..to).step_by(LANES).map(move |x| x.min(to - LANES))
}

impl TileInput for PlaneSource<'_> {
    fn scratch(&self, rows: usize, cols: usize) -> usize {
        rows * cols * LANES
    }

    unsafe fn patch<S: Simd>(
        &self,
        simd: S,
        patch: &Patch,
        [tile, pad]: [usize; 2],
        block: usize,
        scratch: &mut [f32],
    ) -> (*const f32, usize) {
        let Planes { height, width, .. } = self.planes;
        let (rows, cols) = (patch.rows.len() * tile + 2 * pad, patch.cols.len() * tile + 2 * pad);
        let [top, left] = [patch.rows.start * tile, patch.cols.start * tile];
        let scratch = &mut scratch[..rows * cols * LANES];
        let (start, channels) = self.planes.block(patch.image, block);
        // columns of the image that the patch shows
        let (from, to) = (left.saturating_sub(pad), width.min(left + cols - pad));
        let whole = channels == LANES && to - from >= LANES;
        simd.vectorize(
            #[inline(always)]
            || {
                for (i, line) in scratch.chunks_exact_mut(cols * LANES).enumerate() {
                    let Some(row) = (top + i).checked_sub(pad).filter(|&row| row < height) else {
                        line.fill(0.0);
                        continue;
                    };
                    let pixels = line.as_chunks_mut::<LANES>().0;
                    let shown = from + pad - left..to + pad - left;
                    pixels[..shown.start].fill([0.0; LANES]);
                    pixels[shown.end..].fill([0.0; LANES]);
                    let row = start + row * width;
                    if whole {
                        for x in groups(from, to) {
                            let mut turned = [simd.splat(0.0); LANES];
                            for (lane, turned) in turned.iter_mut().enumerate() {
                                let values =
                                    &self.data[row + lane * height * width + x..].as_chunks::<LANES>().0[0];
                                *turned = simd.load(values);
                            }
                            simd.transpose(&mut turned);
                            let to = &mut pixels[x + pad - left..][..LANES];
                            to.iter_mut().zip(turned).for_each(|(to, v)| simd.store(v, to));
                        }
                    } else {
                        for (pixel, x) in pixels[shown].iter_mut().zip(from..) {
                            *pixel = [0.0; LANES];
                            for (lane, value) in pixel.iter_mut().enumerate().take(channels) {
                                *value = self.data[row + lane * height * width + x];
                            }
                        }
                    }
                }
            },
        );
        (scratch.as_ptr(), cols * LANES)
    }
}

/// A dense tensor that tiles are written to.
pub(crate) struct PlaneSink<'a> {
    pub(crate) data: Shared<'a, f32>,
    pub(crate) planes: Planes,
}

impl Sink for PlaneSink<'_> {
    fn size(&self) -> [usize; 2] {
        [self.planes.height, self.planes.width]
    }

    fn scratch(&self, rows: usize, cols: usize) -> usize {
        rows * cols * LANES
    }

    unsafe fn position(
        &self,
        patch: &Patch,
        tile: usize,
        _: usize,
        scratch: &mut [f32],
    ) -> (*mut f32, usize) {
        (scratch.as_mut_ptr(), patch.cols.len() * tile * LANES)
    }

    unsafe fn finish<S: Simd>(&self, simd: S, patch: &Patch, tile: usize, block: usize, scratch: &[f32]) {
        let Planes { height, width, .. } = self.planes;
        let cols = patch.cols.len() * tile;
        let [top, left] = [patch.rows.start * tile, patch.cols.start * tile];
        let (bottom, right) = (height.min(patch.rows.end * tile), width.min(left + cols));
        let (start, channels) = self.planes.block(patch.image, block);
        let whole = channels == LANES && right - left >= LANES;
        simd.vectorize(
            #[inline(always)]
            || {
                for row in top..bottom {
                    let pixels = scratch[(row - top) * cols * LANES..][..cols * LANES].as_chunks::<LANES>().0;
                    // SAFETY: this row of the patch of these channels is this task's alone.
                    let line = |lane: usize, x: usize, len: usize| unsafe {
                        self.data.slice(start + (lane * height + row) * width + x, len)
                    };
                    if whole {
                        for x in groups(left, right) {
                            let mut turned = [simd.splat(0.0); LANES];
                            let from: &[Block] = &pixels[x - left..][..LANES];
                            turned.iter_mut().zip(from).for_each(|(turned, from)| *turned = simd.load(from));
                            simd.transpose(&mut turned);
                            for (lane, &values) in turned.iter().enumerate() {
                                simd.store(values, &mut line(lane, x, LANES).as_chunks_mut::<LANES>().0[0]);
                            }
                        }
                    } else {
                        for lane in 0..channels {
                            let to = line(lane, left, right - left);
                            to.iter_mut().zip(pixels).for_each(|(to, pixel)| *to = pixel[lane]);
                        }
                    }
                }
            },
        );
    }
}
