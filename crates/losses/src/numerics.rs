//! Element-wise functions that are stable for every finite logit. None of them records a gradient.

use candle_core::{D, Result, Tensor};

/// `1 / (1 + exp(-x))`; exp may overflow to infinity, which gives the right 0.
pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// `ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|))`.
pub(crate) fn softplus(x: &Tensor) -> Result<Tensor> {
    let tail = (x.abs()?.neg()?.exp()? + 1.0)?.log()?;
    x.relu()? + tail
}

/// Logarithm of the softmax over dimension 1: `x - max - ln sum exp(x - max)`.
pub(crate) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&max_channels(x)?)?;
    let log_sum = sum_channels(&shifted.exp()?)?.log()?;
    shifted.broadcast_sub(&log_sum)
}

/// Sum over dimension 1, kept with size 1.
pub(crate) fn sum_channels(x: &Tensor) -> Result<Tensor> {
    fold_channels(x, |a, b| a + b)
}

/// Maximum over dimension 1, kept with size 1.
pub(crate) fn max_channels(x: &Tensor) -> Result<Tensor> {
    fold_channels(x, |a, b| a.maximum(b))
}

/// Folds the channels pairwise: there are few of them, and Candle's reductions over a dimension that is not the last
/// walk the tensor element by element.
fn fold_channels(x: &Tensor, combine: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let mut result = x.narrow(1, 0, 1)?;
    for channel in 1..x.dim(1)? {
        result = combine(&result, &x.narrow(1, channel, 1)?)?;
    }
    Ok(result)
}

/// Sum of all elements, row by row first: one long f32 accumulation would lose digits.
pub(crate) fn sum_all(x: &Tensor) -> Result<Tensor> {
    x.sum(D::Minus1)?.sum_all()
}

/// Sum over height and width: `[batch, classes, height, width]` to `[batch, classes]`.
pub(crate) fn sum_pixels(x: &Tensor) -> Result<Tensor> {
    x.sum(D::Minus1)?.sum(D::Minus1)
}

/// `x^exponent` for x >= 0.
pub(crate) fn power(x: &Tensor, exponent: f64) -> Result<Tensor> {
    if exponent == 1.0 {
        Ok(x.clone())
    } else if exponent == 2.0 {
        x.sqr()
    } else {
        x.powf(exponent)
    }
}
