//! The neighbourhood of a pixel as its channels.

use std::ops::Range;

use rayon::prelude::*;

use crate::blocked::{BlockedView, BlockedViewMut};
use crate::simd::LANES;
use crate::sizes::{check_size, check_stride, elements};

/// What a convolution of `channels` channels with a `kernel` x `kernel` kernel, zero padding `kernel / 2` and this stride
/// sums up at each of its pixels:
/// `y[(c, ky, kx), i, j] = x[c, i stride + ky - kernel / 2, j stride + kx - kernel / 2]`, channels in the order of a
/// weight's. The convolution is then a [`PointwiseConv2d`](crate::PointwiseConv2d). For the few convolutions with a stride,
/// whose input is large and whose output is small.
///
/// # Panics
/// Where `x` has other channels or several images (`x: ...`), `y` has other channels or another size than `[height / stride,
/// width / stride]` (`y: ...`), the kernel or the stride is 0 or beyond the address space (`kernel: ...`, `stride: ...`).
pub fn unfold2d_blocked(
    x: BlockedView<'_>,
    channels: usize,
    kernel: usize,
    stride: usize,
    y: BlockedViewMut<'_>,
) {
    let ([_, height, width], [blocks, rows, cols]) = (x.size(), y.size());
    check_size("x", x.layout.dims(), [1, channels.div_ceil(LANES), height, width]);
    check_stride(stride);
    let columns = elements("kernel", &[channels, kernel, kernel]);
    let taps = kernel * kernel;
    check_size("y", y.layout.dims(), [1, columns.div_ceil(LANES), height / stride, width / stride]);
    // the output columns whose operand lies within the row
    let inside = |kx: usize| -> Range<usize> {
        let start = (kernel / 2).saturating_sub(kx).div_ceil(stride);
        let end = (width + kernel / 2).saturating_sub(kx).div_ceil(stride).min(cols);
        start.min(end)..end
    };
    (0..blocks * rows).into_par_iter().for_each(|task| {
        let (block, row) = (task / rows, task % rows);
        // SAFETY: this row of this block is this task's alone.
        let line = unsafe { y.data.slice(y.layout.at(block, row, 0), cols * LANES) };
        line.fill(0.0);
        for (lane, column) in (block * LANES..columns).take(LANES).enumerate() {
            let (channel, tap) = (column / taps, column % taps);
            let (ky, kx) = (tap / kernel, tap % kernel);
            let Some(from) = (row * stride + ky).checked_sub(kernel / 2).filter(|&from| from < height) else {
                continue;
            };
            let source = &x.data[x.layout.at(channel / LANES, from, 0) + channel % LANES..];
            for j in inside(kx) {
                line[j * LANES + lane] = source[(j * stride + kx - kernel / 2) * LANES];
            }
        }
    });
}
