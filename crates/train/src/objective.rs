//! What a run minimises, and what a validation measures.

use candle_core::Tensor;
use unet3p_core::ClassificationGuidedModule;
use unet3p_losses::{DeepSupervision, Target, presence_loss};
use unet3p_models::{CgmGate, Logits};

use crate::{Result, TrainConfig, TrainingGate};

/// The loss of a network's outputs: the weighted losses of all heads, and of the classification-guided module where
/// there is one.
pub(crate) struct Objective {
    heads: DeepSupervision,
    presence: f64,
    gate: TrainingGate,
    /// What the gate multiplies.
    kind: CgmGate,
}

impl Objective {
    pub(crate) fn new(config: &TrainConfig) -> Result<Self> {
        let loss = config.loss.segmentation.build(config.model.activation)?;
        Ok(Self {
            heads: DeepSupervision::new(loss, config.head_weights())?,
            presence: config.loss.presence,
            gate: config.loss.gate,
            kind: config.model.cgm_gate,
        })
    }

    /// The loss, a scalar.
    pub(crate) fn loss(&self, output: &Logits, target: &Target) -> Result<Tensor> {
        let gated = self.gated(output, self.gate, target)?;
        let heads = self.heads.forward(&gated.heads, target)?;
        match &output.presence {
            Some(presence) if self.presence > 0.0 => {
                Ok((heads + (presence_loss(presence, target)? * self.presence)?)?)
            }
            _ => Ok(heads),
        }
    }

    /// The logits of head 1 behind the module's own decision: those of a prediction.
    pub(crate) fn prediction(&self, output: &Logits, target: &Target) -> Result<Tensor> {
        Ok(self.gated(output, TrainingGate::Predicted, target)?.heads.swap_remove(0))
    }

    /// The logits of all heads behind a gate; as they are without the classification-guided module.
    fn gated(&self, output: &Logits, gate: TrainingGate, target: &Target) -> Result<Logits> {
        let gate = match (&output.presence, gate) {
            (None, _) | (_, TrainingGate::None) => return Ok(output.clone()),
            (Some(presence), TrainingGate::Predicted) => ClassificationGuidedModule::gate(presence)?,
            (_, TrainingGate::Target) => target.presence()?.reshape(((), 1, 1, 1))?,
        };
        Ok(output.clone().gated(&gate, self.kind)?)
    }
}
