//! Batch normalisation with an optional ReLU behind it.

use rayon::prelude::*;

use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::sizes::{check_len, check_whole};

/// Mean and biased variance of each channel, in f64 so that large maps lose nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStatistics {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Biased variance (divided by the count) of each channel.
    pub variance: Vec<f64>,
}

impl ChannelStatistics {
    fn reciprocal_deviation(&self, channel: usize, eps: f64) -> f64 {
        1.0 / (self.variance[channel] + eps).sqrt()
    }
}

/// The planes of a channel, one an image.
fn channel_planes<T>(x: &[T], channels: usize, plane: usize, channel: usize) -> impl Iterator<Item = &[T]> {
    x.chunks_exact(channels * plane).map(move |image| &image[channel * plane..][..plane])
}

/// Sum of `f` over the elements of slices of one length, in f64: in blocks short enough that summing a block in `T`
/// costs no accuracy, and in lanes, so that the compiler vectorises it.
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
fn block_sum<T: Scalar, const N: usize>(slices: [&[T]; N], f: impl Fn([T; N]) -> T) -> f64 {
    const LANES: usize = 16;
    const BLOCK: usize = 32;
    Isa::current().vectorize(
        #[inline(always)]
        || {
            let mut total = 0.0;
            let groups = slices.map(|slice| slice.as_chunks::<LANES>().0);
            let count = groups.iter().map(|groups| groups.len()).min().unwrap_or(0);
            for start in (0..count).step_by(BLOCK) {
                let mut lanes = [T::ZERO; LANES];
                for group in start..count.min(start + BLOCK) {
                    for lane in 0..LANES {
                        let mut values = [T::ZERO; N];
                        for n in 0..N {
                            values[n] = groups[n][group][lane];
                        }
                        lanes[lane] += f(values);
                    }
                }
                total += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
            }
            let rests = slices.map(|slice| slice.as_chunks::<LANES>().1);
            let rest = rests.iter().map(|rest| rest.len()).min().unwrap_or(0);
            total + (0..rest).map(|i| f(rests.map(|rest| rest[i])).to_f64()).sum::<f64>()
        },
    )
}

/// Sum of each channel of `x` (`[batch, channels, plane]`), in f64.
///
/// # Panics
/// Where `x` is not whole images, at least one: `x: ...`.
pub fn channel_sums<T: Scalar>(channels: usize, plane: usize, x: &[T]) -> Vec<f64> {
    check_whole("x", x.len(), &[channels, plane]);
    let sum = |channel| channel_planes(x, channels, plane, channel).map(|p| block_sum([p], |[v]| v)).sum();
    (0..channels).into_par_iter().map(sum).collect()
}

/// Mean and biased variance over batch, height and width of `x` (`[batch, channels, plane]`), in two passes.
///
/// # Panics
/// As [`channel_sums`].
pub fn channel_statistics<T: Scalar>(channels: usize, plane: usize, x: &[T]) -> ChannelStatistics {
    let sums = channel_sums(channels, plane, x);
    let count = (x.len() / channels) as f64;
    let (mean, variance) = sums
        .into_par_iter()
        .enumerate()
        .map(|(channel, sum)| {
            let planes = || channel_planes(x, channels, plane, channel);
            let mean = sum / count;
            let centre = T::from_f64(mean);
            let squares = planes().map(|p| block_sum([p], |[v]| (v - centre) * (v - centre)));
            // the centre was rounded to T: put the difference right
            let rounding = mean - centre.to_f64();
            (mean, squares.sum::<f64>() / count - rounding * rounding)
        })
        .unzip();
    ChannelStatistics { mean, variance }
}

/// Batch normalisation `y = gamma (x - mean) / sqrt(variance + eps) + beta`, then ReLU where `relu`
/// (Ioffe and Szegedy 2015, algorithm 1), on `[batch, channels, plane]`.
///
/// # Panics
/// Where `x` is not whole images, at least one, or another length does not match: `x: ...`, `variance: ...`, `gamma: ...`,
/// `beta: ...`, `y: ...`.
#[allow(clippy::too_many_arguments)] // the operation's own operands
pub fn batch_norm<T: Scalar>(
    plane: usize,
    x: &[T],
    statistics: &ChannelStatistics,
    eps: f64,
    gamma: &[T],
    beta: &[T],
    relu: bool,
    y: &mut [T],
) {
    let channels = check(plane, statistics, x.len(), [("y", y.len())]);
    check_len("gamma", gamma.len(), &[channels]);
    check_len("beta", beta.len(), &[channels]);
    y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate().for_each(|(i, (y, x))| {
        let channel = i % channels;
        let scale = gamma[channel].to_f64() * statistics.reciprocal_deviation(channel, eps);
        let shift = T::from_f64(beta[channel].to_f64() - statistics.mean[channel] * scale);
        let scale = T::from_f64(scale);
        Isa::current().vectorize(
            #[inline(always)]
            || {
                for i in 0..y.len().min(x.len()) {
                    let value = x[i] * scale + shift;
                    // written so that NaN passes
                    y[i] = if relu && value <= T::ZERO { T::ZERO } else { value };
                }
            },
        );
    });
}

