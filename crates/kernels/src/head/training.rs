//! 3x3 convolution to few dense planes, and its gradients.

use rayon::prelude::*;

use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedShape, BlockedView, BlockedViewMut};
use crate::convolution::Kernel;
use crate::convolution::direct_weight_gradient::Products;
use crate::convolution::pointwise::Pointwise;
use crate::head::inference::HeadConv2d;
use crate::shared::Shared;
use crate::simd::{Isa, LANES};
use crate::sizes::{check_len, check_size, check_whole, elements};
use crate::write::Write;

/// A segmentation head: `y = W x + b` by a 3x3 convolution (zero padding) from a blocked map to dense planes
/// `[images, outputs, height, width]`.
#[derive(Debug)]
pub struct BlockedHead<'a> {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    weight: &'a [f32],
}

impl<'a> BlockedHead<'a> {
    /// With weights `[outputs, inputs, 3, 3]`.
    ///
    /// # Panics
    /// Where the length of `weight` does not fit the inputs: `weight: ...`.
    pub fn new(isa: Isa, inputs: usize, weight: &'a [f32]) -> Self {
        let outputs = check_whole("weight", weight.len(), &[inputs, 3, 3]);
        Self { isa, inputs, outputs, weight }
    }

    /// Checks `x` and the length of the planes, with their name.
    #[track_caller]
    fn check(&self, x: BlockedView<'_>, planes_name: &str, planes: usize) {
        let [images, _, height, width] = x.layout.dims();
        check_size("x", x.layout.dims(), [images, self.inputs.div_ceil(LANES), height, width]);
        check_len(planes_name, planes, &[images, self.outputs, height, width]);
    }

    /// Writes `planes`.
    ///
    /// # Panics
    /// Where `x` has other channels, or a length does not fit: `x: ...`, `bias: ...`, `planes: ...`.
    pub fn run(&self, x: BlockedView<'_>, bias: &[f32], planes: &mut [f32]) {
        self.check(x, "planes", planes.len());
        let [_, height, width] = x.size();
        let layer = HeadConv2d::new(self.isa, &[self.inputs], self.weight).with_bias(bias);
        for (image, planes) in planes.chunks_exact_mut(self.outputs * height * width).enumerate() {
            layer.run(x.image(image), 0, height, planes);
        }
    }

    /// The gradients of `x` and of the weights from that of the planes.
    ///
    /// # Panics
    /// Where `x` or `grad_x` has other channels or another size, or a length does not fit: `x: ...`, `grad_x: ...`, `grad: ...`,
    /// `grad_w: ...`.
    pub fn backward(
        &self,
        x: BlockedView<'_>,
        grad: &[f32],
        grad_x: BlockedViewMut<'_>,
        write: Write,
        grad_w: &mut [f32],
    ) {
        self.check(x, "grad", grad.len());
        check_size("grad_x", grad_x.layout.dims(), x.layout.dims());
        check_len("grad_w", grad_w.len(), &[self.outputs, self.inputs, 3, 3]);
        let [images, _, height, width] = x.layout.dims();
        let shape = BlockedShape { channels: 9 * self.outputs, height, width };
        let mut taps = AlignedBuffer::zeroed(elements("taps", &[images, shape.elements()]));
        shift_by_taps(shape.batch_mut(images, &mut taps), self.outputs, grad);
        let taps = shape.batch(images, &taps);

        let out = Shared::new(grad_w);
        Products { x, grad: taps, kernel: Kernel::POINTWISE }.run(self.isa, |block, of_taps, sums| {
            for (lane, column) in (of_taps * LANES..9 * self.outputs).take(LANES).enumerate() {
                let (tap, o) = (column / self.outputs, column % self.outputs);
                for (c, sums) in (block * LANES..self.inputs).zip(&sums[0]) {
                    // SAFETY: this tap of these inputs and outputs is this pair of blocks' alone.
                    unsafe { *out.at((o * self.inputs + c) * 9 + tap, 0) = sums[lane] };
                }
            }
        });

        let weight = |block: usize, lane: usize| {
            let column = block * LANES + lane;
            let (tap, o) = (column / self.outputs, column % self.outputs);
            move |c: usize| if tap < 9 { self.weight[(o * self.inputs + c) * 9 + tap] } else { 0.0 }
        };
        let lanes = (9 * self.outputs).min(LANES);
        Pointwise::new(self.isa, shape.blocks(), lanes, self.inputs, weight).run(taps, grad_x, write);
    }
}

/// Channel `tap * outputs + o` of `to` is plane `o` of `grad`, shifted so that a pixel of the convolution's input meets the
/// gradient of the output that read it with that tap; zero outside.
fn shift_by_taps(to: BlockedViewMut<'_>, outputs: usize, grad: &[f32]) {
    let [_, height, width] = to.size();
    let area = height * width;
    (0..to.layout.images * height).into_par_iter().for_each(|task| {
        let (image, row) = (task / height, task % height);
        let grad = &grad[image * outputs * area..][..outputs * area];
        for column in 0..9 * outputs {
            let (tap, o) = (column / outputs, column % outputs);
            let start = image * to.layout.image + to.layout.at(column / LANES, row, 0);
            // SAFETY: this row is this task's alone.
            let line = unsafe { to.data.slice(start, width * LANES) };
            // the input's row i is tap ky of output row i - ky + 1
            let from = (row + 1).checked_sub(tap / 3).filter(|&row| row < height);
            for (j, pixel) in line.chunks_exact_mut(LANES).enumerate() {
                let col = (j + 1).checked_sub(tap % 3).filter(|&col| col < width);
                let value = from.zip(col).map_or(0.0, |(row, col)| grad[o * area + row * width + col]);
                pixel[column % LANES] = value;
            }
        }
    });
}
