//! Convolution and its gradients.

use super::Kernel;
use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedView, BlockedViewMut};
use crate::convolution::algorithm::{ConvAlgorithm, ConvCosts, Product};
use crate::convolution::channels::{InputBlocks, checked_channels};
use crate::convolution::direct::DirectConv2d;
use crate::convolution::winograd::{WinogradConv2d, weight_gradient};
use crate::simd::{Isa, LANES};
use crate::sizes::{check_len, check_size};
use crate::write::Write;

/// The direct weight gradient's multiply-adds cost more than those of a product with packed operands.
const STRIDED_COST: f64 = 1.9;
/// Of a sum of products on its way into the gradient.
const SUM_COST: usize = 120;

/// A convolution (zero padding of half the kernel, no bias) with weights `[out, in, k, k]`, of maps whose input channels are
/// a concatenation of `parts`, each of which starts a block, with its gradients:
/// `y[o, i, j] = sum over c, ky, kx of w[o, c, ky, kx] x[c, s i + ky - k / 2, s j + kx - k / 2]`, where `k` and `s` are the side
/// and the stride of its [`Kernel`]. Of a map of height `h` it makes one of `ceil(h / s)` rows, and so with the width.
///
/// A sum may take in values just outside its window with a weight of 0: where one of them is not finite, neither is the
/// sum.
///
/// ```
/// use unet3p_kernels::{AlignedBuffer, BlockedConv2d, BlockedShape, Isa, Kernel};
///
/// // two images of one channel, 4x4 pixels of 1, under a box filter
/// let map = BlockedShape { channels: 1, height: 4, width: 4 };
/// let mut x = AlignedBuffer::zeroed(2 * map.elements());
/// for image in 0..2 {
///     map.batch_mut(2, &mut x).image(image).pack(1, &[1.0; 16]);
/// }
/// let conv = BlockedConv2d::new(Isa::current(), &[1], &[1.0; 9]);
/// let mut memory = AlignedBuffer::zeroed(0);
/// let mut y = AlignedBuffer::zeroed(2 * map.elements());
/// conv.run(map.batch(2, &x), map.batch_mut(2, &mut y), &mut memory);
/// let mut planes = [0.0; 16];
/// map.batch(2, &y).image(1).unpack(1, &mut planes);
/// assert_eq!(planes[..4], [4.0, 6.0, 6.0, 4.0]);
///
/// // the gradient of the weights, where that of y is 1 everywhere
/// let mut grad_w = [0.0; 9];
/// conv.weight_gradient(map.batch(2, &x), map.batch(2, &x), &mut grad_w, &mut memory);
/// assert_eq!(grad_w[4], 32.0);
///
/// // every second pixel
/// let kernel = Kernel { side: 1, stride: 2 };
/// let half = BlockedShape { channels: 1, height: 2, width: 2 };
/// let mut y = AlignedBuffer::zeroed(2 * half.elements());
/// let conv = BlockedConv2d::with_kernel(Isa::current(), &[1], kernel, &[3.0]);
/// conv.run(map.batch(2, &x), half.batch_mut(2, &mut y), &mut memory);
/// let mut planes = [0.0; 4];
/// half.batch(2, &y).image(1).unpack(1, &mut planes);
/// assert_eq!(planes, [3.0; 4]);
/// ```
#[derive(Debug)]
pub struct BlockedConv2d<'a> {
    pub(super) isa: Isa,
    pub(super) inputs: InputBlocks,
    pub(super) outputs: usize,
    pub(super) kernel: Kernel,
    pub(super) weight: &'a [f32],
}

impl<'a> BlockedConv2d<'a> {
    /// With a kernel of 3x3 and weights `[outputs, sum of parts, 3, 3]`.
    ///
    /// # Panics
    /// As [`BlockedConv2d::with_kernel`].
    pub fn new(isa: Isa, parts: &[usize], weight: &'a [f32]) -> Self {
        Self::with_kernel(isa, parts, Kernel::SAME, weight)
    }

    /// With weights `[outputs, sum of parts, kernel.side, kernel.side]`.
    ///
    /// # Panics
    /// Where the side of the kernel is even or its stride neither 1 nor 2, the parts, or the length of `weight`, do not fit:
    /// `kernel: ...`, `parts: ...`, `weight: ...`.
    pub fn with_kernel(isa: Isa, parts: &[usize], kernel: Kernel, weight: &'a [f32]) -> Self {
        kernel.check();
        let (inputs, outputs) = checked_channels(parts, kernel.side, weight);
        Self { isa, inputs, outputs, kernel, weight }
    }

    /// Checks the maps by their names: channels of both, images, rows and columns of the second.
    #[track_caller]
    fn check(&self, [(x_name, x), (y_name, y)]: [(&str, [usize; 4]); 2]) {
        let [images, _, height, width] = x;
        let [rows, cols] = self.kernel.output([height, width]);
        check_size(x_name, x, [images, self.inputs.len(), height, width]);
        check_size(y_name, y, [images, self.outputs.div_ceil(LANES), rows, cols]);
    }

