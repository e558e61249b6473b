//! The Tversky loss.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Result, require};
use crate::overlap::{Classes, Overlap, check_smooth};
use crate::target::Target;

/// The Tversky loss `1 - mean( (I + s) / (I + alpha FP + beta FN + s) )` with `I = sum p y`, `FP = sum p - I` and
/// `FN = sum y - I`, Salehi et al. 2017 (arXiv:1706.05721). alpha = beta = 0.5 is Dice, 1 is IoU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tversky {
    /// Cost of a false positive, >= 0; default 0.3.
    pub alpha: f64,
    /// Cost of a false negative, >= 0; default 0.7.
    pub beta: f64,
    /// The smoothing term s, > 0; default 1.
    pub smooth: f64,
    /// Which sums; default [`Classes::Together`].
    pub classes: Classes,
}

impl Default for Tversky {
    fn default() -> Self {
        Self { alpha: 0.3, beta: 0.7, smooth: 1.0, classes: Classes::Together }
    }
}

impl Tversky {
    pub(crate) fn validate(&self) -> Result<()> {
        for (name, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            require(value >= 0.0 && value.is_finite(), "tversky", || {
                format!("{name} is {value}, expected >= 0")
            })?;
        }
        check_smooth("tversky", self.smooth)
    }

    /// The loss of `probabilities` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape.
    pub fn on_probabilities(&self, probabilities: &Tensor, target: &Target) -> Result<Tensor> {
        let overlap = Overlap {
            intersection_above: 1.0,
            intersection_below: 1.0 - self.alpha - self.beta,
            predicted: self.alpha,
            labelled: self.beta,
            smooth: self.smooth,
            classes: self.classes,
        };
        overlap.loss(probabilities, target)
    }
}