/// Whether the gradient at an output value passes the ReLU: its derivative at 0 is 0.
#[inline(always)]
fn gate<T: Scalar>(relu: bool, y: T, grad: T) -> T {
    if relu && y <= T::ZERO { T::ZERO } else { grad }
}

/// Gradients of [`batch_norm`] with respect to `gamma` and `beta`, in f64: sums over a channel of
/// `g (x - mean) / sqrt(variance + eps)` and of `g`, where `g` is `grad_y` behind the ReLU (`y` is the
/// forward result).
///
/// # Panics
/// As [`batch_norm`], with `grad_y: ...`.
#[allow(clippy::too_many_arguments)] // the operation's own operands
pub fn batch_norm_backward_sums<T: Scalar>(
    plane: usize,
    x: &[T],
    y: &[T],
    grad_y: &[T],
    statistics: &ChannelStatistics,
    eps: f64,
    relu: bool,
) -> (Vec<f64>, Vec<f64>) {
    let channels = check(plane, statistics, x.len(), [("y", y.len()), ("grad_y", grad_y.len())]);
    (0..channels)
        .into_par_iter()
        .map(|channel| {
            let mean = T::from_f64(statistics.mean[channel]);
            let (mut gamma, mut beta) = (0.0, 0.0);
            let planes = channel_planes(x, channels, plane, channel)
                .zip(channel_planes(y, channels, plane, channel))
                .zip(channel_planes(grad_y, channels, plane, channel));
            for ((x, y), grad) in planes {
                beta += block_sum([y, grad], |[y, g]| gate(relu, y, g));
                gamma += block_sum([y, grad, x], |[y, g, x]| gate(relu, y, g) * (x - mean));
            }
            (gamma * statistics.reciprocal_deviation(channel, eps), beta)
        })
        .unzip()
}

/// Gradient of [`batch_norm`] with respect to `x`.
///
/// With `sums = Some((grad_gamma, grad_beta))` the statistics are the batch's own and depend on `x`:
/// `gamma / sqrt(variance + eps) (g - (grad_beta + xhat grad_gamma) / count)`; with `None` they are constants.
///
/// # Panics
/// As [`batch_norm`], with `grad_y: ...`, `grad_x: ...` and `sums: ...`.
#[allow(clippy::too_many_arguments)] // the operation's own operands
pub fn batch_norm_backward_input<T: Scalar>(
    plane: usize,
    x: &[T],
    y: &[T],
    grad_y: &[T],
    statistics: &ChannelStatistics,
    eps: f64,
    gamma: &[f64],
    relu: bool,
    sums: Option<(&[f64], &[f64])>,
    grad_x: &mut [T],
) {
    let maps = [("y", y.len()), ("grad_y", grad_y.len()), ("grad_x", grad_x.len())];
    let channels = check(plane, statistics, x.len(), maps);
    check_len("gamma", gamma.len(), &[channels]);
    for sums in sums.iter().flat_map(|&(gamma, beta)| [gamma, beta]) {
        check_len("sums", sums.len(), &[channels]);
    }
    let count = (x.len() / channels) as f64;
    grad_x.par_chunks_exact_mut(plane).enumerate().for_each(|(i, grad_x)| {
        let channel = i % channels;
        let reciprocal = statistics.reciprocal_deviation(channel, eps);
        let scale = gamma[channel] * reciprocal;
        let (grad_gamma, grad_beta) =
            sums.map_or((0.0, 0.0), |(gamma, beta)| (gamma[channel], beta[channel]));
        // scale (g - grad_beta / count - (x - mean) reciprocal grad_gamma / count) = scale g + slope (x - mean) + constant
        let slope = T::from_f64(-scale * reciprocal * grad_gamma / count);
        let constant = T::from_f64(-scale * grad_beta / count);
        let (scale, mean) = (T::from_f64(scale), T::from_f64(statistics.mean[channel]));
        let range = i * plane..(i + 1) * plane;
        let (x, y, grad_y) = (&x[range.clone()], &y[range.clone()], &grad_y[range]);
        Isa::current().vectorize(
            #[inline(always)]
            || {
                for i in 0..plane {
                    grad_x[i] = scale * gate(relu, y[i], grad_y[i]) + slope * (x[i] - mean) + constant;
                }
            },
        );
    });
}

/// The channels, after checking that `x` is whole images of them and the other maps, with their names, are as long.
#[track_caller]
fn check<const N: usize>(
    plane: usize,
    statistics: &ChannelStatistics,
    x: usize,
    maps: [(&str, usize); N],
) -> usize {
    let channels = statistics.mean.len();
    check_whole("x", x, &[channels, plane]);
    check_len("variance", statistics.variance.len(), &[channels]);
    for (what, len) in maps {
        check_len(what, len, &[x]);
    }
    channels
}
