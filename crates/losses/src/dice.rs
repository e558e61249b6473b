//! The Dice loss.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::overlap::{Classes, Overlap, check_smooth};
use crate::target::Target;

/// The soft Dice loss `1 - mean( (2 sum p y + s) / (sum p + sum y + s) )`, Milletari et al. 2016 (arXiv:1606.04797)
/// without the squares. The sums run over height, width and, by default, the classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dice {
    /// The smoothing term s, > 0; default 1. The reference's Dice coefficient has 1e-9.
    pub smooth: f64,
    /// Which sums; default [`Classes::Together`].
    pub classes: Classes,
}

impl Default for Dice {
    fn default() -> Self {
        Self { smooth: 1.0, classes: Classes::Together }
    }
}

impl Dice {
    pub(crate) fn validate(&self) -> Result<()> {
        check_smooth("dice", self.smooth)
    }

    /// The loss of `probabilities` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape.
    pub fn on_probabilities(&self, probabilities: &Tensor, target: &Target) -> Result<Tensor> {
        let overlap = Overlap {
            intersection_above: 2.0,
            intersection_below: 0.0,
            predicted: 1.0,
            labelled: 1.0,
            smooth: self.smooth,
            classes: self.classes,
        };
        overlap.loss(probabilities, target)
    }
}
