//! 3x3 convolution of an upsampled map, without upsampling it, and its gradients.
//!
//! Forward is [`UpsampledConv2d`]. Its adjoint goes the same way back: the sum over taps of upsampled products becomes,
//! for each low-resolution pixel and tap, a weighted sum of gradients; the rest are matrix products at low resolution.

use rayon::prelude::*;

use crate::aligned::{AlignedBuffer, with_scratch};
use crate::blocked::{BlockedShape, BlockedView, BlockedViewMut};
use crate::convolution::Kernel;
use crate::convolution::direct_weight_gradient::Products;
use crate::convolution::pointwise::Pointwise;
use crate::shared::Shared;
use crate::simd::{Block, Isa, LANES, Simd, Task};
use crate::sizes::{check_len, check_scale, check_size, check_whole, elements, scaled};
use crate::upsampling::bilinear::sources;
use crate::upsampling::inference::UpsampledConv2d;
use crate::write::Write;

/// `y = conv3x3(U x)` (zero padding, no bias), where `U` is bilinear upsampling by `scale` (half-pixel centres, edges
/// clamped).
#[derive(Debug)]
pub struct BlockedUpsampledConv2d<'a> {
    isa: Isa,
    scale: usize,
    inputs: usize,
    outputs: usize,
    weight: &'a [f32],
}

impl<'a> BlockedUpsampledConv2d<'a> {
    /// With weights `[outputs, inputs, 3, 3]`.
    ///
    /// # Panics
    /// Where the length of `weight` does not fit the inputs, or `scale` is 0: `weight: ...`, `scale: ...`.
    pub fn new(isa: Isa, scale: usize, inputs: usize, weight: &'a [f32]) -> Self {
        check_scale(scale);
        let outputs = check_whole("weight", weight.len(), &[inputs, 3, 3]);
        Self { isa, scale, inputs, outputs, weight }
    }

    /// Checks `x` and a map of the outputs, with its name.
    #[track_caller]
    fn check(&self, x: [usize; 4], y_name: &str, y: [usize; 4]) {
        let [images, _, height, width] = x;
        check_size("x", x, [images, self.inputs.div_ceil(LANES), height, width]);
        let [rows, cols] = scaled([height, width], self.scale);
        check_size(y_name, y, [images, self.outputs.div_ceil(LANES), rows, cols]);
    }

    /// Writes `y`.
    ///
    /// # Panics
    /// Where `x` or `y` has other channels, or `y` is not `scale` times as large: `x: ...`, `y: ...`, `scale: ...`.
    pub fn run(&self, x: BlockedView<'_>, mut y: BlockedViewMut<'_>) {
        self.check(x.layout.dims(), "y", y.layout.dims());
        let layer = UpsampledConv2d::new(self.isa, self.scale, &[self.inputs], self.weight);
        let ([_, _, width], [_, rows, _]) = (x.size(), y.size());
        let mut tap_rows = layer.rows_for(rows, width);
        for image in 0..x.layout.images {
            layer.run(x.image(image), 0..rows, y.reborrow().image(image), &mut tap_rows);
        }
    }

    /// The gradients of `x` and of the weights from that of `y`.
    ///
    /// # Panics
    /// Where `x`, `grad_y` or `grad_x` has other channels or another size, or `grad_w` is not as long as the weights: `x: ...`,
    /// `grad_y: ...`, `grad_x: ...`, `grad_w: ...`, `scale: ...`.
    pub fn backward(
        &self,
        x: BlockedView<'_>,
        grad_y: BlockedView<'_>,
        grad_x: BlockedViewMut<'_>,
        write: Write,
        grad_w: &mut [f32],
    ) {
        self.check(x.layout.dims(), "grad_y", grad_y.layout.dims());
        check_size("grad_x", grad_x.layout.dims(), x.layout.dims());
        check_len("grad_w", grad_w.len(), &[self.outputs, self.inputs, 3, 3]);
        let ([images, _, height, width], blocks) = (x.layout.dims(), grad_y.layout.blocks);
        let shape = BlockedShape { channels: 9 * blocks * LANES, height, width };
        let mut taps = AlignedBuffer::zeroed(elements("taps", &[images, shape.elements()]));
        self.isa.run(Adjoint { scale: self.scale, grad_y, taps: shape.batch_mut(images, &mut taps) });
        let taps = shape.batch(images, &taps);

        let out = Shared::new(grad_w);
        Products { x, grad: taps, kernel: Kernel::POINTWISE }.run(self.isa, |block, of_taps, sums| {
            let (tap, first) = (of_taps / blocks, of_taps % blocks * LANES);
            for (lane, o) in (first..self.outputs).take(LANES).enumerate() {
                for (c, sums) in (block * LANES..self.inputs).zip(&sums[0]) {
                    // SAFETY: this tap of these inputs and outputs is this pair of blocks' alone.
                    unsafe { *out.at((o * self.inputs + c) * 9 + tap, 0) = sums[lane] };
                }
            }
        });

        let weight = |block: usize, lane: usize| {
            let (tap, o) = (block / blocks, block % blocks * LANES + lane);
            move |c: usize| if o < self.outputs { self.weight[(o * self.inputs + c) * 9 + tap] } else { 0.0 }
        };
        let lanes = self.outputs.min(LANES);
        Pointwise::new(self.isa, 9 * blocks, lanes, self.inputs, weight).run(taps, grad_x, write);
    }
}

