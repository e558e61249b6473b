//! The classification-guided module (CGM).

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::DEFAULT_KAIMING_NORMAL;
use rand_chacha::ChaCha8Rng;

use crate::execution::{Execution, Mode};
use crate::ops::{conv2d, dropout, global_max_pool};

/// Classification-guided module (Huang et al. 2020, section 2.3): tells from the deepest features whether the
/// organ is in the image at all. Dropout 0.5, convolution 1x1 to two channels, global max pooling; its sigmoid
/// is `[absent, present]`. Parameters: `weight`, `bias`.
#[derive(Debug, Clone)]
pub struct ClassificationGuide {
    weight: Tensor,
    bias: Tensor,
    execution: Execution,
}

impl ClassificationGuide {
    /// Probability with which dropout zeroes a feature in training.
    pub const DROPOUT: f64 = 0.5;

    /// A guide on `channels` channels.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(channels: usize, execution: Execution, parameters: VarBuilder<'_>) -> Result<Self> {
        let weight = parameters.get_with_hints((2, channels, 1, 1), "weight", DEFAULT_KAIMING_NORMAL)?;
        let bias = parameters.get_with_hints(2, "bias", candle_nn::init::ZERO)?;
        Ok(Self { weight, bias, execution })
    }

    /// Logits `[batch, 2]` = [absent, present], without dropout.
    ///
    /// # Errors
    /// Where `x` has other channels than the guide takes.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (weight, bias) = match mode {
            Mode::Evaluation => (self.weight.detach(), self.bias.detach()),
            Mode::Training => (self.weight.clone(), self.bias.clone()),
        };
        global_max_pool(&conv2d(self.execution, x, &weight, Some(&bias))?)
    }

    /// Logits `[batch, 2]` in training, behind dropout drawn from `rng`.
    ///
    /// # Errors
    /// As [`ClassificationGuide::forward`].
    pub fn forward_train(&self, x: &Tensor, rng: &mut ChaCha8Rng) -> Result<Tensor> {
        self.forward(&dropout(x, Self::DROPOUT, rng)?, Mode::Training)
    }

    /// The gate `[batch, 1, 1, 1]` from logits `[batch, 2]`: 1 where the organ is the more probable, else 0.
    ///
    /// # Errors
    /// Where `logits` has another shape.
    pub fn gate(logits: &Tensor) -> Result<Tensor> {
        let present = logits.narrow(1, 1, 1)?.gt(&logits.narrow(1, 0, 1)?)?;
        let dtype = if logits.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        present.to_dtype(dtype)?.reshape(((), 1, 1, 1))
    }
}
