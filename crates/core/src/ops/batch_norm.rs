//! Batch normalisation, with ReLU behind it where asked.

use candle_core::{DType, Result, Shape, Tensor, bail};
use unet3p_kernels::ChannelStatistics;

use super::kernel::{Element, Kernel, Operand, apply, compute, dims4, needs_gradient, spread};
use crate::backend::Backend;

/// Mean and biased variance of each channel, `[channels]` each, outside any graph.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// Mean over batch, height and width.
    pub mean: Tensor,
    /// Biased variance over batch, height and width.
    pub variance: Tensor,
}

/// Mean and biased variance over batch, height and width of `x`.
///
/// # Errors
/// Where `x` has other than four dimensions or is empty.
pub fn batch_statistics(backend: Backend, x: &Tensor) -> Result<BatchStatistics> {
    let dims = dims4("batch_statistics", x.dims())?;
    if x.elem_count() == 0 {
        bail!("batch statistics of an empty tensor {:?}", x.dims());
    }
    match backend {
        Backend::Kernels => {
            let both = compute(Statistics, &[&x.detach()])?;
            Ok(BatchStatistics { mean: both.get(0)?, variance: both.get(1)? })
        }
        Backend::Candle => {
            let x = x.detach();
            let mean = channel_means(&x)?;
            let variance = channel_means(&(&x - spread(&mean, dims)?)?.sqr()?)?;
            Ok(BatchStatistics { mean, variance })
        }
    }
}

/// Batch normalisation `y = gamma (x - mean) / sqrt(variance + eps) + beta` (Ioffe and Szegedy 2015, algorithm
/// 1) on `[batch, channels, height, width]`, `gamma` and `beta` `[channels]`.
///
/// With `fixed = None` the statistics are those of the batch, and the gradient with respect to `x` accounts for
/// that; with given ones they are constants, as in evaluation. The statistics that were used come with the result.
///
/// # Errors
/// Where shapes do not fit.
pub fn batch_norm(
    backend: Backend,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    fixed: Option<&BatchStatistics>,
) -> Result<(Tensor, BatchStatistics)> {
    normalise(backend, x, gamma, beta, eps, fixed, false)
}

/// [`batch_norm`] and ReLU in one.
///
/// # Errors
/// Where shapes do not fit.
pub fn batch_norm_relu(
    backend: Backend,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    fixed: Option<&BatchStatistics>,
) -> Result<(Tensor, BatchStatistics)> {
    normalise(backend, x, gamma, beta, eps, fixed, true)
}

fn normalise(
    backend: Backend,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    fixed: Option<&BatchStatistics>,
    relu: bool,
) -> Result<(Tensor, BatchStatistics)> {
    let dims = dims4("batch_norm", x.dims())?;
    let channels = dims[1];
    if gamma.dims() != [channels] || beta.dims() != [channels] {
        bail!("batch_norm: gamma {:?} and beta {:?} for {channels} channels", gamma.dims(), beta.dims());
    }
    if dims.contains(&0) {
        bail!("batch_norm: an empty input {dims:?}");
    }
    let statistics = match fixed {
        Some(fixed) if fixed.mean.dims() != [channels] || fixed.variance.dims() != [channels] => {
            let (mean, variance) = (fixed.mean.dims(), fixed.variance.dims());
            bail!("batch_norm: mean {mean:?} and variance {variance:?} for {channels} channels");
        }
        Some(fixed) => fixed.clone(),
        None => batch_statistics(backend, x)?,
    };
    let y = match backend {
        Backend::Kernels => {
            let host =
                ChannelStatistics { mean: host(&statistics.mean)?, variance: host(&statistics.variance)? };
            apply(Normalise { statistics: host, eps, relu, fixed: fixed.is_some() }, &[x, gamma, beta])?
        }
        Backend::Candle => {
            let y = match fixed {
                Some(fixed) => composed(x, &fixed.mean, &fixed.variance, gamma, beta, eps)?,
                None => {
                    // through the graph, for the gradient's sake
                    let mean = channel_means(x)?;
                    let variance = channel_means(&(x - spread(&mean, dims)?)?.sqr()?)?;
                    composed(x, &mean, &variance, gamma, beta, eps)?
                }
            };
            if relu { super::relu(&y)? } else { y }
        }
    };
    Ok((y, statistics))
}

