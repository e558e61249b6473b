//! From a prediction to probabilities: the classification-guided module's gate, and the activation on its side.

use candle_core::{DType, Device, Tensor};
use unet3p_core::ClassificationGuidedModule;

use crate::Activation;
use crate::class_map::check_probabilities;
use crate::config::{CgmGate, UNet3PlusConfig};
use crate::error::{Error, Result};
use crate::predictor::{AllOutputs, Logits, Output};

/// Head 1's prediction before the gate, which may be averaged and blended: what is gated cannot be, as the gate is
/// decided once for an image.
#[derive(Debug, Clone)]
pub struct BeforeGate {
    /// `[batch, classes, height, width]`: probabilities, or logits where the gate multiplies logits.
    pub prediction: Tensor,
    /// Logits `[batch, 2]` = [absent, present] of the classification-guided module.
    pub presence: Option<Tensor>,
}

/// [`BeforeGate`] for one image, in plain memory.
#[derive(Debug, Clone, PartialEq)]
pub struct BeforeGateValues {
    /// As [`BeforeGate::prediction`], `[classes, height, width]`.
    pub prediction: Vec<f32>,
    /// As [`BeforeGate::presence`].
    pub presence: Option<[f32; 2]>,
}

impl BeforeGate {
    /// Decides the gate from the presence logits and applies it, with the activation where that comes after.
    ///
    /// # Errors
    /// Where the tensors have other shapes than those above.
    pub fn finish(self, config: &UNet3PlusConfig) -> Result<Output> {
        let gate = self.presence.as_ref().map(ClassificationGuidedModule::gate).transpose()?;
        Ok(Output {
            probabilities: after_gate(config, &self.prediction, gate.as_ref())?,
            presence: self.presence.map(|logits| candle_nn::ops::sigmoid(&logits)).transpose()?,
            present: gate.map(|gate| gate.flatten_all()).transpose()?,
        })
    }

    /// The values of a batch of one image.
    ///
    /// # Errors
    /// Where it is a batch of several.
    pub fn into_values(self) -> Result<BeforeGateValues> {
        let (batch, ..) = self.prediction.dims4()?;
        if batch != 1 {
            return Err(Error::Input(format!("a batch of {batch} images where one is needed")));
        }
        let logit = |logits: &Tensor, i| logits.get(0)?.get(i)?.to_dtype(DType::F32)?.to_scalar();
        let presence = |logits: &Tensor| candle_core::Result::Ok([logit(logits, 0)?, logit(logits, 1)?]);
        Ok(BeforeGateValues {
            prediction: self.prediction.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?,
            presence: self.presence.as_ref().map(presence).transpose()?,
        })
    }
}

impl BeforeGateValues {
    /// [`BeforeGate::finish`] for an image of `height` x `width`, on the CPU.
    ///
    /// # Errors
    /// Where the prediction has another number of values than the configuration's classes have pixels, and
    /// [`Error::Probabilities`] where values are NaN or infinite: a gate could hide them.
    pub fn finish(self, config: &UNet3PlusConfig, height: usize, width: usize) -> Result<Output> {
        check_probabilities(&self.prediction)?;
        check_probabilities(self.presence.as_ref().map_or(&[], |logits| logits))?;
        let shape = (1, config.num_classes, height, width);
        let prediction = Tensor::from_vec(self.prediction, shape, &Device::Cpu)?;
        let presence = self.presence.map(|logits| Tensor::new(&[logits], &Device::Cpu)).transpose()?;
        BeforeGate { prediction, presence }.finish(config)
    }
}

/// The logit of a pixel that the gate empties: a probability of 9e-14, of which every loss has a finite logarithm.
const EMPTY: f64 = -30.0;

impl Logits {
    /// The heads' logits behind `gate` `[batch, 1, 1, 1]` of 0 and 1, in training what [`BeforeGate::finish`] does to a
    /// prediction: a loss of these logits is one of the gated probabilities. A gated image becomes 0.5 everywhere
    /// where the gate multiplies logits, else empty; it has no gradient either way.
    ///
    /// # Errors
    /// Where the gate has another shape.
    pub fn gated(self, gate: &Tensor, kind: CgmGate) -> Result<Self> {
        let closed = match kind {
            CgmGate::Logits => 0.0,
            CgmGate::Probabilities => EMPTY,
        };
        let gate = gate.detach();
        let offset = gate.affine(-closed, closed)?;
        let through = |logits: &Tensor| logits.broadcast_mul(&gate)?.broadcast_add(&offset);
        let heads = self.heads.iter().map(through).collect::<candle_core::Result<_>>()?;
        Ok(Self { heads, ..self })
    }
}

/// Every head's probabilities from its logits.
pub(crate) fn all_outputs(config: &UNet3PlusConfig, logits: Logits) -> Result<AllOutputs> {
    let Logits { heads, presence } = logits;
    let gate = presence.as_ref().map(ClassificationGuidedModule::gate).transpose()?;
    let probabilities = |logits| after_gate(config, &before_gate(config, logits)?, gate.as_ref());
    let probabilities = heads.iter().map(probabilities).collect::<Result<_>>()?;
    let presence = presence.map(|logits| candle_nn::ops::sigmoid(&logits)).transpose()?;
    Ok(AllOutputs { probabilities, presence })
}

/// From logits to what the gate multiplies.
pub(crate) fn before_gate(config: &UNet3PlusConfig, logits: &Tensor) -> Result<Tensor> {
    if gates_logits(config) { Ok(logits.clone()) } else { activate(config, logits) }
}

/// From what the gate multiplies to probabilities.
fn after_gate(config: &UNet3PlusConfig, prediction: &Tensor, gate: Option<&Tensor>) -> Result<Tensor> {
    let gated = match gate {
        Some(gate) => prediction.broadcast_mul(gate)?,
        None => prediction.clone(),
    };
    if gates_logits(config) { activate(config, &gated) } else { Ok(gated) }
}

/// Whether the gate comes before the activation.
fn gates_logits(config: &UNet3PlusConfig) -> bool {
    config.variant.has_cgm() && config.cgm_gate == CgmGate::Logits
}

fn activate(config: &UNet3PlusConfig, logits: &Tensor) -> Result<Tensor> {
    Ok(match config.activation {
        Activation::Sigmoid => candle_nn::ops::sigmoid(logits)?,
        Activation::Softmax => candle_nn::ops::softmax(logits, 1)?,
    })
}
