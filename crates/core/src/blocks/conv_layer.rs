//! One convolution with batch normalisation behind it, and ReLU or not.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::VarBuilder;
use candle_nn::init::DEFAULT_KAIMING_NORMAL;

use super::conv_block::BatchNormOptions;
use crate::execution::{Execution, Mode};
use crate::ops::{BatchStatistics, batch_norm, batch_norm_relu, conv2d, conv2d_strided, upsample_conv2d};
use crate::training::{self, Map, Tape};

/// What a layer's convolution is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Rows and columns of the kernel, odd.
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) bias: bool,
}

/// Convolution with zero padding `kernel / 2`, batch normalisation, and ReLU where asked.
#[derive(Debug, Clone)]
pub(super) struct ConvLayer {
    pub(super) weight: Tensor,
    bias: Option<Tensor>,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Var,
    running_var: Var,
    stride: usize,
    relu: bool,
    options: BatchNormOptions,
    execution: Execution,
}

impl ConvLayer {
    pub(super) fn new(
        convolution: Convolution,
        relu: bool,
        options: BatchNormOptions,
        execution: Execution,
        conv: VarBuilder<'_>,
        bn: VarBuilder<'_>,
    ) -> Result<Self> {
        let Convolution { inputs, outputs, kernel, stride, bias } = convolution;
        let constant = |parameters: &VarBuilder<'_>, name: &str, value: f64| {
            parameters.get_with_hints(outputs, name, candle_nn::Init::Const(value))
        };
        let shape = (outputs, inputs, kernel, kernel);
        Ok(Self {
            weight: conv.get_with_hints(shape, "weight", DEFAULT_KAIMING_NORMAL)?,
            bias: bias.then(|| constant(&conv, "bias", 0.0)).transpose()?,
            gamma: constant(&bn, "weight", 1.0)?,
            beta: constant(&bn, "bias", 0.0)?,
            running_mean: Var::from_tensor(&constant(&bn, "running_mean", 0.0)?)?,
            running_var: Var::from_tensor(&constant(&bn, "running_var", 1.0)?)?,
            stride,
            relu,
            options,
            execution,
        })
    }

    /// The output on `x` upsampled bilinearly by `scale`, where the layer has a bias and no stride, and by 1 elsewhere.
    pub(super) fn forward(&self, x: &Tensor, scale: usize, mode: Mode) -> Result<Tensor> {
        let of_mode = |parameter: &Tensor| match mode {
            Mode::Evaluation => parameter.detach(),
            Mode::Training => parameter.clone(),
        };
        let [weight, gamma, beta] = [&self.weight, &self.gamma, &self.beta].map(of_mode);
        let bias = self.bias.as_ref().map(of_mode);
        let small = weight.dim(2)? <= 3;
        let y = match (scale, self.stride, &bias) {
            (1, 1, _) if small => conv2d(self.execution, x, &weight, bias.as_ref())?,
            (1, stride, None) => conv2d_strided(self.execution, x, &weight, stride)?,
            (_, 1, Some(bias)) if small => upsample_conv2d(self.execution, x, scale, &weight, bias)?,
            _ => candle_core::bail!("a layer with stride {} and a bias, upsampled by {scale}", self.stride),
        };
        let fixed = match mode {
            Mode::Evaluation => Some(BatchStatistics {
                mean: self.running_mean.as_detached_tensor(),
                variance: self.running_var.as_detached_tensor(),
            }),
            Mode::Training => None,
        };
        let normalise = if self.relu { batch_norm_relu } else { batch_norm };
        let (out, statistics) =
            normalise(self.execution, &y, &gamma, &beta, self.options.eps, fixed.as_ref())?;
        if mode == Mode::Training {
            self.update_running(&statistics, y.elem_count() / y.dim(1)?)?;
        }
        Ok(out)
    }

    pub(super) fn forward_on_tape(
        &self,
        tape: &mut Tape,
        x: &Map,
        scale: usize,
        slot: Option<Map>,
    ) -> Result<Map> {
        let (Self { weight, gamma, beta, .. }, Some(bias)) = (self, &self.bias) else {
            candle_core::bail!("a layer without a bias in a pass on blocked maps");
        };
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
