//! Binary cross-entropy.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::backward::with_backward;
use crate::error::Result;
use crate::numerics;
use crate::pixel_mean::PixelMean;
use crate::target::Target;

/// Binary cross-entropy on logits: `mean( softplus(x) - x y )`, which is `-y ln p - (1 - y) ln(1 - p)` with `p` the
/// sigmoid of `x`, without its cancellation.
///
/// Mean over batch, classes and valid pixels. Gradient: `(p - y) / count`. For the sigmoid only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bce {}

impl Bce {
    /// The loss of `logits` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape.
    pub fn forward(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let target = target.matching(logits)?;
        let mean = PixelMean::new(&target, logits.dim(1)?)?;
        let (x, y) = (logits.detach(), target.classes);
        let map = (numerics::softplus(&x)? - (&x * &y)?)?;
        let value = mean.mean(&map)?;
        Ok(with_backward(logits, value, move |upstream| {
            mean.backward(&(numerics::sigmoid(&x)? - &y)?, upstream)
        })?)
    }
}
