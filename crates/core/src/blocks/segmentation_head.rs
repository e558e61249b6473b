//! From features to class logits.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::DEFAULT_KAIMING_NORMAL;

use crate::execution::{Execution, Mode};
use crate::ops::{conv2d, upsample_bilinear2d};
use crate::training::{Map, Tape};

/// Segmentation head: a convolution 3x3 to one channel a class, whose logits are upsampled bilinearly to full
/// size (Huang et al. 2020, section 2.2). Parameters: `weight`, `bias`.
#[derive(Debug, Clone)]
pub struct SegmentationHead {
    weight: Tensor,
    bias: Tensor,
    scale: usize,
    execution: Execution,
}

impl SegmentationHead {
    /// A head on `channels` channels, for features `scale` times smaller than the image.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(
        channels: usize,
        classes: usize,
        scale: usize,
        execution: Execution,
        parameters: VarBuilder<'_>,
    ) -> Result<Self> {
        let weight =
            parameters.get_with_hints((classes, channels, 3, 3), "weight", DEFAULT_KAIMING_NORMAL)?;
        let bias = parameters.get_with_hints(classes, "bias", candle_nn::init::ZERO)?;
        Ok(Self { weight, bias, scale, execution })
    }

    /// Logits `[batch, classes, height * scale, width * scale]`.
    ///
    /// # Errors
    /// Where `x` has other channels than the head takes.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (weight, bias) = match mode {
            Mode::Evaluation => (self.weight.detach(), self.bias.detach()),
            Mode::Training => (self.weight.clone(), self.bias.clone()),
        };
        let logits = conv2d(self.execution, x, &weight, Some(&bias))?;
        self.upsample(&logits)
    }

    /// Makes the logits at the resolution of `x` an output of a training pass on blocked maps;
    /// [`SegmentationHead::upsample`] brings them to full size.
    ///
    /// # Errors
    /// As [`SegmentationHead::forward`].
    pub fn forward_on_tape(&self, tape: &mut Tape, x: &Map) -> Result<()> {
        tape.head(&self.weight, &self.bias, x)
    }

    /// Logits at the features' resolution, brought to full size.
    ///
    /// # Errors
    /// Where they have other than four dimensions.
    pub fn upsample(&self, logits: &Tensor) -> Result<Tensor> {
        if self.scale == 1 {
            Ok(logits.clone())
        } else {
            upsample_bilinear2d(self.execution, logits, self.scale)
        }
    }
}
