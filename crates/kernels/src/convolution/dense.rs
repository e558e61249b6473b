//! Convolution 3x3 and 1x1, stride 1, zero padding that keeps the size, as im2col and GEMM over tiles of
//! pixels.

use std::ops::Range;

use rayon::prelude::*;

use crate::aligned::AlignedBuffer;
use crate::convolution::channels::InputBlocks;
use crate::convolution::im2col::im2col3x3;
use crate::convolution::winograd::{self, PlaneSink, PlaneSource, Planes, Tile, Winograd};
use crate::matmul::{Matrix, matmul};
use crate::scalar::Scalar;
use crate::shared::Shared;
use crate::simd::Isa;
use crate::sizes::{check_len, count};

/// The shape of a convolution with stride 1 and zero padding `kernel / 2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows of the input and of the output.
    pub height: usize,
    /// Columns of the input and of the output.
    pub width: usize,
    /// Side of the kernel: 1 or 3.
    pub kernel: usize,
}

/// Elements of the unfolded matrix that one task holds: a megabyte of f32, about a core's second-level cache.
const TILE_ELEMENTS: usize = 1 << 18;
/// Fewest and most pixels of a tile: wide enough for GEMM's kernel, many enough to share out.
const TILE_PIXELS: (usize, usize) = (64, 4096);

/// Fewest channels, and pixels of all images together, that Winograd's algorithm is used for.
const WINOGRAD_CHANNELS: usize = 8;
const WINOGRAD_PIXELS: usize = 256;

impl Conv2d {
    /// Multiply-adds of the convolution as written, at most `u64::MAX`.
    pub fn multiply_adds(&self) -> u64 {
        let Self { batch, in_channels, out_channels, height, width, kernel } = *self;
        count(&[batch, out_channels, in_channels, kernel, kernel, height, width])
    }

    /// Whether Winograd's algorithm is the faster one: with fewer channels the transforms cost more than they save,
    /// with fewer pixels those of the weights do.
    fn suits_winograd(&self) -> bool {
        let pixels = self.batch * self.height * self.width;
        self.kernel == 3
            && self.in_channels.min(self.out_channels) >= WINOGRAD_CHANNELS
            && pixels >= WINOGRAD_PIXELS
    }

    fn plane(&self) -> usize {
        self.height * self.width
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Length of the dot product behind one output value.
    fn depth(&self) -> usize {
        self.in_channels * self.taps()
    }

    /// The sides of the input, of the weights and of the output.
    pub(crate) fn sides(&self) -> [[usize; 4]; 3] {
        let Self { batch, in_channels, out_channels, height, width, kernel } = *self;
        [
            [batch, in_channels, height, width],
            [out_channels, in_channels, kernel, kernel],
            [batch, out_channels, height, width],
        ]
    }

    /// Checks the lengths of the input, the weights and the output, each with its name.
    #[track_caller]
    pub(crate) fn check(&self, operands: [(&str, usize); 3]) {
        assert!(self.kernel == 1 || self.kernel == 3, "kernel: {}, where 1 or 3 fits", self.kernel);
        for ((what, given), sides) in operands.into_iter().zip(self.sides()) {
            check_len(what, given, &sides);
        }
    }

    /// Tiles of pixels, as (image, pixels), for a matrix of `rows` rows.
    fn tiles(&self, rows: usize) -> Vec<(usize, Range<usize>)> {
        let pixels = (TILE_ELEMENTS / rows.max(1)).clamp(TILE_PIXELS.0, TILE_PIXELS.1);
        let plane = self.plane();
        (0..self.batch)
            .flat_map(|image| {
                (0..plane).step_by(pixels).map(move |from| (image, from..plane.min(from + pixels)))
            })
            .collect()
    }
}

/// `channels` of one image of `x`, unfolded at `pixels`: borrowed for a 1x1 kernel, gathered into `columns`
/// for 3x3. Element (r, p) of the matrix is input `r` of pixel `p`.
fn unfold<'a, T: Scalar>(
    shape: &Conv2d,
    x: &'a [T],
    image: usize,
    channels: Range<usize>,
    pixels: Range<usize>,
    columns: &'a mut Vec<T>,
) -> Matrix<'a, T> {
    let plane = shape.plane();
    let planes = &x[(image * shape.in_channels + channels.start) * plane..][..channels.len() * plane];
    if shape.kernel == 1 {
        return Matrix::rows(&planes[pixels.start..], plane);
    }
    let n = pixels.len();
    columns.resize(channels.len() * 9 * n, T::ZERO);
    im2col3x3(planes, shape.height, shape.width, pixels, columns);
    Matrix::rows(columns, n)
}

