//! The IoU loss.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::overlap::{Classes, Overlap, check_smooth};
use crate::target::Target;

/// The soft Jaccard loss `1 - mean( (I + s) / (U + s) )` with `I = sum p y` and `U = sum p + sum y - I`, Rahman and
/// Wang 2016, as in UNet 3+ (arXiv:2004.08790, section 2.2). The sums run over height, width and, by default, the
/// classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Iou {
    /// The smoothing term s, > 0; default 1, as in the reference.
    pub smooth: f64,
    /// Which sums; default [`Classes::Together`].
    pub classes: Classes,
}

impl Default for Iou {
    fn default() -> Self {
        Self { smooth: 1.0, classes: Classes::Together }
    }
}

impl Iou {
    pub(crate) fn validate(&self) -> Result<()> {
        check_smooth("iou", self.smooth)
    }

    /// The loss of `probabilities` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape.
    pub fn on_probabilities(&self, probabilities: &Tensor, target: &Target) -> Result<Tensor> {
        let overlap = Overlap {
            intersection_above: 1.0,
            intersection_below: -1.0,
            predicted: 1.0,
            labelled: 1.0,
            smooth: self.smooth,
            classes: self.classes,
        };
        overlap.loss(probabilities, target)
    }
}