fn host(values: &Tensor) -> Result<Vec<f64>> {
    values.to_dtype(DType::F64)?.to_vec1()
}

/// `[channels]`, by one dimension after the other (see [`spread`]).
fn channel_means(x: &Tensor) -> Result<Tensor> {
    x.mean(3)?.mean(2)?.mean(0)
}

fn composed(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let dims = dims4("batch_norm", x.dims())?;
    let scale = gamma.div(&(variance + eps)?.sqrt()?)?;
    ((x - spread(mean, dims)?)? * spread(&scale, dims)?)? + spread(beta, dims)?
}

/// Mean in row 0 and biased variance in row 1 of `[2, channels]`.
struct Statistics;

impl Kernel for Statistics {
    const NAME: &'static str = "batch_statistics";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        Ok((2, dims4(Self::NAME, dims[0])?[1]).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let x = operands[0];
        let statistics = unet3p_kernels::channel_statistics(x.dims[1], x.dims[2] * x.dims[3], x.data);
        write(statistics.mean.iter().chain(&statistics.variance), out);
    }
}

/// Operands x, gamma, beta.
struct Normalise {
    statistics: ChannelStatistics,
    eps: f64,
    relu: bool,
    fixed: bool,
}

impl Kernel for Normalise {
    const NAME: &'static str = "batch_norm";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        Ok(dims[0].to_vec().into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let (x, gamma, beta) = (operands[0], operands[1].data, operands[2].data);
        let plane = x.dims[2] * x.dims[3];
        unet3p_kernels::batch_norm(plane, x.data, &self.statistics, self.eps, gamma, beta, self.relu, out);
    }

    fn backward(&self, operands: &[&Tensor], result: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, gamma) = (operands[0], operands[1]);
        let sums = compute(BackwardSums(self), &[x, result, grad])?;
        let (by_gamma, by_beta) = (sums.get(0)?, sums.get(1)?);
        let by_x = || {
            let sums = if self.fixed { None } else { Some((host(&by_gamma)?, host(&by_beta)?)) };
            // the operands are three already, so gamma goes with the kernel
            let kernel = BackwardInput { forward: self, gamma: host(&gamma.detach())?, sums };
            compute(kernel, &[x, result, grad])
        };
        let by_x = needs_gradient(x).then(by_x).transpose()?;
        Ok(vec![by_x, Some(by_gamma), Some(by_beta)])
    }
}

/// Gradients of gamma (row 0) and beta (row 1), from x, y and the gradient of y.
struct BackwardSums<'a>(&'a Normalise);

impl Kernel for BackwardSums<'_> {
    const NAME: &'static str = "batch_norm-backward-sums";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        Ok((2, dims4(Self::NAME, dims[0])?[1]).into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let (x, y, grad) = (operands[0], operands[1].data, operands[2].data);
        let Normalise { statistics, eps, relu, .. } = self.0;
        let plane = x.dims[2] * x.dims[3];
        let (gamma, beta) =
            unet3p_kernels::batch_norm_backward_sums(plane, x.data, y, grad, statistics, *eps, *relu);
        write(gamma.iter().chain(&beta), out);
    }
}

/// Gradient of x, from x, y and the gradient of y.
struct BackwardInput<'a> {
    forward: &'a Normalise,
    gamma: Vec<f64>,
    sums: Option<(Vec<f64>, Vec<f64>)>,
}

impl Kernel for BackwardInput<'_> {
    const NAME: &'static str = "batch_norm-backward-input";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        Ok(dims[0].to_vec().into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let (x, y, grad) = (operands[0], operands[1].data, operands[2].data);
        let Normalise { statistics, eps, relu, .. } = self.forward;
        let plane = x.dims[2] * x.dims[3];
        let sums = self.sums.as_ref().map(|(gamma, beta)| (&gamma[..], &beta[..]));
        unet3p_kernels::batch_norm_backward_input(
            plane,
            x.data,
            y,
            grad,
            statistics,
            *eps,
            &self.gamma,
            *relu,
            sums,
            out,
        );
    }
}

fn write<'a, T: Element>(values: impl Iterator<Item = &'a f64>, out: &mut [T]) {
    out.iter_mut()
        .zip(values)
        .for_each(|(out, &value)| *out = <T as unet3p_kernels::Scalar>::from_f64(value));
}
