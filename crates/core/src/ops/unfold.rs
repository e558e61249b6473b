//! Convolutions with a stride, through the neighbourhood of each pixel.

use candle_core::{Result, Tensor, bail};
use unet3p_kernels::Window;

use super::conv::conv2d;
use super::kernel::{dims4, vector};
use crate::backend::Backend;

/// Convolution with a stride and zero padding `k / 2`:
/// `y[b, o, i, j] = sum over c, ky, kx of w[o, c, ky, kx] x[b, c, i stride + ky - k/2, j stride + kx - k/2]`.
///
/// `x` is `[batch, in, height, width]`, whose sides are multiples of the stride, `weight` `[out, in, k, k]` with an odd k;
/// the result is `[batch, out, height / stride, width / stride]`. The neighbourhoods of the output's pixels are laid out
/// as channels, and a 1x1 convolution sums them up: for the few convolutions of a network that have a stride.
///
/// # Errors
/// Where shapes do not fit, or element types differ.
pub fn conv2d_strided(backend: Backend, x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let [_, inputs, height, width] = dims4("conv2d_strided", x.dims())?;
    let [outputs, depth, kernel, side] = dims4("conv2d_strided", weight.dims())?;
    if depth != inputs || kernel != side || kernel % 2 == 0 {
        bail!("conv2d_strided: a weight {:?} for an input of {inputs} channels", weight.dims());
    }
    if stride == 0 || [height, width].iter().any(|side| *side == 0 || !side.is_multiple_of(stride)) {
        bail!(
            "conv2d_strided: a map of {height}x{width} by a stride of {stride}: sides must be multiples of it"
        );
    }
    let taps = Tensor::stack(&taps(x, Window { side: kernel, stride, padding: kernel / 2 }, 0.0)?, 2)?;
    let columns = taps.reshape(((), inputs * kernel * kernel, height / stride, width / stride))?;
    conv2d(backend, &columns, &weight.reshape((outputs, inputs * kernel * kernel, 1, 1))?, None)
}

/// For each place in a window, in row-major order, what the windows have there: `[batch, channels, rows, cols]`, with
/// `outside` where they reach beyond `x`.
pub(super) fn taps(x: &Tensor, window: Window, outside: f64) -> Result<Vec<Tensor>> {
    let [batch, channels, height, width] = dims4("taps", x.dims())?;
    let Window { side, stride, padding } = window;
    let Some([rows, cols]) = window.pooled([height, width]) else {
        bail!("{window:?} of a map of {height}x{width}");
    };
    // the pixels of each phase of the stride lie side by side, so that a tap is a rectangle of one of them
    let fits = |len: usize| (len + 2 * padding).next_multiple_of(stride);
    let padded = pad(&pad(x, 2, padding, fits(height), outside)?, 3, padding, fits(width), outside)?;
    let (tall, wide) = (fits(height) / stride, fits(width) / stride);
    let grid = padded.reshape(&[batch, channels, tall, stride, wide, stride][..])?;
    let phase = |phase: usize| {
        let phase = grid.narrow(3, phase / stride, 1)?.narrow(5, phase % stride, 1)?;
        phase.contiguous()?.reshape((batch, channels, tall, wide))
    };
    let phases = (0..stride * stride).map(phase).collect::<Result<Vec<_>>>()?;
    let tap = |tap: usize| {
        let (y, x) = (tap / side, tap % side);
        phases[y % stride * stride + x % stride].narrow(2, y / stride, rows)?.narrow(3, x / stride, cols)
    };
    (0..side * side).map(tap).collect()
}

/// `x` with `before` times `value` before it along a dimension, and as many behind it as make it `len` long.
fn pad(x: &Tensor, dim: usize, before: usize, len: usize, value: f64) -> Result<Tensor> {
    let part = |count: usize| {
        let mut shape = x.dims().to_vec();
        shape[dim] = count;
        vector(vec![value], x)?.reshape((1, 1, 1, 1))?.broadcast_as(shape)
    };
    let behind = len - before - x.dim(dim)?;
    let parts = [(before > 0).then(|| part(before)), Some(Ok(x.clone())), (behind > 0).then(|| part(behind))];
    Tensor::cat(&parts.into_iter().flatten().collect::<Result<Vec<_>>>()?, dim)
}
