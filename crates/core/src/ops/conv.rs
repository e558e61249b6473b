//! Convolution 3x3 and 1x1.

use candle_core::{Result, Shape, Tensor, bail};
use unet3p_kernels::Conv2d;

use super::attach::attach;
use super::kernel::{Element, Kernel, Operand, apply, compute, dims4, needs_gradient, spread, vector};
use crate::backend::Backend;

/// Convolution with stride 1 and zero padding `k / 2`:
/// `y[b, o, i, j] = bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[b, c, i + ky - k/2, j + kx - k/2]`.
///
/// `x` is `[batch, in, height, width]`, `weight` `[out, in, k, k]` with k = 1 or 3, `bias` `[out]`; the result
/// is `[batch, out, height, width]`.
///
/// # Errors
/// Where shapes do not fit, or element types differ.
pub fn conv2d(backend: Backend, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match backend {
        Backend::Kernels => match bias {
            Some(bias) => apply(Forward, &[x, weight, bias]),
            None => apply(Forward, &[x, weight]),
        },
        Backend::Candle => {
            let shape = shape(x.dims(), weight.dims())?;
            let y = x.detach().conv2d(&weight.detach(), shape.kernel / 2, 1, 1, 1)?;
            let y = attach("conv2d", &y, x, weight, composed_backward)?;
            match bias {
                Some(bias) => {
                    let Conv2d { batch, out_channels, height, width, .. } = shape;
                    &y + spread(bias, [batch, out_channels, height, width])?
                }
                None => Ok(y),
            }
        }
    }
}

/// The convolution of operands with these dimensions.
fn shape(x: &[usize], weight: &[usize]) -> Result<Conv2d> {
    let [batch, in_channels, height, width] = dims4("conv2d", x)?;
    let [out_channels, depth, kernel, side] = dims4("conv2d", weight)?;
    if depth != in_channels {
        bail!("conv2d: the weight {weight:?} takes {depth} channels, the input has {in_channels}");
    }
    if kernel != side || !(kernel == 1 || kernel == 3) {
        bail!("conv2d: a kernel of {kernel}x{side}, where 1x1 or 3x3 is needed");
    }
    if [batch, in_channels, out_channels, height, width].contains(&0) {
        bail!("conv2d: an empty input {x:?} or weight {weight:?}");
    }
    Ok(Conv2d { batch, in_channels, out_channels, height, width, kernel })
}

struct Forward;

impl Kernel for Forward {
    const NAME: &'static str = "conv2d";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        let shape = shape(dims[0], dims[1])?;
        if dims.get(2).is_some_and(|bias| *bias != [shape.out_channels]) {
            bail!("conv2d: a bias {:?} for {} output channels", dims[2], shape.out_channels);
        }
        Ok((shape.batch, shape.out_channels, shape.height, shape.width).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        if let Ok(shape) = shape(operands[0].dims, operands[1].dims) {
            let bias = operands.get(2).map(|bias| bias.data);
            unet3p_kernels::conv2d(&shape, operands[0].data, operands[1].data, bias, out);
        }
    }

    fn backward(&self, operands: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (operands[0], operands[1]);
        let shape = shape(x.dims(), weight.dims())?;
        let by_x = needs_gradient(x).then(|| compute(BackwardInput(shape), &[grad, weight])).transpose()?;
        let by_weight =
            needs_gradient(weight).then(|| compute(BackwardWeight(shape), &[x, grad])).transpose()?;
        let mut gradients = vec![by_x, by_weight];
        if let Some(bias) = operands.get(2) {
            let sums = needs_gradient(bias).then(|| compute(ChannelSums, &[grad])).transpose()?;
            gradients.push(sums);
        }
        Ok(gradients)
    }
}

struct BackwardInput(Conv2d);

impl Kernel for BackwardInput {
    const NAME: &'static str = "conv2d-backward-input";

