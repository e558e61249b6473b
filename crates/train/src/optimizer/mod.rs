//! Optimizers whose state can be saved and taken up again.

mod adam;
mod in_place;
mod parameter;
mod sgd;
#[cfg(test)]
mod testing;

use std::collections::HashMap;

use candle_core::{Result, Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::Gradients;

pub use adam::{Adam, AdamOptions};
pub(crate) use in_place::{CHUNK, is_fused, slice, slice_mut};
pub use sgd::{Sgd, SgdOptions};

/// How the weight decay enters a step. It acts on convolution kernels (tensors of two or more dimensions), not on
/// biases and not on the factors and offsets of batch normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightDecay {
    /// w <- (1 - lr decay) w beside the step (AdamW: Loshchilov and Hutter, arXiv:1711.05101).
    Decoupled(f64),
    /// g <- g + decay w before everything else: the gradient of the penalty decay / 2 sum w^2.
    L2(f64),
}

impl WeightDecay {
    /// What the step adds to the gradient as a part of the weight, and what it takes off the weight as a part of it
    /// and of the learning rate, for a parameter of `rank` dimensions.
    fn parts(self, rank: usize) -> (f64, f64) {
        match self {
            _ if rank < 2 => (0.0, 0.0),
            Self::L2(decay) => (decay, 0.0),
            Self::Decoupled(decay) => (0.0, decay),
        }
    }
}

/// What moves the weights, as a configuration names it: the bare name, or a table of `name` and those parameters
/// that differ from their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum OptimizerConfig {
    /// `adamw`: [`Adam`] with decoupled weight decay.
    Adamw(AdamOptions),
    /// `adam`: [`Adam`] with the weight decay as an L2 penalty.
    Adam(AdamOptions),
    /// `sgd`: [`Sgd`] with the weight decay as an L2 penalty.
    Sgd(SgdOptions),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adamw(AdamOptions::default())
    }
}

impl OptimizerConfig {
    /// An optimizer of named `parameters`, with `weight_decay` in the way of this optimizer.
    ///
    /// # Errors
    /// Where its state cannot be allocated on the parameters' device.
    pub fn build(
        &self,
        parameters: impl IntoIterator<Item = (String, Var)>,
        weight_decay: f64,
    ) -> Result<Box<dyn Optimizer>> {
        Ok(match *self {
            Self::Adamw(options) => {
                Box::new(Adam::new(parameters, options, WeightDecay::Decoupled(weight_decay))?)
            }
            Self::Adam(options) => Box::new(Adam::new(parameters, options, WeightDecay::L2(weight_decay))?),
            Self::Sgd(options) => Box::new(Sgd::new(parameters, options, WeightDecay::L2(weight_decay))?),
        })
    }

    /// The first parameter that is not allowed: its key, its value and what is allowed.
    pub(crate) fn wrong(&self) -> Option<(&'static str, f64, &'static str)> {
        match self {
            Self::Adamw(options) | Self::Adam(options) => options.wrong(),
            Self::Sgd(options) => options.wrong(),
        }
    }
}

/// A rule that moves parameters against their gradients.
pub trait Optimizer: Send {
    /// The parameters, in the order that gradients come in.
    fn parameters(&self) -> Box<dyn Iterator<Item = &Var> + '_>;

    /// One step with `scale` times `gradients`. A parameter without a gradient stays as it is.
    ///
    /// # Errors
    /// Where a gradient's shape is not its parameter's.
    fn step(&mut self, gradients: &Gradients, learning_rate: f64, scale: f64) -> Result<()>;

    /// What the rule remembers of earlier steps: tensors by names that begin with the parameter's.
    ///
    /// # Errors
    /// Where a tensor cannot be copied.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;

    /// Takes up the [`state`](Optimizer::state) that an optimizer of the same kind and parameters had after `steps`
    /// steps. Both together then go on alike, bit for bit.
    ///
    /// # Errors
    /// Where a tensor is missing or of another shape.
    fn restore(&mut self, steps: usize, state: &HashMap<String, Tensor>) -> Result<()>;
}
