//! From a prediction to probabilities: the classification-guided module's gate, and the activation on its side.

use candle_core::{DType, Device, Tensor};
use unet3p_core::ClassificationGuide;

use crate::class_map::check_probabilities;
use crate::config::{Activation, CgmGate, UNet3PlusConfig};
use crate::error::{Error, Result};
use crate::network::{AllOutputs, Output, TrainOutput};

/// Head 1's prediction before the gate, which may be averaged and blended: what is gated cannot be, as the gate is
/// decided once for an image.
#[derive(Debug, Clone)]
pub struct Ungated {
    /// `[batch, classes, height, width]`: probabilities, or logits where the gate multiplies logits.
    pub prediction: Tensor,
    /// Logits `[batch, 2]` = [absent, present] of the classification-guided module.
    pub presence: Option<Tensor>,
}

/// [`Ungated`] for one image, in plain memory.
#[derive(Debug, Clone, PartialEq)]
pub struct UngatedValues {
    /// As [`Ungated::prediction`], `[classes, height, width]`.
    pub prediction: Vec<f32>,
    /// As [`Ungated::presence`].
    pub presence: Option<[f32; 2]>,
}

impl Ungated {
    /// Decides the gate from the presence logits and applies it, with the activation where that comes after.
    ///
    /// # Errors
    /// Where the tensors have other shapes than those above.
    pub fn finish(self, config: &UNet3PlusConfig) -> Result<Output> {
        let gate = self.presence.as_ref().map(ClassificationGuide::gate).transpose()?;
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
    pub fn into_values(self) -> Result<UngatedValues> {
        let (batch, ..) = self.prediction.dims4()?;
        if batch != 1 {
            return Err(Error::Input(format!("a batch of {batch} images where one is needed")));
        }
        let logit = |logits: &Tensor, i| logits.get(0)?.get(i)?.to_dtype(DType::F32)?.to_scalar();
        let presence = |logits: &Tensor| candle_core::Result::Ok([logit(logits, 0)?, logit(logits, 1)?]);
        Ok(UngatedValues {
            prediction: self.prediction.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?,
            presence: self.presence.as_ref().map(presence).transpose()?,
        })
    }
}

impl UngatedValues {
    /// [`Ungated::finish`] for an image of `height` x `width`, on the CPU.
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
        Ungated { prediction, presence }.finish(config)
    }
}

/// The logit of a pixel that the gate empties: a probability of 9e-14, of which every loss has a finite logarithm.
const EMPTY: f64 = -30.0;

impl TrainOutput {
    /// The heads' logits behind `gate` `[batch, 1, 1, 1]` of 0 and 1, in training what [`Ungated::finish`] does to a
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
        let logits = self.logits.iter().map(through).collect::<candle_core::Result<_>>()?;
        Ok(Self { logits, ..self })
    }
}

/// The mean over mirrored copies of `x` of what the gate multiplies and of the presence logits; `logits` gives head 1's
/// and the module's for one copy.
pub(crate) fn mean_over_flips(
    config: &UNet3PlusConfig,
    x: &Tensor,
    flips: &[&[usize]],
    logits: impl Fn(&Tensor) -> Result<(Vec<Tensor>, Option<Tensor>)>,
) -> Result<Ungated> {
    if flips.is_empty() || flips.iter().any(|axes| axes.iter().any(|axis| ![2, 3].contains(axis))) {
        return Err(Error::Input(format!("flips {flips:?}: at least one list of the axes 2 and 3")));
    }
    let mut sums: Option<(Tensor, Option<Tensor>)> = None;
    for axes in flips {
        let (logits, presence) = logits(&x.flip(axes)?.contiguous()?)?;
        let prediction = before_gate(config, &logits[0])?.contiguous()?.flip(axes)?;
        sums = Some(match sums {
            None => (prediction, presence),
            Some((sum, presences)) => {
                let presences = presences.zip(presence).map(|(sum, one)| sum + one).transpose()?;
                ((sum + prediction)?, presences)
            }
        });
    }
    let Some((prediction, presence)) = sums else {
        return Err(Error::Input("no flips".into()));
    };
    let share = 1.0 / flips.len() as f64;
    let presence = presence.map(|sum| sum * share).transpose()?;
    Ok(Ungated { prediction: (prediction * share)?, presence })
}

/// Every head's probabilities from its logits.
pub(crate) fn all_outputs(
    config: &UNet3PlusConfig,
    logits: &[Tensor],
    presence: Option<Tensor>,
) -> Result<AllOutputs> {
    let gate = presence.as_ref().map(ClassificationGuide::gate).transpose()?;
    let probabilities = |logits| after_gate(config, &before_gate(config, logits)?, gate.as_ref());
    let probabilities = logits.iter().map(probabilities).collect::<Result<_>>()?;
    let presence = presence.map(|logits| candle_nn::ops::sigmoid(&logits)).transpose()?;
    Ok(AllOutputs { probabilities, presence })
}

/// From logits to what the gate multiplies.
fn before_gate(config: &UNet3PlusConfig, logits: &Tensor) -> Result<Tensor> {
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
