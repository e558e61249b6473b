//! Convolution 3x3, batch normalisation, ReLU.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::conv_layer::{ConvLayer, Convolution};
use crate::execution::{Execution, Mode};
use crate::training::{Map, Tape};

/// Constants of batch normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormOptions {
    /// Added to the variance; 1e-5 by default.
    pub eps: f64,
    /// Weight of a batch in the running statistics, `running = (1 - momentum) running + momentum batch`; 0.1 by
    /// default.
    pub momentum: f64,
}

impl Default for BatchNormOptions {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1 }
    }
}

/// `n` times: convolution 3x3 (stride 1, zero padding 1, with bias), batch normalisation, ReLU. From
/// `[batch, in, height, width]` to `[batch, out, height, width]`.
///
/// Parameters: `conv1.{weight,bias}`, `bn1.{weight,bias,running_mean,running_var}`, `conv2...`; without a number
/// where n = 1.
#[derive(Debug, Clone)]
pub struct ConvBlock {
    layers: Vec<ConvLayer>,
}

impl ConvBlock {
    /// A block of `n` layers, the first from `inputs` to `outputs` channels, the rest from `outputs` to
    /// `outputs`.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(
        inputs: usize,
        outputs: usize,
        n: usize,
        options: BatchNormOptions,
        execution: Execution,
        parameters: VarBuilder<'_>,
    ) -> Result<Self> {
        let layer = |(i, [conv, bn]): (usize, [String; 2])| {
            let inputs = if i == 0 { inputs } else { outputs };
            let (conv, bn) = (parameters.pp(conv), parameters.pp(bn));
            let convolution = Convolution { inputs, outputs, kernel: 3, stride: 1, bias: true };
            ConvLayer::new(convolution, true, options, execution, conv, bn)
        };
        Ok(Self { layers: Self::names(n).enumerate().map(layer).collect::<Result<_>>()? })
    }

    /// The names of a block's `n` convolutions and of the batch normalisations behind them.
    ///
    /// ```
    /// use unet3p_core::ConvBlock;
    ///
    /// assert!(ConvBlock::names(1).eq([["conv", "bn"].map(String::from)]));
    /// assert!(ConvBlock::names(2).eq([["conv1", "bn1"], ["conv2", "bn2"]].map(|names| names.map(String::from))));
    /// ```
    pub fn names(n: usize) -> impl Iterator<Item = [String; 2]> {
        (1..=n).map(move |i| {
            let number = if n == 1 { String::new() } else { i.to_string() };
            ["conv", "bn"].map(|name| format!("{name}{number}"))
        })
    }

    /// Channels of the output.
    pub(super) fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.weight.dims()[0])
    }

    /// The block's output.
    ///
    /// # Errors
    /// Where `x` has other channels than the block takes.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x, 1, mode))
    }

    /// The block's output on `x` upsampled bilinearly by `scale`: the same as upsampling first, for less work.
    ///
    /// # Errors
    /// As [`ConvBlock::forward`].
    pub fn forward_upsampled(&self, x: &Tensor, scale: usize, mode: Mode) -> Result<Tensor> {
        let Some((first, rest)) = self.layers.split_first() else {
            return crate::ops::upsample_bilinear2d(Execution::for_device(x.device()), x, scale);
        };
        let x = first.forward(x, scale, mode)?;
        rest.iter().try_fold(x, |x, layer| layer.forward(&x, 1, mode))
    }

    /// The block's output in a training pass on blocked maps, on `x` upsampled bilinearly by `scale`, in `slot` where
    /// one is given.
    ///
    /// # Errors
    /// As [`ConvBlock::forward`].
    pub fn forward_on_tape(&self, tape: &mut Tape, x: &Map, scale: usize, slot: Option<Map>) -> Result<Map> {
        let last = self.layers.len().saturating_sub(1);
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            let scale = if i == 0 { scale } else { 1 };
            x = layer.forward_on_tape(tape, &x, scale, slot.clone().filter(|_| i == last))?;
        }
        Ok(x)
    }
}
