//! Gradient of a convolution with respect to its weight, as written: for few pixels, few channels, or a 1x1 kernel.

use rayon::prelude::*;

use crate::blocked::BlockedView;
use crate::panel::{Panel, SEGMENT_STEP, Start};
use crate::simd::{Isa, LANES, Simd, Task};

/// Pixels that are summed in one go; their sums are added up, so that rounding grows with neither.
const PIXELS: usize = 2048;
/// Most column blocks of [`Simd::outer_panel`].
const MOST_BLOCKS: usize = 2;

/// Sums of products over the pixels of all images: `sum of x[c, p + tap] g[o, p]`.
pub(crate) struct Products<'a> {
    pub(crate) x: BlockedView<'a>,
    /// As large as `x`, and zero in its halo.
    pub(crate) grad: BlockedView<'a>,
    /// 1, or 9: those of a 3x3 kernel.
    pub(crate) taps: usize,
}

impl Products<'_> {
    /// Calls `take(block of x, block of g, sums)` for each pair of blocks, with `sums[tap][lane of x][lane of g]`.
    pub(crate) fn run(&self, isa: Isa, take: impl Fn(usize, usize, &[[[f32; LANES]; LANES]]) + Sync) {
        let Self { x, grad, taps } = *self;
        assert!(taps == 1 || taps == 9, "{taps} taps");
        assert!(x.size()[1..] == grad.size()[1..] && x.place.images == grad.place.images, "sizes");
        assert_eq!(x.place.pitch, grad.place.pitch);
        // windows around each pixel, and as many pixels behind the last as fill a step
        x.check_reach(1, SEGMENT_STEP);
        grad.check_reach(0, SEGMENT_STEP - 1);
        isa.run(Run { products: self, take });
    }
}

struct Run<'a, F> {
    products: &'a Products<'a>,
    take: F,
}

impl<F: Fn(usize, usize, &[[[f32; LANES]; LANES]]) + Sync> Task for Run<'_, F> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { products: &Products { x, grad, taps }, take } = self;
        let ([inputs, height, width], outputs) = (x.size(), grad.size()[0]);
        let pitch = x.place.pitch;
        let rows = (PIXELS / (pitch / LANES)).clamp(1, height);
        let groups = outputs.div_ceil(S::BLOCKS);
        (0..inputs * groups).into_par_iter().for_each(|task| {
            let (block, first) = (task % inputs, task / inputs * S::BLOCKS);
            let count = S::BLOCKS.min(outputs - first);
            let mut total = vec![[[0.0f32; LANES]; LANES]; count * taps];
            let mut part = [[[0.0f32; LANES]; LANES]; MOST_BLOCKS];
            for image in 0..x.place.images {
                for top in (0..height).step_by(rows) {
                    let rows = rows.min(height - top);
                    // from the first pixel to the last, halo included: there the gradient is zero
                    let run = (rows - 1) * pitch + width * LANES;
                    let run = (run / LANES).next_multiple_of(SEGMENT_STEP);
                    let from = image * x.place.image + x.place.at(block, top, 0);
                    let b = &grad.data[image * grad.place.image + grad.place.at(first, top, 0)..];
                    for tap in 0..taps {
                        let corner = if taps == 9 { from - pitch - LANES } else { from };
                        let a = &x.data[corner + tap / 3 * pitch + tap % 3 * LANES..];
                        for row in (0..LANES).step_by(S::OUTER_ROWS) {
                            // SAFETY: both maps hold the pixels of the run (`Products::run` checks the reach), in every
                            // block; the sums are this task's own, `LANES` rows of each block.
                            unsafe {
                                let panel = Panel {
                                    a: a[row..].as_ptr(),
                                    segments: &[0],
                                    segment: run,
                                    b: b.as_ptr(),
                                    b_strides: [LANES, grad.place.plane],
                                    c: part.as_flattened_mut().as_flattened_mut()[row * LANES..].as_mut_ptr(),
                                    block_stride: LANES * LANES,
                                    start: Start::Zero,
                                    floor: f32::NEG_INFINITY,
                                };
                                simd.outer_panel(count, &panel);
                            }
                        }
                        for (n, part) in part[..count].iter().enumerate() {
                            let total = total[n * taps + tap].as_flattened_mut();
                            total.iter_mut().zip(part.as_flattened()).for_each(|(to, part)| *to += part);
                        }
                    }
                }
            }
            for (n, sums) in total.chunks_exact(taps).enumerate() {
                take(block, first + n, sums);
            }
        });
    }
}