    /// `y = W x`. The packed weights lie in `memory`, which grows as needed and is best used again.
    ///
    /// # Panics
    /// Where `x` or `y` has other channels, `y` is of another size, or `x` some rows of a map and the kernel larger than 3x3:
    /// `x: ...`, `y: ...`.
    pub fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, memory: &mut AlignedBuffer) {
        self.check([("x", x.layout.dims()), ("y", y.layout.dims())]);
        match self.kernel {
            Kernel::SAME => {}
            Kernel { side: 1 | 3, .. } => return self.run_taps(x, y, memory),
            _ => return self.run_wide(x, y, memory),
        }
        let (total, weight) = (self.inputs.total(), self.weight);
        let taps = |o: usize, c: usize| std::array::from_fn(|tap| weight[(o * total + c) * 9 + tap]);
        run(self.isa, &self.inputs, self.outputs, taps, x, y, Write::Replace, memory);
    }

    /// The gradient of `x` from that of `y`: a convolution with the flipped kernel, inputs and outputs exchanged.
    ///
    /// # Panics
    /// Where `grad_y` or `grad_x` has other channels, or `grad_x` is of another size than those that the kernel takes to that
    /// of `grad_y`: `grad_y: ...`, `grad_x: ...`.
    pub fn input_gradient(
        &self,
        grad_y: BlockedView<'_>,
        grad_x: BlockedViewMut<'_>,
        write: Write,
        memory: &mut AlignedBuffer,
    ) {
        let [images, _, rows, cols] = grad_y.layout.dims();
        check_size("grad_y", grad_y.layout.dims(), [images, self.outputs.div_ceil(LANES), rows, cols]);
        let [_, _, height, width] = grad_x.layout.dims();
        let sides = if self.kernel.output([height, width]) == [rows, cols] {
            [height, width]
        } else {
            [rows, cols].map(|side| side * self.kernel.stride)
        };
        check_size("grad_x", grad_x.layout.dims(), [images, self.inputs.len(), sides[0], sides[1]]);
        match self.kernel {
            Kernel::SAME => {}
            Kernel { side: 1 | 3, .. } => return self.input_gradient_taps(grad_y, grad_x, write, memory),
            _ => return self.input_gradient_wide(grad_y, grad_x, write, memory),
        }
        let (total, weight) = (self.inputs.total(), self.weight);
        let taps = |lane: usize, o: usize| match self.inputs.channel(lane) {
            Some(c) => std::array::from_fn(|tap| weight[(o * total + c) * 9 + 8 - tap]),
            None => [0.0; 9],
        };
        let lanes = self.inputs.len() * LANES;
        run(self.isa, &InputBlocks::new(&[self.outputs]), lanes, taps, grad_y, grad_x, write, memory);
    }

    /// The gradient of the weights; `memory` as for [`BlockedConv2d::run`].
    ///
    /// # Panics
    /// Where `x` or `grad_y` has other channels, `grad_y` is of another size or some rows of a map, `x` some rows of a map and
    /// the kernel larger than 3x3, or `grad_w` is not as long as the weights: `x: ...`, `grad_y: ...`, `grad_w: ...`.
    pub fn weight_gradient(
        &self,
        x: BlockedView<'_>,
        grad_y: BlockedView<'_>,
        grad_w: &mut [f32],
        memory: &mut AlignedBuffer,
    ) {
        self.check([("x", x.layout.dims()), ("grad_y", grad_y.layout.dims())]);
        let side = self.kernel.side;
        // a tile at the last row takes in what lies behind it, which has to be the halo's zeros
        assert!(grad_y.layout.has_all_rows(), "grad_y: some rows of a map, where all of them fit");
        check_len("grad_w", grad_w.len(), &[self.outputs, self.inputs.total(), side, side]);
        match self.kernel {
            Kernel::SAME => {}
            Kernel { side: 1 | 3, .. } => return self.weight_gradient_taps(x, grad_y, grad_w),
            _ => return self.weight_gradient_wide(x, grad_y, grad_w, memory),
        }
        let [images, blocks, height, width] = x.layout.dims();
        let (depth, columns) = (blocks * LANES, self.outputs.next_multiple_of(LANES));
        let products = depth * columns;
        let transforms = (depth + columns) as f64 * ConvCosts::TRAINING.transform;
        let tiles = images * height.div_ceil(4) * width.div_ceil(4);
        let by_tiles = 36.0 * (tiles as f64 * (products as f64 + transforms) + (products * SUM_COST) as f64);
        let pixels = images * height * (x.layout.pitch / LANES);
        let direct = 9.0 * products as f64 * (pixels as f64 * STRIDED_COST + SUM_COST as f64);
        if by_tiles < direct {
            x.check_reach(4, 4);
            grad_y.check_reach(4, 4);
            return weight_gradient(
                self.isa,
                images,
                [height, width],
                (&x, &self.inputs),
                (&grad_y, self.outputs),
                grad_w,
                memory,
            );
        }
        self.weight_gradient_taps(x, grad_y, grad_w);
    }
}

/// A convolution whose weights are packed for this once.
#[allow(clippy::too_many_arguments)] // the operation's own operands
fn run(
    isa: Isa,
    inputs: &InputBlocks,
    outputs: usize,
    taps: impl Fn(usize, usize) -> [f32; 9] + Sync,
    x: BlockedView<'_>,
    y: BlockedViewMut<'_>,
    write: Write,
    memory: &mut AlignedBuffer,
) {
    let [_, height, width] = x.size();
    let taken = std::mem::replace(memory, AlignedBuffer::zeroed(0));
    let product = Product::new(inputs.len() as f64, inputs.segment, outputs);
    *memory = match ConvAlgorithm::choose(ConvCosts::TRAINING, &product, [x.layout.images, height, width]) {
        ConvAlgorithm::Direct => {
            let layer = DirectConv2d::packed(isa, inputs.clone(), outputs, taps, taken);
            layer.apply(x, y, write);
            layer.into_memory()
        }
        ConvAlgorithm::Winograd(tile) => {
            let layer = WinogradConv2d::packed(isa, tile, inputs.clone(), outputs, taps, taken);
            layer.apply(x, y, write);
            layer.into_memory()
        }
    };
}
