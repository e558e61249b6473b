//! Convolution 3x3, batch normalisation, ReLU.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::VarBuilder;
use candle_nn::init::DEFAULT_KAIMING_NORMAL;

use crate::execution::{Execution, Mode};
use crate::ops::{BatchStatistics, batch_norm_relu, conv2d, upsample_conv2d};
use crate::training::{self, Map, Tape};

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
    layers: Vec<Layer>,
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
        let layer = |i: usize| {
            let suffix = if n == 1 { String::new() } else { (i + 1).to_string() };
            let inputs = if i == 0 { inputs } else { outputs };
            let (conv, bn) = (parameters.pp(format!("conv{suffix}")), parameters.pp(format!("bn{suffix}")));
            Layer::new(inputs, outputs, options, execution, conv, bn)
        };
        Ok(Self { layers: (0..n).map(layer).collect::<Result<_>>()? })
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

#[derive(Debug, Clone)]
struct Layer {
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Var,
    running_var: Var,
    options: BatchNormOptions,
    execution: Execution,
}

impl Layer {
    fn new(
        inputs: usize,
        outputs: usize,
        options: BatchNormOptions,
        execution: Execution,
        conv: VarBuilder<'_>,
        bn: VarBuilder<'_>,
    ) -> Result<Self> {
        let constant = |parameters: &VarBuilder<'_>, name: &str, value: f64| {
            parameters.get_with_hints(outputs, name, candle_nn::Init::Const(value))
        };
        Ok(Self {
            weight: conv.get_with_hints((outputs, inputs, 3, 3), "weight", DEFAULT_KAIMING_NORMAL)?,
            bias: constant(&conv, "bias", 0.0)?,
            gamma: constant(&bn, "weight", 1.0)?,
            beta: constant(&bn, "bias", 0.0)?,
            running_mean: Var::from_tensor(&constant(&bn, "running_mean", 0.0)?)?,
            running_var: Var::from_tensor(&constant(&bn, "running_var", 1.0)?)?,
            options,
            execution,
        })
    }

    fn forward(&self, x: &Tensor, scale: usize, mode: Mode) -> Result<Tensor> {
        let of_mode = |parameter: &Tensor| match mode {
            Mode::Evaluation => parameter.detach(),
            Mode::Training => parameter.clone(),
        };
        let [weight, bias, gamma, beta] = [&self.weight, &self.bias, &self.gamma, &self.beta].map(of_mode);
        let y = match scale {
            1 => conv2d(self.execution, x, &weight, Some(&bias))?,
            _ => upsample_conv2d(self.execution, x, scale, &weight, &bias)?,
        };
        let fixed = match mode {
            Mode::Evaluation => Some(BatchStatistics {
                mean: self.running_mean.as_detached_tensor(),
                variance: self.running_var.as_detached_tensor(),
            }),
            Mode::Training => None,
        };
        let eps = self.options.eps;
        let (out, statistics) = batch_norm_relu(self.execution, &y, &gamma, &beta, eps, fixed.as_ref())?;
        if mode == Mode::Training {
            self.update_running(&statistics, y.elem_count() / y.dim(1)?)?;
        }
        Ok(out)
    }

    fn forward_on_tape(&self, tape: &mut Tape, x: &Map, scale: usize, slot: Option<Map>) -> Result<Map> {
        let Self { weight, bias, gamma, beta, .. } = self;
        let layer = training::Layer { weight, bias, gamma, beta, eps: self.options.eps };
        let (y, statistics) = tape.layer(&layer, x, scale, slot)?;
        let vector = |values: Vec<f64>| {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            let len = values.len();
            Tensor::from_vec(values, len, &Device::Cpu)
        };
        let batch =
            BatchStatistics { mean: vector(statistics.mean)?, variance: vector(statistics.variance)? };
        self.update_running(&batch, tape.pixels(&y))?;
        Ok(y)
    }

    /// Moves the running statistics towards those of a batch of `count` values a channel; the running variance
    /// is unbiased, as in PyTorch.
    fn update_running(&self, batch: &BatchStatistics, count: usize) -> Result<()> {
        let momentum = self.options.momentum;
        let unbiased = count as f64 / (count as f64 - 1.0).max(1.0);
        for (running, batch, factor) in
            [(&self.running_mean, &batch.mean, 1.0), (&self.running_var, &batch.variance, unbiased)]
        {
            let kept = (running.as_detached_tensor() * (1.0 - momentum))?;
            running.set(&(kept + (batch * (momentum * factor))?)?)?;
        }
        Ok(())
    }
}
