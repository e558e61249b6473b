//! The focal loss of the Keras UNet 3+.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::backward::with_backward;
use crate::error::{Result, require};
use crate::numerics;
use crate::pixel_mean::PixelMean;
use crate::target::Target;

/// Added to the probabilities before the logarithm, as the reference does.
const EPSILON: f64 = 1e-9;
/// Floor of `1 - p`: keeps `0^(gamma - 1)` finite.
const TINY: f64 = 1e-30;

/// The focal loss as the Keras implementation of UNet 3+ computes it on probabilities: with `p' = p + 1e-9`,
/// `FL_k = -alpha y_k (1 - p'_k)^gamma ln p'_k`, the maximum over the classes, the mean over batch and valid pixels.
///
/// Only the true class counts: with one class, wrong foreground costs nothing here. Gradient where k has the
/// maximum (shared evenly between equals, as in TensorFlow):
/// `alpha y_k (gamma (1 - p')^(gamma - 1) ln p' - (1 - p')^gamma / p') / count`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FocalReference {
    /// Factor, > 0; default 4.
    pub alpha: f64,
    /// Exponent that plays down easy pixels, >= 0; default 2.
    pub gamma: f64,
}

impl Default for FocalReference {
    fn default() -> Self {
        Self { alpha: 4.0, gamma: 2.0 }
    }
}

impl FocalReference {
    pub(crate) fn validate(&self) -> Result<()> {
        let Self { alpha, gamma } = *self;
        let name = "focal_reference";
        require(alpha > 0.0 && alpha.is_finite(), name, || format!("alpha is {alpha}, expected > 0"))?;
        require(gamma >= 0.0 && gamma.is_finite(), name, || format!("gamma is {gamma}, expected >= 0"))
    }

    /// The loss of `probabilities` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape.
    pub fn on_probabilities(&self, probabilities: &Tensor, target: &Target) -> Result<Tensor> {
        let Self { alpha, gamma } = *self;
        let target = target.matching(probabilities)?;
        let mean = PixelMean::new(&target, 1)?;
        let y = target.classes;
        let p = (probabilities.detach() + EPSILON)?;
        let ln = p.log()?;
        let q = p.affine(-1.0, 1.0)?.maximum(TINY)?;
        let weight = ((&y * numerics::power(&q, gamma)?)? * alpha)?;
        let losses = (&weight * &ln)?.neg()?;
        let largest = numerics::max_channels(&losses)?;
        let value = mean.mean(&largest)?;
        Ok(with_backward(probabilities, value, move |upstream| {
            let slope = (((&ln * gamma)? / &q)? - p.recip()?)?;
            let mut derivative = (&weight * slope)?;
            if losses.dim(1)? > 1 {
                let chosen = losses.broadcast_eq(&largest)?.to_dtype(p.dtype())?;
                let share = chosen.broadcast_div(&numerics::sum_channels(&chosen)?)?;
                derivative = (derivative * share)?;
            }
            mean.backward(&derivative, upstream)
        })?)
    }
}
