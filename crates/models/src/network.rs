//! The network.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use rand_chacha::ChaCha8Rng;
use unet3p_core::training::{Map, MapMemory, Tape};
use unet3p_core::{
    BatchNormOptions, ClassificationGuide, Execution, FullScaleSkip, Mode, Parameters, SegmentationHead,
};

use crate::config::UNet3PlusConfig;
use crate::cost::{source_channels, tensor_shapes};
use crate::error::{Error, Result};
use crate::gate::{Ungated, all_outputs, mean_over_flips};
use crate::padding::pad_to_multiple;
use crate::stage::StageLayers;

/// Head 1's prediction.
#[derive(Debug, Clone)]
pub struct Output {
    /// Probabilities `[batch, classes, height, width]` at the input's size; the classification-guided module's
    /// gate is applied.
    pub probabilities: Tensor,
    /// Probabilities `[batch, 2]` = [absent, present] of the classification-guided module.
    pub presence: Option<Tensor>,
    /// The module's decision `[batch]`, which is the gate: 1 where the present logit exceeds the absent one, else 0.
    /// Both probabilities may be high, so that presence alone does not tell it.
    pub present: Option<Tensor>,
}

/// Every head's prediction.
#[derive(Debug, Clone)]
pub struct AllOutputs {
    /// As [`Output::probabilities`], head 1 (full resolution) first.
    pub probabilities: Vec<Tensor>,
    /// As [`Output::presence`].
    pub presence: Option<Tensor>,
}

/// What a loss needs, in training and in a validation.
#[derive(Debug, Clone)]
pub struct TrainOutput {
    /// Logits `[batch, classes, height, width]` of every head at the input's size, head 1 first.
    pub logits: Vec<Tensor>,
    /// Logits `[batch, 2]` = [absent, present] of the classification-guided module.
    pub presence: Option<Tensor>,
}

/// UNet 3+ (Huang et al. 2020).
///
/// Five encoder stages E1..E5, of the paper's encoder or of [another](crate::Encoder), halve the resolution between them; decoder nodes D4..D1 each aggregate all five
/// scales ([`FullScaleSkip`]). Head 1 reads D1; with deep supervision heads 2..4 read D2..D4 and head 5 E5.
///
/// A clone shares weights and running statistics with the original: training one changes both.
#[derive(Clone)]
pub struct UNet3Plus {
    config: UNet3PlusConfig,
    parameters: Parameters,
    execution: Execution,
    encoder: Vec<StageLayers>,
    /// D1 first, though D4 is computed first.
    decoder: Vec<FullScaleSkip>,
    heads: Vec<SegmentationHead>,
    guide: Option<ClassificationGuide>,
    /// Of training passes.
    memory: MapMemory,
}

impl std::fmt::Debug for UNet3Plus {
    /// The configuration stands for the network: its weights would fill books.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UNet3Plus").field("config", &self.config).field("execution", &self.execution).finish()
    }
}

impl UNet3Plus {
    /// A network with weights drawn from `seed` (He et al. 2015, normal).
    ///
    /// # Errors
    /// Where the configuration cannot be built, or the device is out of memory.
    pub fn init(config: &UNet3PlusConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        config.validate()?;
        Self::build(config, Parameters::init(seed, dtype, device), Execution::for_device(device))
    }

    /// A network with the given weights, under the names of [`tensor_shapes`].
    ///
    /// # Errors
    /// Where tensors are missing, left over or of another shape: all of them are listed.
    pub fn from_tensors(
        config: &UNet3PlusConfig,
        tensors: HashMap<String, Tensor>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        check_weights(config, |name| tensors.get(name).map(|tensor| tensor.dims().to_vec()), tensors.keys())?;
        let parameters = Parameters::from_tensors(tensors, dtype, device)?;
        Self::build(config, parameters, Execution::for_device(device))
    }

