//! The loss of several heads.

use candle_core::Tensor;

use crate::config::SegmentationLoss;
use crate::error::{Error, Result, require};
use crate::target::Target;

/// Deep supervision: `sum_i w_i loss(logits_i, target)` over the heads, all upsampled to full size, head 1 (the
/// finest) first (UNet 3+, section 2.2).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use unet3p_losses::{Activation, DeepSupervision, LossConfig, Target};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let loss: LossConfig = serde_json::from_str(r#"{ "name": "dice", "smooth": 0.1 }"#)?;
/// let supervision = DeepSupervision::new(loss.build(Activation::Sigmoid)?, vec![1.0, 0.5])?;
/// let head = Tensor::zeros((1, 1, 16, 16), DType::F32, &Device::Cpu)?;
/// let target = Target { classes: head.ones_like()?, valid: None };
/// let value = supervision.forward(&[head.clone(), head], &target)?;
/// assert_eq!(value.rank(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DeepSupervision {
    loss: Box<dyn SegmentationLoss>,
    weights: Vec<f64>,
}

impl DeepSupervision {
    /// The weighted sum of `loss` over as many heads as there are weights. A head of weight 0 is not computed.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless every weight is finite and >= 0 and one is > 0.
    pub fn new(loss: Box<dyn SegmentationLoss>, weights: Vec<f64>) -> Result<Self> {
        let sensible = weights.iter().all(|w| *w >= 0.0 && w.is_finite()) && weights.iter().any(|w| *w > 0.0);
        require(sensible, "deep_supervision", || {
            format!("weights are {weights:?}, expected >= 0 and one of them > 0")
        })?;
        Ok(Self { loss, weights })
    }

    /// The weights of the heads.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The loss of the heads' `logits`, each `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Heads`] for another number of heads than weights, and what the loss returns.
    pub fn forward(&self, logits: &[Tensor], target: &Target) -> Result<Tensor> {
        let mismatch = Error::Heads { weights: self.weights.len(), heads: logits.len() };
        if logits.len() != self.weights.len() {
            return Err(mismatch);
        }
        let mut total: Option<Tensor> = None;
        for (weight, logits) in self.weights.iter().zip(logits).filter(|(weight, _)| **weight != 0.0) {
            let term = (self.loss.forward(logits, target)? * *weight)?;
            total = Some(match total {
                None => term,
                Some(total) => (total + term)?,
            });
        }
        total.ok_or(mismatch)
    }
}
