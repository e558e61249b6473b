//! 3x3 convolution and its gradients.

use super::Write;
use super::direct_weight_gradient::Products;
use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedView, BlockedViewMut};
use crate::channels::{InputBlocks, checked_inputs};
use crate::direct::DirectConv2d;
use crate::shared::Shared;
use crate::simd::{Isa, LANES};
use crate::sizes::{check_layer, check_len};
use crate::winograd::{Tile, WinogradConv2d, weight_gradient};

/// Costs in multiply-adds of a matrix product, measured with 16 to 1024 channels: of a value of a tile on its way through
/// a transform, and of a weight on its way through packing and back into the product, or of a sum into the gradient.
const TRANSFORM_COST: usize = 12;
const WEIGHT_COST: usize = 40;
/// Winograd's transforms lose up to four bits: they are taken where they leave less than this share of the cost.
const WORTH_DIGITS: f64 = 0.75;
/// The direct weight gradient's multiply-adds cost more than those of a product with packed operands.
const STRIDED_COST: f64 = 1.9;
/// Of a sum of products on its way into the gradient.
const SUM_COST: usize = 120;

/// A 3x3 convolution (zero padding, no bias) with weights `[out, in, 3, 3]`, of maps whose input channels are a
/// concatenation of `parts`, each of which starts a block: `y[o, i, j] = sum over c, ky, kx of w[o, c, ky, kx] x[c, i + ky -
/// 1, j + kx - 1]`, with its gradients.
///
/// ```
/// use unet3p_kernels::{AlignedBuffer, BlockedConv2d, BlockedShape, Isa};
///
/// // two images of one channel, 4x4 pixels of 1, under a box filter
/// let map = BlockedShape { channels: 1, height: 4, width: 4 };
/// let mut x = AlignedBuffer::zeroed(2 * map.elements());
/// for image in 0..2 {
///     map.batch_mut(2, &mut x).image(image).pack(1, &[1.0; 16]);
/// }
/// let conv = BlockedConv2d::new(Isa::current(), &[1], 1, &[1.0; 9]);
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
/// ```
#[derive(Debug)]
pub struct BlockedConv2d<'a> {
    isa: Isa,
    inputs: InputBlocks,
    outputs: usize,
    weight: &'a [f32],
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Direct,
    Winograd(Tile),
}

impl Algorithm {
    /// The cheapest for `tiles(side)` tiles of a side, matrices of `depth` rows and `columns`, and `lanes` of inputs and
    /// outputs; as written where that costs little more.
    fn choose(depth: usize, columns: usize, lanes: usize, tiles: impl Fn(usize) -> usize) -> Self {
        let cost = |algorithm: &Self| {
            let (tile, places) = match algorithm {
                Self::Direct => (1, 9),
                Self::Winograd(Tile::Two) => (2, 16),
                Self::Winograd(Tile::Four) => (4, 36),
            };
            let transforms = if tile == 1 { 0 } else { lanes * TRANSFORM_COST };
            let (tiles, weights) = (tiles(tile) as f64, (depth * columns) as f64);
            let cost = places as f64 * (tiles * (weights + transforms as f64) + weights * WEIGHT_COST as f64);
            if tile == 1 { cost * WORTH_DIGITS } else { cost }
        };
        let all = [Self::Direct, Self::Winograd(Tile::Two), Self::Winograd(Tile::Four)];
        all.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(Self::Direct)
    }
}

impl<'a> BlockedConv2d<'a> {
    /// With weights `[outputs, sum of parts, 3, 3]`.
    ///
    /// # Panics
    /// Where the parts, or the length of `weight`, do not fit: `parts: ...`, `weight: ...`.
    pub fn new(isa: Isa, parts: &[usize], outputs: usize, weight: &'a [f32]) -> Self {
        let inputs = checked_inputs(parts, outputs, weight);
        Self { isa, inputs, outputs, weight }
    }

    /// Blocks of input and of output channels.
    fn blocks(&self) -> [usize; 2] {
        [self.inputs.len(), self.outputs.div_ceil(LANES)]
    }