    fn build(config: &UNet3PlusConfig, parameters: Parameters, execution: Execution) -> Result<Self> {
        let options = BatchNormOptions { eps: config.batch_norm_eps, momentum: config.batch_norm_momentum };
        let builder = parameters.builder();
        let part = |name: &str, i: usize| -> VarBuilder<'static> { builder.pp(name).pp(i) };
        let levels = config.filters.len();
        let (f1, f5) = (config.filters[0], config.filters[levels - 1]);

        let stages = config.encoder.stages(config.in_channels, config.filters).into_iter().enumerate();
        let stage = |(i, stage)| StageLayers::new(&stage, options, execution, &part("encoder", i + 1));
        let encoder = stages.map(stage).collect::<candle_core::Result<Vec<_>>>()?;

        let node = |node: usize| {
            let channels = source_channels(config, node);
            FullScaleSkip::new(node, &channels, f1, options, execution, part("decoder", node))
        };
        let decoder = (1..levels).map(node).collect::<candle_core::Result<Vec<_>>>()?;

        let head = |level: usize| {
            let channels = if level == levels { f5 } else { f1 * levels };
            let scale = config.encoder.stride() << (level - 1);
            SegmentationHead::new(channels, config.num_classes, scale, execution, part("head", level))
        };
        let heads = if config.variant.has_deep_supervision() { levels } else { 1 };
        let heads = (1..=heads).map(head).collect::<candle_core::Result<Vec<_>>>()?;

        let guide = config.variant.has_cgm();
        let guide = guide.then(|| ClassificationGuide::new(f5, execution, builder.pp("cgm"))).transpose()?;
        let config = config.clone();
        let memory = MapMemory::default();
        Ok(Self { config, parameters, execution, encoder, decoder, heads, guide, memory })
    }

    /// The same network and parameters on another implementation of its operations: for tests, which hold the
    /// CPU kernels and the composition for GPUs to the same results.
    ///
    /// # Errors
    /// None that occurs in practice: the parameters are there.
    pub fn with_execution(self, execution: Execution) -> Result<Self> {
        Self::build(&self.config, self.parameters, execution)
    }

    /// The configuration.
    pub fn config(&self) -> &UNet3PlusConfig {
        &self.config
    }

    /// The weights and running statistics.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Predicts, in evaluation mode, with head 1 alone. `x` is `[batch, channels, height, width]` of any size:
    /// it is padded ([`pad_to_multiple`]) and the result cropped.
    ///
    /// # Errors
    /// Where `x` has other channels than the network takes, or is empty.
    pub fn forward(&self, x: &Tensor) -> Result<Output> {
        self.forward_flips(x, &[&[]])
    }

    /// Predicts as [`UNet3Plus::forward`], as the mean over mirrored copies of `x`: [`UNet3Plus::forward_ungated`],
    /// gated.
    ///
    /// # Errors
    /// As [`UNet3Plus::forward_ungated`].
    pub fn forward_flips(&self, x: &Tensor, flips: &[&[usize]]) -> Result<Output> {
        self.forward_ungated(x, flips)?.finish(&self.config)
    }

    /// Predicts, in evaluation mode, with head 1 alone and without the gate, as the mean over mirrored copies of `x`.
    /// Each entry of `flips` lists the axes to mirror, 2 (upside down) and 3 (left-right); an empty list is the image
    /// as it is.
    ///
    /// What the gate multiplies is averaged, probabilities or logits, and so are the logits of the
    /// classification-guided module; the gate is decided once, from the mean. Gating each copy by itself would
    /// scale the probabilities by the share of copies in which the organ was found.
    ///
    /// # Errors
    /// As [`UNet3Plus::forward`], where `flips` is empty, or where an axis is neither 2 nor 3.
    pub fn forward_ungated(&self, x: &Tensor, flips: &[&[usize]]) -> Result<Ungated> {
        mean_over_flips(&self.config, x, flips, |x| self.logits(x, 1))
    }

