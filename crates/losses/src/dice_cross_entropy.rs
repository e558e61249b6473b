//! Dice plus cross-entropy.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::bce::Bce;
use crate::cross_entropy::CrossEntropy;
use crate::dice::Dice;
use crate::error::{Result, require};
use crate::overlap::{Classes, check_smooth};
use crate::target::Target;

/// `dice_weight * Dice + cross_entropy_weight * cross-entropy`, the compound loss of nnU-Net (Isensee et al. 2021):
/// the softmax cross-entropy with a softmax, the binary one with a sigmoid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiceCrossEntropy {
    /// Weight of the Dice loss, >= 0; default 1.
    pub dice_weight: f64,
    /// Weight of the cross-entropy, >= 0; default 1.
    pub cross_entropy_weight: f64,
    /// The smoothing term of the Dice loss, > 0; default 1.
    pub smooth: f64,
    /// Which sums the Dice loss takes; default [`Classes::Each`].
    pub classes: Classes,
}

impl Default for DiceCrossEntropy {
    fn default() -> Self {
        Self { dice_weight: 1.0, cross_entropy_weight: 1.0, smooth: 1.0, classes: Classes::Each }
    }
}

impl DiceCrossEntropy {
    pub(crate) fn validate(&self) -> Result<()> {
        let name = "dice_cross_entropy";
        for weight in [self.dice_weight, self.cross_entropy_weight] {
            require(weight >= 0.0 && weight.is_finite(), name, || {
                format!("a weight is {weight}, expected >= 0")
            })?;
        }
        check_smooth(name, self.smooth)
    }

    /// The loss of `logits` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape.
    pub fn forward(&self, logits: &Tensor, activation: Activation, target: &Target) -> Result<Tensor> {
        let dice = Dice { smooth: self.smooth, classes: self.classes }
            .on_probabilities(&activation.probabilities(logits)?, target)?;
        let cross_entropy = match activation {
            Activation::Sigmoid => Bce {}.forward(logits, target)?,
            Activation::Softmax => CrossEntropy {}.forward(logits, target)?,
        };
        Ok(((dice * self.dice_weight)? + (cross_entropy * self.cross_entropy_weight)?)?)
    }
}