    /// `y = W x`. The packed weights lie in `memory`, which grows as needed and is best used again.
    ///
    /// # Panics
    /// Where `x` or `y` has other channels, or `y` is of another size: `x: ...`, `y: ...`.
    pub fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, memory: &mut AlignedBuffer) {
        let [inputs, outputs] = self.blocks();
        check_layer([("x", x.place.dims()), ("y", y.place.dims())], [inputs, outputs]);
        let (total, weight) = (self.inputs.total(), self.weight);
        let taps = |o: usize, c: usize| std::array::from_fn(|tap| weight[(o * total + c) * 9 + tap]);
        run(self.isa, &self.inputs, self.outputs, taps, x, y, Write::Replace, memory);
    }

    /// The gradient of `x` from that of `y`: a convolution with the flipped kernel, inputs and outputs exchanged.
    ///
    /// # Panics
    /// Where `grad_y` or `grad_x` has other channels, or `grad_x` is of another size: `grad_y: ...`, `grad_x: ...`.
    pub fn input_gradient(
        &self,
        grad_y: BlockedView<'_>,
        grad_x: BlockedViewMut<'_>,
        write: Write,
        memory: &mut AlignedBuffer,
    ) {
        let [inputs, outputs] = self.blocks();
        let maps = [("grad_y", grad_y.place.dims()), ("grad_x", grad_x.place.dims())];
        check_layer(maps, [outputs, inputs]);
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
    /// Where `x` or `grad_y` has other channels, `grad_y` is of another size or some rows of a map, or `grad_w` is not as long as
    /// the weights: `x: ...`, `grad_y: ...`, `grad_w: ...`.
    pub fn weight_gradient(
        &self,
        x: BlockedView<'_>,
        grad_y: BlockedView<'_>,
        grad_w: &mut [f32],
        memory: &mut AlignedBuffer,
    ) {
        check_layer([("x", x.place.dims()), ("grad_y", grad_y.place.dims())], self.blocks());
        // a tile at the last row takes in what lies behind it, which has to be the halo's zeros
        assert!(grad_y.place.has_all_rows(), "grad_y: some rows of a map, where all of them fit");
        check_len("grad_w", grad_w.len(), &[self.outputs, self.inputs.total(), 3, 3]);
        let [images, blocks, height, width] = x.place.dims();
        let (depth, columns) = (blocks * LANES, self.outputs.next_multiple_of(LANES));
        let (products, transforms) = (depth * columns, (depth + columns) * TRANSFORM_COST);
        let tiles = images * height.div_ceil(4) * width.div_ceil(4);
        let by_tiles = 36.0 * (tiles as f64 * (products + transforms) as f64 + (products * SUM_COST) as f64);
        let pixels = images * height * (x.place.pitch / LANES);
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
        let total = self.inputs.total();
        let out = Shared::new(grad_w);
        Products { x, grad: grad_y, taps: 9 }.run(self.isa, |block, of_grad, sums| {
            let channels = &self.inputs.channels[block];
            for (lane, o) in (of_grad * LANES..self.outputs).take(LANES).enumerate() {
                // SAFETY: these channels of this output are this pair of blocks' alone.
                let to = unsafe { out.slice((o * total + channels.start) * 9, channels.len() * 9) };
                for (c, to) in to.chunks_exact_mut(9).enumerate() {
                    to.iter_mut().zip(sums).for_each(|(to, sums)| *to = sums[c][lane]);
                }
            }
        });
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
    let tiles = |side: usize| x.place.images * height.div_ceil(side) * width.div_ceil(side);
    let taken = std::mem::replace(memory, AlignedBuffer::zeroed(0));
    let (depth, columns) = (inputs.len() * inputs.segment, outputs.next_multiple_of(LANES));
    *memory = match Algorithm::choose(depth, columns, inputs.len() * LANES + columns, tiles) {
        Algorithm::Direct => {
            let layer = DirectConv2d::packed(isa, inputs.clone(), outputs, taps, taken);
            layer.apply(x, y, write);
            layer.into_memory()
        }
        Algorithm::Winograd(tile) => {
            let layer = WinogradConv2d::packed(isa, tile, inputs.clone(), outputs, taps, taken);
            layer.apply(x, y, write);
            layer.into_memory()
        }
    };
}
