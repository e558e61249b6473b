//! A convolution of a graph with its parameters, on Candle tensors.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::VarBuilder;
use candle_nn::init::DEFAULT_KAIMING_NORMAL;
use unet3p_kernels::ChannelStatistics;

use super::Conv;
use crate::backend::Backend;
use crate::ops::{
    BatchStatistics, batch_norm, batch_norm_relu, conv2d, conv2d_strided, relu, upsample_conv2d,
};

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

/// A convolution and, where it has them, batch normalisation and ReLU.
#[derive(Debug, Clone)]
pub(super) struct ConvLayer {
    conv: Conv,
    pub(super) weight: Var,
    pub(super) bias: Option<Var>,
    pub(super) norm: Option<BatchNorm>,
}

/// The parameters of a batch normalisation.
#[derive(Debug, Clone)]
pub(super) struct BatchNorm {
    pub(super) gamma: Var,
    pub(super) beta: Var,
    running_mean: Var,
    running_var: Var,
}

impl ConvLayer {
    /// The layer of a node called `name`.
    pub(super) fn new(name: &str, conv: &Conv, parameters: &VarBuilder<'_>) -> Result<Self> {
        let at = |name: &str| if name.is_empty() { parameters.clone() } else { parameters.pp(name) };
        let constant = |parameters: &VarBuilder<'_>, name: &str, value: f64| {
            let tensor = parameters.get_with_hints(conv.outputs, name, candle_nn::Init::Const(value))?;
            Var::from_tensor(&tensor)
        };
        let own = at(name);
        let shape = (conv.outputs, conv.inputs, conv.kernel, conv.kernel);
        let norm = conv.batch_norm.as_deref().map(|name| {
            let own = at(name);
            Ok::<_, candle_core::Error>(BatchNorm {
                gamma: constant(&own, "weight", 1.0)?,
                beta: constant(&own, "bias", 0.0)?,
                running_mean: constant(&own, "running_mean", 0.0)?,
                running_var: constant(&own, "running_var", 1.0)?,
            })
        });
        Ok(Self {
            conv: conv.clone(),
            weight: Var::from_tensor(&own.get_with_hints(shape, "weight", DEFAULT_KAIMING_NORMAL)?)?,
            bias: conv.bias.then(|| constant(&own, "bias", 0.0)).transpose()?,
            norm: norm.transpose()?,
        })
    }

    /// Every variable by its name, for a layer of a node called `name`.
    pub(super) fn variables(&self, name: &str) -> Vec<(String, Var)> {
        let join = |name: &str, leaf: &str| match name {
            "" => leaf.to_owned(),
            name => format!("{name}.{leaf}"),
        };
        let mut all = vec![(join(name, "weight"), self.weight.clone())];
        all.extend(self.bias.iter().map(|bias| (join(name, "bias"), bias.clone())));
        if let (Some(norm), Some(name)) = (&self.norm, &self.conv.batch_norm) {
            let BatchNorm { gamma, beta, running_mean, running_var } = norm;
            for (leaf, variable) in [
                ("weight", gamma),
                ("bias", beta),
                ("running_mean", running_mean),
                ("running_var", running_var),
            ] {
                all.push((join(name, leaf), variable.clone()));
            }
        }
        all
    }

    /// The output on `x`. In training with the batch's statistics, which also move the running ones; else with the running
    /// ones, and no graph is recorded for the parameters.
    pub(super) fn forward(
        &self,
        backend: Backend,
        x: &Tensor,
        options: BatchNormOptions,
        train: bool,
    ) -> Result<Tensor> {
        let of_mode = |parameter: &Var| match train {
            true => parameter.as_tensor().clone(),
            false => parameter.as_detached_tensor(),
        };
        let weight = of_mode(&self.weight);
        let bias = self.bias.as_ref().map(of_mode);
        let Conv { kernel, stride, upsample, .. } = self.conv;
        let y = match (upsample, stride, &bias) {
            (1, 1, _) if kernel <= 3 => conv2d(backend, x, &weight, bias.as_ref())?,
            (1, _, None) => conv2d_strided(backend, x, &weight, stride)?,
            (1, _, Some(bias)) => {
                let y = conv2d_strided(backend, x, &weight, stride)?;
                y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?
            }
            (_, 1, Some(bias)) if kernel == 3 => upsample_conv2d(backend, x, upsample, &weight, bias)?,
            _ => candle_core::bail!("a convolution {:?} of an upsampled map", self.conv),
        };
        let Some(norm) = &self.norm else {
            return if self.conv.relu { relu(&y) } else { Ok(y) };
        };
        let fixed = (!train).then(|| BatchStatistics {
            mean: norm.running_mean.as_detached_tensor(),
            variance: norm.running_var.as_detached_tensor(),
        });
        let normalise = if self.conv.relu { batch_norm_relu } else { batch_norm };
        let [gamma, beta] = [&norm.gamma, &norm.beta].map(of_mode);
        let (out, statistics) = normalise(backend, &y, &gamma, &beta, options.eps, fixed.as_ref())?;
        if train {
            norm.update_running(&statistics, y.elem_count() / y.dim(1)?, options.momentum)?;
        }
        Ok(out)
    }
}

impl BatchNorm {
    /// Moves the running statistics towards those of a batch of `count` values a channel; the running variance
    /// is unbiased, as in PyTorch.
    fn update_running(&self, batch: &BatchStatistics, count: usize, momentum: f64) -> Result<()> {
        let unbiased = count as f64 / (count as f64 - 1.0).max(1.0);
        for (running, batch, factor) in
            [(&self.running_mean, &batch.mean, 1.0), (&self.running_var, &batch.variance, unbiased)]
        {
            let kept = (running.as_detached_tensor() * (1.0 - momentum))?;
            running.set(&(kept + (batch * (momentum * factor))?)?)?;
        }
        Ok(())
    }

    /// The same for statistics of f32 values on the CPU.
    pub(super) fn update_running_from(
        &self,
        batch: ChannelStatistics,
        count: usize,
        momentum: f64,
    ) -> Result<()> {
        let vector = |values: Vec<f64>| {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            let len = values.len();
            Tensor::from_vec(values, len, &Device::Cpu)
        };
        let batch = BatchStatistics { mean: vector(batch.mean)?, variance: vector(batch.variance)? };
        self.update_running(&batch, count, momentum)
    }
}