    /// Predicts, in evaluation mode, with every head.
    ///
    /// # Errors
    /// As [`UNet3Plus::forward`].
    pub fn forward_all(&self, x: &Tensor) -> Result<AllOutputs> {
        let (logits, presence) = self.logits(x, self.heads.len())?;
        all_outputs(&self.config, &logits, presence)
    }

    /// The logits of every head, in evaluation mode and ungated: what a training step's loss is computed from, for an
    /// image that is not trained on, of any size.
    ///
    /// # Errors
    /// As [`UNet3Plus::forward`].
    pub fn forward_logits(&self, x: &Tensor) -> Result<TrainOutput> {
        let (logits, presence) = self.logits(x, self.heads.len())?;
        Ok(TrainOutput { logits, presence })
    }

    /// The logits of the first heads at the size of `x`, and those of the classification-guided module, ungated.
    pub(crate) fn logits(&self, x: &Tensor, heads: usize) -> Result<(Vec<Tensor>, Option<Tensor>)> {
        let (_, _, height, width) = x.dims4()?;
        let features = self.features(&pad_to_multiple(x, self.config.size_multiple())?, Mode::Evaluation)?;
        let presence = match (&self.guide, features.last()) {
            (Some(guide), Some(deepest)) => Some(guide.forward(deepest, Mode::Evaluation)?),
            _ => None,
        };
        let logits = |(head, features): (&SegmentationHead, &Tensor)| {
            head.forward(features, Mode::Evaluation)?.narrow(2, 0, height)?.narrow(3, 0, width)
        };
        let logits = self.heads.iter().zip(&features).take(heads).map(logits);
        Ok((logits.collect::<candle_core::Result<_>>()?, presence))
    }

    /// A forward pass in training mode: batch statistics, which also move the running ones, and dropout drawn
    /// from `rng`. Height and width of `x` must be multiples of [`UNet3PlusConfig::size_multiple`].
    ///
    /// # Errors
    /// Where the size is not such a multiple, or the channels do not fit.
    pub fn forward_train(&self, x: &Tensor, rng: &mut ChaCha8Rng) -> Result<TrainOutput> {
        let (_, _, height, width) = x.dims4()?;
        let multiple = self.config.size_multiple();
        if !(height.is_multiple_of(multiple) && width.is_multiple_of(multiple)) {
            return Err(Error::Input(format!(
                "training images of {height}x{width}: sides must be multiples of {multiple}"
            )));
        }
        if self.execution == Execution::Kernels && self.parameters.dtype() == DType::F32 && !x.track_op() {
            return self.forward_on_tape(x, rng);
        }
        let features = self.features(x, Mode::Training)?;
        let presence = match (&self.guide, features.last()) {
            (Some(guide), Some(deepest)) => Some(guide.forward_train(deepest, rng)?),
            _ => None,
        };
        let logits = |(head, features): (&SegmentationHead, &Tensor)| head.forward(features, Mode::Training);
        let logits = self.heads.iter().zip(&features).map(logits).collect::<candle_core::Result<_>>()?;
        Ok(TrainOutput { logits, presence })
    }

