//! Bilinear upsampling, alone and in front of a convolution.

use candle_core::{Device, Result, Shape, Tensor, bail};

use super::conv::{conv2d, taps_as_channels};
use super::kernel::{Element, Kernel, Operand, apply, compute, dims4};
use crate::backend::Backend;

/// Bilinear upsampling by a whole factor, with half-pixel centres and clamped edges (`align_corners = false`
/// of PyTorch, `UpSampling2D` of Keras): `[batch, channels, height, width]` to
/// `[batch, channels, height * scale, width * scale]`.
///
/// # Errors
/// Where the map is empty, or the factor is 0 or so large that no memory has the result.
pub fn upsample_bilinear2d(backend: Backend, x: &Tensor, scale: usize) -> Result<Tensor> {
    match backend {
        Backend::Kernels => apply(Upsample(scale), &[x]),
        Backend::Candle => {
            let [batch, channels, height, width] = checked("upsample_bilinear2d", x.dims(), scale)?;
            let (rows, cols) = (weights(height, scale, x)?, weights(width, scale, x)?);
            let wide = x.contiguous()?.reshape((batch * channels * height, width))?.matmul(&cols.t()?)?;
            let wide = wide.reshape((batch * channels, height, width * scale))?;
            rows.broadcast_matmul(&wide)?.reshape((batch, channels, height * scale, width * scale))
        }
    }
}

/// `conv2d(upsample_bilinear2d(x, scale), weight, bias)` with a 3x3 kernel.
///
/// On the CPU kernels the convolution comes first: upsampling acts on each channel alone, so it commutes with
/// mixing channels, and the products are formed at low resolution. The result is the same but for rounding.
///
/// # Errors
/// Where shapes do not fit.
pub fn upsample_conv2d(
    backend: Backend,
    x: &Tensor,
    scale: usize,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<Tensor> {
    match backend {
        Backend::Kernels => {
            let (weight, bias) = taps_as_channels(weight, bias)?;
            apply(TapSum(scale), &[&conv2d(backend, x, &weight, Some(&bias))?])
        }
        Backend::Candle => conv2d(backend, &upsample_bilinear2d(backend, x, scale)?, weight, Some(bias)),
    }
}

/// The interpolation matrix `[len * scale, len]`, in the type and on the device of `like`.
fn weights(len: usize, scale: usize, like: &Tensor) -> Result<Tensor> {
    let matrix = unet3p_kernels::bilinear_weights::<f64>(len, scale);
    let matrix = Tensor::from_vec(matrix, (len * scale, len), &Device::Cpu)?;
    matrix.to_dtype(like.dtype())?.to_device(like.device())
}

/// Dimensions `[batch, planes, height, width]` of the input, after checks.
fn checked(op: &'static str, dims: &[usize], scale: usize) -> Result<[usize; 4]> {
    let dims = dims4(op, dims)?;
    let mut sides = dims.into_iter().chain([scale, scale, size_of::<f64>()]);
    let bytes = sides.try_fold(1usize, |product, side| product.checked_mul(side));
    if scale == 0 || dims.contains(&0) || bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        bail!("{op}: {dims:?} by a factor of {scale}");
    }
    Ok(dims)
}

struct Upsample(usize);

impl Kernel for Upsample {
    const NAME: &'static str = "upsample_bilinear2d";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        let [batch, channels, height, width] = checked(Self::NAME, dims[0], self.0)?;
        Ok((batch, channels, height * self.0, width * self.0).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let x = operands[0];
        unet3p_kernels::upsample_bilinear2d([x.dims[2], x.dims[3]], self.0, x.data, out);
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(compute(UpsampleBackward(self.0), &[grad])?)])
    }
}

struct UpsampleBackward(usize);

impl Kernel for UpsampleBackward {
    const NAME: &'static str = "upsample_bilinear2d-backward";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        let [batch, channels, height, width] = dims4(Self::NAME, dims[0])?;
        Ok((batch, channels, height / self.0, width / self.0).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let grad = operands[0];
        let size = [grad.dims[2] / self.0, grad.dims[3] / self.0];
        unet3p_kernels::upsample_bilinear2d_backward(size, self.0, grad.data, out);
    }
}

/// Upsamples, shifts and adds nine maps a channel: `[batch, 9 out, h, w]` to `[batch, out, h scale, w scale]`.
struct TapSum(usize);

impl Kernel for TapSum {
    const NAME: &'static str = "tap_sum";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        let [batch, planes, height, width] = checked(Self::NAME, dims[0], self.0)?;
        Ok((batch, planes / 9, height * self.0, width * self.0).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let z = operands[0];
        unet3p_kernels::tap_sum([z.dims[2], z.dims[3]], self.0, z.data, out);
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(compute(TapSumBackward(self.0), &[grad])?)])
    }
}

struct TapSumBackward(usize);

impl Kernel for TapSumBackward {
    const NAME: &'static str = "tap_sum-backward";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        let [batch, channels, height, width] = dims4(Self::NAME, dims[0])?;
        Ok((batch, 9 * channels, height / self.0, width / self.0).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let grad = operands[0];
        let size = [grad.dims[2] / self.0, grad.dims[3] / self.0];
        unet3p_kernels::tap_sum_backward(size, self.0, grad.data, out);
    }
}