    fn output(&self, _: &[&[usize]]) -> Result<Shape> {
        Ok((self.0.batch, self.0.in_channels, self.0.height, self.0.width).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        unet3p_kernels::conv2d_backward_input(&self.0, operands[0].data, operands[1].data, out);
    }
}

struct BackwardWeight(Conv2d);

impl Kernel for BackwardWeight {
    const NAME: &'static str = "conv2d-backward-weight";

    fn output(&self, _: &[&[usize]]) -> Result<Shape> {
        Ok((self.0.out_channels, self.0.in_channels, self.0.kernel, self.0.kernel).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        unet3p_kernels::conv2d_backward_weight(&self.0, operands[0].data, operands[1].data, out);
    }
}

/// Sum over everything but the channels.
struct ChannelSums;

impl Kernel for ChannelSums {
    const NAME: &'static str = "channel-sums";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        Ok(dims4(Self::NAME, dims[0])?[1].into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let plane = operands[0].dims[2..].iter().product();
        let sums = unet3p_kernels::channel_sums(out.len(), plane, operands[0].data);
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = <T as unet3p_kernels::Scalar>::from_f64(sum));
    }
}

/// Gradients of a convolution by Candle ops: with respect to the input, a convolution with the flipped kernel
/// whose channels are exchanged; with respect to the weight, one matrix product a tap over the shifted input.
/// Candle's own are slow for the one and, on Metal, wrong for the other.
fn composed_backward(x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let Conv2d { batch, in_channels, out_channels, height, width, kernel } = shape(x.dims(), weight.dims())?;
    let by_x = || {
        let flipped = weight.detach().flip(&[2, 3])?.transpose(0, 1)?.contiguous()?;
        grad.conv2d(&flipped, kernel / 2, 1, 1, 1)
    };
    let by_weight = || {
        let pad = kernel / 2;
        let padded = x.detach().pad_with_zeros(2, pad, pad)?.pad_with_zeros(3, pad, pad)?;
        let grad = grad.reshape((batch, out_channels, height * width))?;
        let tap = |tap: usize| {
            let shifted = padded.narrow(2, tap / kernel, height)?.narrow(3, tap % kernel, width)?;
            let columns = shifted.contiguous()?.reshape((batch, in_channels, height * width))?;
            grad.matmul(&columns.transpose(1, 2)?)?.sum(0)
        };
        let taps = (0..kernel * kernel).map(tap).collect::<Result<Vec<_>>>()?;
        Tensor::stack(&taps, 2)?.reshape((out_channels, in_channels, kernel, kernel))
    };
    let by_x = needs_gradient(x).then(by_x).transpose()?;
    let by_weight = needs_gradient(weight).then(by_weight).transpose()?;
    Ok((by_x, by_weight))
}

/// The weight `[out, in, 3, 3]` and bias as those of a 1x1 convolution to `9 out` channels, whose nine taps
/// `tap_sum` adds: `[out * 9, in, 1, 1]`, taps innermost. The bias goes with the centre tap, which is never
/// outside the image, and which upsampling leaves constant.
pub(crate) fn taps_as_channels(weight: &Tensor, bias: &Tensor) -> Result<(Tensor, Tensor)> {
    let [out_channels, in_channels, height, width] = dims4("conv2d", weight.dims())?;
    if [height, width] != [3, 3] {
        bail!("a kernel of {height}x{width}, where 3x3 is needed");
    }
    let weight = weight.reshape((out_channels, in_channels, 9))?.transpose(1, 2)?.contiguous()?;
    let centre: Vec<f64> = (0..9).map(|tap| f64::from(u8::from(tap == 4))).collect();
    let bias = bias.reshape((out_channels, 1))?.broadcast_mul(&vector(centre, bias)?.reshape((1, 9))?)?;
    Ok((weight.reshape((out_channels * 9, in_channels, 1, 1))?, bias.flatten_all()?))
}
