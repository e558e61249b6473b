//! Softmax cross-entropy.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::backward::with_backward;
use crate::error::Result;
use crate::numerics;
use crate::pixel_mean::PixelMean;
use crate::target::Target;

/// Softmax cross-entropy on logits: `mean( -sum_k y_k ln p_k )` with `ln p = x - ln sum_j exp(x_j)`.
///
/// Mean over batch and valid pixels. Gradient: `(p_k sum_j y_j - y_k) / count`. For the softmax only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossEntropy {}

impl CrossEntropy {
    /// The loss of `logits` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape.
    pub fn forward(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let target = target.matching(logits)?;
        let mean = PixelMean::new(&target, 1)?;
        let y = target.classes;
        let log_p = numerics::log_softmax(&logits.detach())?;
        let value = mean.mean(&numerics::sum_channels(&(&y * &log_p)?)?.neg()?)?;
        Ok(with_backward(logits, value, move |upstream| {
            let p = log_p.exp()?;
            let derivative = (p.broadcast_mul(&numerics::sum_channels(&y)?)? - &y)?;
            mean.backward(&derivative, upstream)
        })?)
    }
}
