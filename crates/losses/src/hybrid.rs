//! The hybrid loss of UNet 3+.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::error::{Result, require};
use crate::focal::Focal;
use crate::focal_reference::FocalReference;
use crate::iou::Iou;
use crate::ms_ssim::MsSsim;
use crate::ssim::Ssim;
use crate::target::Target;

/// Which losses the [`Hybrid`] loss adds up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HybridPreset {
    /// [`Focal`] + [`MsSsim`] + [`Iou`]: Huang et al. 2020, section 2.2.
    #[default]
    Paper,
    /// [`FocalReference`] + [`Ssim`] + [`Iou`]: what the Keras implementation computes.
    Reference,
}

/// The hybrid loss `w_1 focal + w_2 (MS-)SSIM + w_3 IoU`, for pixels, patches and maps: UNet 3+
/// (arXiv:2004.08790, section 2.2). Each part has its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hybrid {
    /// Which losses; default [`HybridPreset::Paper`].
    pub preset: HybridPreset,
    /// Weights of the three parts, >= 0 (a part with weight 0 is not computed); default 1, 1, 1.
    pub weights: [f64; 3],
}

impl Default for Hybrid {
    fn default() -> Self {
        Self { preset: HybridPreset::Paper, weights: [1.0; 3] }
    }
}

impl Hybrid {
    pub(crate) fn validate(&self) -> Result<()> {
        let weights = self.weights;
        let sensible = weights.iter().all(|w| *w >= 0.0 && w.is_finite()) && weights.iter().any(|w| *w > 0.0);
        require(sensible, "hybrid", || format!("weights are {weights:?}, expected >= 0 and one of them > 0"))
    }

    /// The loss of `logits` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape or a side is under 11 pixels.
    pub fn forward(&self, logits: &Tensor, activation: Activation, target: &Target) -> Result<Tensor> {
        let probabilities = activation.probabilities(logits)?;
        let focal = || match self.preset {
            HybridPreset::Paper => Focal::default().forward(logits, activation, target),
            HybridPreset::Reference => FocalReference::default().on_probabilities(&probabilities, target),
        };
        self.sum(focal, &probabilities, target)
    }

    /// The loss of `probabilities`, for [`HybridPreset::Reference`], all of whose parts are defined on them.
    ///
    /// # Errors
    ///
    /// As [`Hybrid::forward`]; [`Error::Parameter`](crate::Error::Parameter) for another preset.
    pub fn on_probabilities(&self, probabilities: &Tensor, target: &Target) -> Result<Tensor> {
        require(self.preset == HybridPreset::Reference, "hybrid", || {
            "the preset `paper` needs logits; only `reference` is defined on probabilities".into()
        })?;
        let focal = || FocalReference::default().on_probabilities(probabilities, target);
        self.sum(focal, probabilities, target)
    }

    fn sum(
        &self,
        focal: impl FnOnce() -> Result<Tensor>,
        probabilities: &Tensor,
        target: &Target,
    ) -> Result<Tensor> {
        let similarity = || match self.preset {
            HybridPreset::Paper => MsSsim {}.on_probabilities(probabilities, target),
            HybridPreset::Reference => Ssim {}.on_probabilities(probabilities, target),
        };
        let iou = || Iou::default().on_probabilities(probabilities, target);
        let parts: [Box<dyn FnOnce() -> Result<Tensor> + '_>; 3] =
            [Box::new(focal), Box::new(similarity), Box::new(iou)];
        let mut total: Option<Tensor> = None;
        for (weight, part) in self.weights.into_iter().zip(parts).filter(|(weight, _)| *weight != 0.0) {
            let term = (part()? * weight)?;
            total = Some(match total {
                None => term,
                Some(total) => (total + term)?,
            });
        }
        match total {
            Some(total) => Ok(total),
            None => Ok(probabilities.detach().zeros_like()?.sum_all()?),
        }
    }
}