/// Convolution: `y[b, o, i, j] = bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[b, c, i + ky - k/2, j + kx - k/2]`,
/// where `x` is zero outside the image.
///
/// # Panics
/// Where a slice's length does not match `shape`: `x: ...`, `w: ...`, `y: ...`, `bias: ...`; where the kernel is neither 1 nor
/// 3: `kernel: ...`.
pub fn conv2d<T: Scalar>(shape: &Conv2d, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T]) {
    shape.check([("x", x.len()), ("w", w.len()), ("y", y.len())]);
    if let Some(bias) = bias {
        check_len("bias", bias.len(), &[shape.out_channels]);
    }
    if shape.suits_winograd()
        && let (Some(x), Some(w), Some(y)) = (T::as_single(x), T::as_single(w), T::as_single_mut(y))
    {
        let bias = bias.and_then(T::as_single);
        let taps = |o: usize, c: usize| std::array::from_fn(|tap| w[(o * shape.in_channels + c) * 9 + tap]);
        return winograd(Isa::current(), shape, x, taps, bias, y);
    }
    conv2d_by_gemm(shape, x, w, bias, y);
}

/// [`conv2d`] of 3x3 kernels by Winograd's algorithm; `taps(o, c)` are the weights of output `o` and input `c`.
pub(crate) fn winograd(
    isa: Isa,
    shape: &Conv2d,
    x: &[f32],
    taps: impl Fn(usize, usize) -> [f32; 9] + Sync,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let Conv2d { batch, in_channels, out_channels, height, width, .. } = *shape;
    let (inputs, memory) = (InputBlocks::new(&[in_channels]), AlignedBuffer::zeroed(0));
    let mut layer = Winograd::new(isa, Tile::Four, inputs, out_channels, taps, memory);
    if let Some(bias) = bias {
        layer.epilogue.set_bias(bias);
    }
    let source = PlaneSource { data: x, planes: Planes { channels: in_channels, height, width } };
    let sink = PlaneSink { data: Shared::new(y), planes: Planes { channels: out_channels, height, width } };
    layer.run(batch, &source, &sink);
}

/// [`conv2d`] as im2col and GEMM.
fn conv2d_by_gemm<T: Scalar>(shape: &Conv2d, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T]) {
    let plane = shape.plane();
    let out = Shared::new(y);
    shape.tiles(shape.depth()).into_par_iter().for_each_init(Vec::new, |columns, (image, pixels)| {
        let rhs = unfold(shape, x, image, 0..shape.in_channels, pixels.clone(), columns);
        let start = image * shape.out_channels * plane + pixels.start;
        for channel in 0..shape.out_channels {
            // SAFETY: the tile's pixels of this image belong to this task alone.
            let row = unsafe { out.slice(start + channel * plane, pixels.len()) };
            row.fill(bias.map_or(T::ZERO, |bias| bias[channel]));
        }
        // SAFETY: as above; rows are `plane` apart and the reach is within the image's output.
        unsafe {
            let reach = (shape.out_channels - 1) * plane + pixels.len() - 1;
            let dims = [shape.out_channels, shape.depth(), pixels.len()];
            matmul(dims, Matrix::rows(w, shape.depth()), rhs, out.at(start, reach), plane);
        }
    });
}

/// Gradient of [`conv2d`] with respect to its input: the convolution of `grad_y` with the flipped kernel, in
/// and out channels exchanged.
///
/// # Panics
/// Where a slice's length does not match `shape`: `grad_x: ...`, `w: ...`, `grad_y: ...`; or `kernel: ...`.
pub fn conv2d_backward_input<T: Scalar>(shape: &Conv2d, grad_y: &[T], w: &[T], grad_x: &mut [T]) {
    shape.check([("grad_x", grad_x.len()), ("w", w.len()), ("grad_y", grad_y.len())]);
    let (taps, inputs, outputs) = (shape.taps(), shape.in_channels, shape.out_channels);
    let transposed = Conv2d { in_channels: outputs, out_channels: inputs, ..*shape };
    if transposed.suits_winograd()
        && let (Some(grad_y), Some(w), Some(grad_x)) =
            (T::as_single(grad_y), T::as_single(w), T::as_single_mut(grad_x))
    {
        let flipped = |c: usize, o: usize| std::array::from_fn(|tap| w[(o * inputs + c) * 9 + 8 - tap]);
        return winograd(Isa::current(), &transposed, grad_y, flipped, None, grad_x);
    }
    let mut flipped = vec![T::ZERO; w.len()];
    for (o, row) in w.chunks_exact(inputs * taps).enumerate() {
        for (c, kernel) in row.chunks_exact(taps).enumerate() {
            let target = &mut flipped[(c * outputs + o) * taps..][..taps];
            for (to, &from) in target.iter_mut().zip(kernel.iter().rev()) {
                *to = from;
            }
        }
    }
    conv2d_by_gemm(&transposed, grad_y, &flipped, None, grad_x);
}

