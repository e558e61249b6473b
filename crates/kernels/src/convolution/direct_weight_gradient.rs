//! Gradient of a convolution with respect to its weight, as written: for few pixels, few channels, a 1x1 kernel or a stride.

use rayon::prelude::*;

use super::Kernel;
use crate::blocked::BlockedView;
use crate::panel::{Panel, SEGMENT_STEP, Start};
use crate::simd::{Isa, LANES, Simd, Task};

/// Pixels that are summed in one go; their sums are added up, so that rounding grows with neither.
const PIXELS: usize = 2048;
/// Most column blocks of [`Simd::outer_panel`].
const MOST_BLOCKS: usize = 2;

/// Sums of products over the pixels of all images: `sum of x[c, p stride + tap] g[o, p]`.
pub(crate) struct Products<'a> {
    pub(crate) x: BlockedView<'a>,
    /// Of the kernel's output size for `x`, and zero in its halo.
    pub(crate) grad: BlockedView<'a>,
    /// Of side 1 or 3.
    pub(crate) kernel: Kernel,
}

impl Products<'_> {
    /// Calls `take(block of x, block of g, sums)` for each pair of blocks, with `sums[tap][lane of x][lane of g]`.
    pub(crate) fn run(&self, isa: Isa, take: impl Fn(usize, usize, &[[[f32; LANES]; LANES]]) + Sync) {
        let Self { x, grad, kernel } = *self;
        let ([_, height, width], [_, rows, cols]) = (x.size(), grad.size());
        assert!(kernel.side == 1 || kernel.side == 3, "{kernel:?}");
        assert!(
            kernel.output([height, width]) == [rows, cols] && x.layout.images == grad.layout.images,
            "sizes"
        );
        assert!(kernel.stride > 1 || x.layout.pitch == grad.layout.pitch, "pitches");
        // windows around each pixel, and as many pixels behind the last as fill a step
        x.check_reach(1, kernel.stride * SEGMENT_STEP);
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
        let Self { products: &Products { x, grad, kernel: Kernel { side, stride } }, take } = self;
        let (inputs, [outputs, height, width]) = (x.size()[0], grad.size());
        let (taps, pitch) = (side * side, x.layout.pitch);
        let rows = (PIXELS / (grad.layout.pitch / LANES)).clamp(1, height);
        let groups = outputs.div_ceil(S::BLOCKS);
        (0..inputs * groups).into_par_iter().for_each(|task| {
            let (block, first) = (task % inputs, task / inputs * S::BLOCKS);
            let count = S::BLOCKS.min(outputs - first);
            let mut total = vec![[[0.0f32; LANES]; LANES]; count * taps];
            let mut part = [[[0.0f32; LANES]; LANES]; MOST_BLOCKS];
            for image in 0..x.layout.images {
                for top in (0..height).step_by(rows) {
                    let rows = rows.min(height - top);
                    // without a stride all rows at once, halo included: there the gradient is zero
                    let (runs, run) =
                        if stride == 1 { (1, (rows - 1) * pitch / LANES + width) } else { (rows, width) };
                    let run = run.next_multiple_of(SEGMENT_STEP);
                    let from = image * x.layout.image + x.layout.at(block, top * stride, 0);
                    let b = &grad.data[image * grad.layout.image + grad.layout.at(first, top, 0)..];
                    for tap in 0..taps {
                        let corner = from - side / 2 * (pitch + LANES);
                        let a = &x.data[corner + tap / side * pitch + tap % side * LANES..];
                        let parts = (0..runs)
                            .flat_map(|i| (0..LANES).step_by(S::OUTER_ROWS).map(move |row| (i, row)));
                        for (i, row) in parts {
                            // SAFETY: both maps hold the pixels of the run (`Products::run` checks the reach), in every
                            // block; the sums are this task's own, `LANES` rows of each block.
                            unsafe {
                                let panel = Panel {
                                    a: a[i * stride * pitch + row..].as_ptr(),
                                    a_stride: stride * LANES,
                                    segments: &[0],
                                    segment: run,
                                    b: b[i * grad.layout.pitch..].as_ptr(),
                                    b_strides: [LANES, grad.layout.plane],
                                    c: part.as_flattened_mut().as_flattened_mut()[row * LANES..].as_mut_ptr(),
                                    c_stride: LANES,
                                    block_stride: LANES * LANES,
                                    start: if i == 0 { Start::Zero } else { Start::Output },
                                    lower_bound: f32::NEG_INFINITY,
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