/// For each tap, the gradient of the low-resolution products.
struct Adjoint<'a> {
    scale: usize,
    grad_y: BlockedView<'a>,
    /// `[tap][block of outputs]` blocks of channels.
    taps: BlockedViewMut<'a>,
}

/// For each low-resolution position, the upsampled ones that read it, with their weights.
fn readers(len: usize, scale: usize) -> Vec<Vec<(usize, f32)>> {
    let mut readers = vec![Vec::new(); len];
    for (at, source) in sources::<f32>(len, scale).into_iter().enumerate() {
        for (low, weight) in [(source.low, 1.0 - source.fraction), (source.high, source.fraction)] {
            if weight != 0.0 {
                readers[low].push((at, weight));
            }
        }
    }
    readers
}

impl Task for Adjoint<'_> {
    type Output = ();

    #[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
    fn run<S: Simd>(self, s: S) {
        let Self { scale, grad_y, taps } = self;
        let [_, height, width] = taps.size();
        let [blocks, full_height, full_width] = grad_y.size();
        let (vertical, horizontal) = (readers(height, scale), readers(width, scale));
        // output row i reads, with tap ky, the upsampled row i + ky - 1; so with columns
        let shifted = |readers: &[(usize, f32)], tap: usize, len: usize| {
            let shift = |&(at, weight): &(usize, f32)| Some(((at + 1).checked_sub(tap)?, weight));
            readers.iter().filter_map(shift).filter(|&(at, _)| at < len).collect::<Vec<_>>()
        };
        let columns: [Vec<Vec<(usize, f32)>>; 3] = std::array::from_fn(|kx| {
            horizontal.iter().map(|readers| shifted(readers, kx, full_width)).collect()
        });
        let images = grad_y.layout.images;
        (0..images * blocks * height).into_par_iter().for_each(|task| {
            let (image, block, row) = (task / height / blocks, task / height % blocks, task % height);
            let line = |row: usize| {
                let start = image * grad_y.layout.image + grad_y.layout.at(block, row, 0);
                grad_y.data[start..start + full_width * LANES].as_chunks::<LANES>().0
            };
            let rows: [Vec<(&[Block], f32)>; 3] = std::array::from_fn(|ky| {
                let of = shifted(&vertical[row], ky, full_height);
                of.into_iter().map(|(row, weight)| (line(row), weight)).collect()
            });
            with_scratch(3 * full_width * LANES, |lines| {
                let lines = lines.as_chunks_mut::<LANES>().0;
                for (ky, rows) in rows.iter().enumerate() {
                    let sums = &mut lines[ky * full_width..][..full_width];
                    s.vectorize(
                        #[inline(always)]
                        || {
                            for j in 0..sums.len() {
                                let mut sum = s.splat(0.0);
                                for k in 0..rows.len() {
                                    sum = s.mul_add(s.splat(rows[k].1), s.load(&rows[k].0[j]), sum);
                                }
                                s.store(sum, &mut sums[j]);
                            }
                        },
                    );
                }
                for (kx, columns) in columns.iter().enumerate() {
                    for ky in 0..3 {
                        let sums = &lines[ky * full_width..][..full_width];
                        let at = image * taps.layout.image
                            + taps.layout.at((3 * ky + kx) * blocks + block, row, 0);
                        // SAFETY: this row of these products is this task's alone.
                        let to = unsafe { taps.data.slice(at, width * LANES) }.as_chunks_mut::<LANES>().0;
                        s.vectorize(
                            #[inline(always)]
                            || {
                                for j in 0..to.len() {
                                    let mut sum = s.splat(0.0);
                                    let readers = &columns[j];
                                    for k in 0..readers.len() {
                                        sum = s.mul_add(
                                            s.splat(readers[k].1),
                                            s.load(&sums[readers[k].0]),
                                            sum,
                                        );
                                    }
                                    s.store(sum, &mut to[j]);
                                }
                            },
                        );
                    }
                }
            });
        });
    }
}