/// Fewest parts that a weight gradient is cut into, so that cores up to this number have work.
const WEIGHT_PARTS: usize = 16;

/// Gradient of [`conv2d`] with respect to its weight:
/// `grad_w[o, c, ky, kx] = sum over b, i, j of grad_y[b, o, i, j] x[b, c, i + ky - k/2, j + kx - k/2]`.
///
/// # Panics
/// Where a slice's length does not match `shape`: `x: ...`, `grad_w: ...`, `grad_y: ...`; or `kernel: ...`.
pub fn conv2d_backward_weight<T: Scalar>(shape: &Conv2d, x: &[T], grad_y: &[T], grad_w: &mut [T]) {
    shape.check([("x", x.len()), ("grad_w", grad_w.len()), ("grad_y", grad_y.len())]);
    if shape.suits_winograd()
        && let (Some(x), Some(grad_y), Some(grad_w)) =
            (T::as_single(x), T::as_single(grad_y), T::as_single_mut(grad_w))
    {
        let Conv2d { batch, in_channels, out_channels, height, width, .. } = *shape;
        let x = PlaneSource { data: x, planes: Planes { channels: in_channels, height, width } };
        let grad_y = PlaneSource { data: grad_y, planes: Planes { channels: out_channels, height, width } };
        let inputs = InputBlocks::new(&[in_channels]);
        let size = [height, width];
        return winograd::weight_gradient(
            Isa::current(),
            batch,
            size,
            (&x, &inputs),
            (&grad_y, out_channels),
            grad_w,
            &mut AlignedBuffer::zeroed(0),
        );
    }
    weight_gradient_by_gemm(shape, x, grad_y, grad_w);
}

/// [`conv2d_backward_weight`] as im2col and GEMM.
///
/// The parts are blocks of input channels, which need no sum across tasks; where there are few channels, also
/// groups of tiles, whose partial sums are added in order.
fn weight_gradient_by_gemm<T: Scalar>(shape: &Conv2d, x: &[T], grad_y: &[T], grad_w: &mut [T]) {
    let (taps, inputs, outputs, plane) = (shape.taps(), shape.in_channels, shape.out_channels, shape.plane());
    let block = inputs.div_ceil(WEIGHT_PARTS);
    let blocks: Vec<_> = (0..inputs).step_by(block).map(|c| c..inputs.min(c + block)).collect();
    let tiles = shape.tiles(block * taps + outputs);
    let groups: Vec<_> = tiles.chunks(tiles.len().div_ceil(WEIGHT_PARTS.div_ceil(blocks.len()))).collect();
    let parts: Vec<_> =
        blocks.iter().flat_map(|block| groups.iter().map(move |group| (block, group))).collect();
    let partial = |(channels, group): &(&Range<usize>, &&[(usize, Range<usize>)])| {
        let depth = channels.len() * taps;
        let mut sum = vec![T::ZERO; outputs * depth];
        let mut columns = Vec::new();
        for (image, pixels) in group.iter() {
            let rhs = unfold(shape, x, *image, (*channels).clone(), pixels.clone(), &mut columns);
            let lhs = Matrix::rows(&grad_y[image * outputs * plane + pixels.start..], plane);
            // SAFETY: `sum` is this task's own, `outputs` rows of `depth`.
            unsafe {
                matmul([outputs, pixels.len(), depth], lhs, rhs.transposed(), sum.as_mut_ptr(), depth);
            }
        }
        sum
    };
    let sums: Vec<Vec<T>> = parts.par_iter().map(partial).collect();
    grad_w.fill(T::ZERO);
    for ((channels, _), sum) in parts.iter().zip(sums) {
        let depth = channels.len() * taps;
        for (row, part) in grad_w.chunks_exact_mut(inputs * taps).zip(sum.chunks_exact(depth)) {
            for (total, &value) in row[channels.start * taps..].iter_mut().zip(part) {
                *total += value;
            }
        }
    }
}