    /// [`UNet3Plus::forward_train`] on blocked maps; what has residual blocks is computed op by op.
    fn forward_on_tape(&self, x: &Tensor, rng: &mut ChaCha8Rng) -> Result<TrainOutput> {
        self.check_channels(x)?;
        let levels = self.encoder.len();
        let (mut tape, mut input) = Tape::new(x, &self.memory)?;
        let mut scales: Vec<Map> = Vec::with_capacity(levels);
        // by scale: pooled by 2, 4, ...
        let mut pooled: Vec<Vec<Map>> = Vec::with_capacity(levels);
        let mut dense = x.clone();
        for (i, stage) in self.encoder.iter().enumerate() {
            let map = match stage {
                StageLayers::Convolutions(block) => block.forward_on_tape(&mut tape, &input, 1, None)?,
                StageLayers::Stem(_) | StageLayers::Residual { .. } => {
                    dense = stage.forward(self.execution, &dense, i == 0, Mode::Training)?;
                    tape.input(&dense)?
                }
            };
            if i + 1 < levels {
                // for the next stage and for every coarser node
                let pools = tape.max_pools(&map, (levels - 2 - i).max(1))?;
                input = pools[0].clone();
                pooled.push(pools);
            }
            scales.push(map);
        }
        for (i, node) in self.decoder.iter().enumerate().rev() {
            let source = |s: usize| if s < i { &pooled[s][i - s - 1] } else { &scales[s] };
            let sources: Vec<&Map> = (0..levels).map(source).collect();
            scales[i] = node.forward_on_tape(&mut tape, &sources)?;
        }
        for (head, map) in self.heads.iter().zip(&scales) {
            head.forward_on_tape(&mut tape, map)?;
        }
        if self.guide.is_some() {
            tape.dense(&scales[levels - 1]);
        }
        let outputs = tape.finish()?;
        let (logits, deepest) = outputs.split_at(self.heads.len());
        let presence = match (&self.guide, deepest.first()) {
            (Some(guide), Some(deepest)) => Some(guide.forward_train(deepest, rng)?),
            _ => None,
        };
        let logits = self.heads.iter().zip(logits).map(|(head, logits)| head.upsample(logits));
        Ok(TrainOutput { logits: logits.collect::<candle_core::Result<_>>()?, presence })
    }

    fn check_channels(&self, x: &Tensor) -> Result<()> {
        let (channels, takes) = (x.dim(1)?, self.config.in_channels);
        if channels != takes {
            return Err(Error::Input(format!("an input of {channels} channels; the network takes {takes}")));
        }
        Ok(())
    }

    /// The maps of the encoder alone, E1..E5, in evaluation mode; `x` as [`UNet3Plus::forward`] takes it, the maps of the
    /// padded size.
    ///
    /// # Errors
    /// As [`UNet3Plus::forward`].
    pub fn encode(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        self.encoder_maps(&pad_to_multiple(x, self.config.size_multiple())?, Mode::Evaluation)
    }

    fn encoder_maps(&self, x: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
        self.check_channels(x)?;
        let mut scales: Vec<Tensor> = Vec::with_capacity(self.encoder.len());
        for stage in &self.encoder {
            let map = stage.forward(self.execution, scales.last().unwrap_or(x), scales.is_empty(), mode)?;
            scales.push(map);
        }
        Ok(scales)
    }

    /// What the heads read, finest first: D1..D4 and E5.
    fn features(&self, x: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
        let mut scales = self.encoder_maps(x, mode)?;
        // from the coarsest node on, each decoder output takes the place of the encoder's of its scale
        for (i, node) in self.decoder.iter().enumerate().rev() {
            scales[i] = node.forward(&scales.iter().collect::<Vec<_>>(), mode)?;
        }
        Ok(scales)
    }
}

/// Compares the tensors at hand with those that the configuration needs.
pub(crate) fn check_weights<'a>(
    config: &UNet3PlusConfig,
    shape_of: impl Fn(&str) -> Option<Vec<usize>>,
    names: impl Iterator<Item = &'a String>,
) -> Result<()> {
    let expected = tensor_shapes(config);
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for (name, shape) in &expected {
        match shape_of(name) {
            None => missing.push(name.clone()),
            Some(got) if got != *shape => misshapen.push(format!("{name} is {got:?}, not {shape:?}")),
            Some(_) => {}
        }
    }
    let mut left_over: Vec<_> = names.filter(|name| !expected.contains_key(*name)).cloned().collect();
    left_over.sort();
    if missing.is_empty() && left_over.is_empty() && misshapen.is_empty() {
        return Ok(());
    }
    Err(Error::Weights { missing, left_over, misshapen })
}
