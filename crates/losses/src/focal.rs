//! The focal loss.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::backward::with_backward;
use crate::error::{Result, require};
use crate::numerics;
use crate::pixel_mean::PixelMean;
use crate::target::Target;

/// Below this, `1 - p_t` counts as this: keeps `0^(gamma - 1)` finite and is a normal number in f32.
const TINY: f64 = 1e-30;

/// The focal loss `FL = -a_t (1 - p_t)^gamma ln p_t`, Lin et al. 2017 (arXiv:1708.02002), equation 5.
///
/// - Sigmoid: for each class on its own, `p_t = p` where the target is 1 and `1 - p` where it is 0; `a_t = alpha`
///   and `1 - alpha`. Mean over batch, classes and valid pixels.
/// - Softmax: `p_t` is the probability of the true class; `a_t = 1 - alpha` for the background (class 0) and `alpha`
///   for every other class. Mean over batch and valid pixels.
///
/// `alpha = 0.5` treats both alike (at half the scale). Computed from logits:
/// with `z = x (2 y - 1)`, `ln p_t = -softplus(-z)` and `1 - p_t = sigmoid(-z)`.
///
/// Gradients, with `q = 1 - p_t`: sigmoid `(2 y - 1) a_t q^gamma (gamma p_t ln p_t - q)`; softmax
/// `a_t q^gamma (gamma p_t ln p_t / q - 1) (y_k - p_k)`; both over the number of values in the mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Focal {
    /// Weight of the foreground, 0 to 1; default 0.25 (Lin et al.).
    pub alpha: f64,
    /// Exponent that plays down easy pixels, >= 0; default 2.
    pub gamma: f64,
}

impl Default for Focal {
    fn default() -> Self {
        Self { alpha: 0.25, gamma: 2.0 }
    }
}

impl Focal {
    pub(crate) fn validate(&self) -> Result<()> {
        let Self { alpha, gamma } = *self;
        require((0.0..=1.0).contains(&alpha), "focal", || format!("alpha is {alpha}, expected 0 to 1"))?;
        require(gamma >= 0.0 && gamma.is_finite(), "focal", || format!("gamma is {gamma}, expected >= 0"))
    }

    /// The loss of `logits` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape.
    pub fn forward(&self, logits: &Tensor, activation: Activation, target: &Target) -> Result<Tensor> {
        let target = target.matching(logits)?;
        match activation {
            Activation::Sigmoid => self.binary(logits, target),
            Activation::Softmax => self.multi_class(logits, target),
        }
    }

    fn binary(&self, logits: &Tensor, target: Target) -> Result<Tensor> {
        let Self { alpha, gamma } = *self;
        let mean = PixelMean::new(&target, logits.dim(1)?)?;
        let y = target.classes;
        let sign = y.affine(2.0, -1.0)?;
        let minus_z = (logits.detach() * &sign)?.neg()?;
        let minus_ln = numerics::softplus(&minus_z)?;
        let q = numerics::sigmoid(&minus_z)?;
        let weight = (y.affine(2.0 * alpha - 1.0, 1.0 - alpha)? * numerics::power(&q, gamma)?)?;
        let value = mean.mean(&(&weight * &minus_ln)?)?;
        Ok(with_backward(logits, value, move |upstream| {
            let inner = ((q.affine(gamma, -gamma)? * &minus_ln)? - &q)?;
            mean.backward(&((&weight * inner)? * &sign)?, upstream)
        })?)
    }

    fn multi_class(&self, logits: &Tensor, target: Target) -> Result<Tensor> {
        let Self { alpha, gamma } = *self;
        let mean = PixelMean::new(&target, 1)?;
        let y = target.classes;
        let log_p = numerics::log_softmax(&logits.detach())?;
        let p = log_p.exp()?;
        let ln = numerics::sum_channels(&(&y * &log_p)?)?;
        // The sum of the other classes keeps the digits that 1 - p_t would lose.
        let q = numerics::sum_channels(&(y.affine(-1.0, 1.0)? * &p)?)?.maximum(TINY)?;
        let labelled = numerics::sum_channels(&y)?;
        let balance = ((labelled * alpha)? + (y.narrow(1, 0, 1)? * (1.0 - 2.0 * alpha))?)?;
        let weight = (balance * numerics::power(&q, gamma)?)?;
        let value = mean.mean(&(&weight * &ln)?.neg()?)?;
        Ok(with_backward(logits, value, move |upstream| {
            let slope = ((q.affine(-gamma, gamma)? * (&ln / &q)?)? - 1.0)?;
            let derivative = (&y - &p)?.broadcast_mul(&(&weight * slope)?)?;
            mean.backward(&derivative, upstream)
        })?)
    }
}
