//! From a network's tensors to packed layers, one after the other, each freed when packed.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use unet3p_core::ConvBlock;
use unet3p_kernels::{AlignedBuffer, HeadConv2d, Isa, UpsampledConv2d};

use super::layer::{Convolution, Folded};
use super::residual::{Block, Layer, ResidualStage};
use crate::config::UNet3PlusConfig;
use crate::cost::source_channels;
use crate::encoder::Stage;
use crate::error::Result;

/// A branch of a decoder node.
pub(crate) enum Branch {
    /// From a source at the node's resolution, or pooled to it.
    Same(Convolution),
    /// From a source upsampled to it.
    Upsampled(UpsampledConv2d),
}

/// A decoder node: five branches and the convolution that fuses them.
pub(crate) struct Node {
    pub(crate) branches: Vec<Branch>,
    pub(crate) fuse: Convolution,
}

/// The classification-guided module: 1x1 convolution to [absent, present].
pub(crate) struct Guide {
    /// `[2, channels]`.
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// The encoder's stages, the finest first.
pub(crate) enum EncoderLayers {
    Convolutions(Vec<Vec<Convolution>>),
    Residual(Vec<ResidualStage>),
}

/// Every layer, packed.
pub(crate) struct Layers {
    pub(crate) encoder: EncoderLayers,
    /// The finest node first.
    pub(crate) nodes: Vec<Node>,
    pub(crate) heads: Vec<HeadConv2d>,
    pub(crate) guide: Option<Guide>,
}

/// The tensors that are not packed yet.
struct Tensors<'a> {
    config: &'a UNet3PlusConfig,
    left: HashMap<String, Tensor>,
}

impl Tensors<'_> {
    /// Takes a tensor out; what lacks was found when the network was built.
    fn take(&mut self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.left.remove(name).ok_or_else(|| crate::error::Error::Weights {
            missing: vec![name.to_owned()],
            left_over: Vec::new(),
            misshapen: Vec::new(),
        })?;
        Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    fn plain(&mut self, name: &str) -> Result<Folded> {
        Ok(Folded {
            weight: self.take(&format!("{name}.weight"))?,
            bias: self.take(&format!("{name}.bias"))?,
        })
    }

    /// A convolution with the batch normalisation behind it folded in, and without a bias of its own perhaps:
    /// `gamma (w x + b - mean) / sqrt(variance + eps) + beta = (s w) x + (s (b - mean) + beta)`.
    fn folded(&mut self, conv: &str, bn: &str) -> Result<Folded> {
        let mut weight = self.take(&format!("{conv}.weight"))?;
        let bias = format!("{conv}.bias");
        let bias = self.left.contains_key(&bias).then(|| self.take(&bias)).transpose()?;
        let [gamma, beta, mean, variance] =
            ["weight", "bias", "running_mean", "running_var"].map(|name| self.take(&format!("{bn}.{name}")));
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let mut bias = bias.unwrap_or_else(|| vec![0.0; gamma.len()]);
        let depth = weight.len() / bias.len();
        for (o, (bias, row)) in bias.iter_mut().zip(weight.chunks_exact_mut(depth)).enumerate() {
            let scale = f64::from(gamma[o]) / (f64::from(variance[o]) + self.config.batch_norm_eps).sqrt();
            *bias = (scale * (f64::from(*bias) - f64::from(mean[o])) + f64::from(beta[o])) as f32;
            row.iter_mut().for_each(|w| *w = (scale * f64::from(*w)) as f32);
        }
        Ok(Folded { weight, bias })
    }
}

/// Packs every layer for maps of `size` at full resolution.
pub(crate) fn compile(
    config: &UNet3PlusConfig,
    tensors: HashMap<String, Tensor>,
    isa: Isa,
    size: [usize; 2],
) -> Result<Layers> {
    let mut tensors = Tensors { config, left: tensors };
    let levels = config.filters.len();
    let (f1, f5) = (config.filters[0], config.filters[levels - 1]);
    let at = |level: usize| size.map(|side| ((side / config.encoder.stride()) >> level).max(1));
    let encoder = compile_encoder(&mut tensors, isa, at)?;

    let mut nodes = Vec::new();
    for node in 1..levels {
        let part = format!("decoder.{node}");
        let mut branches = Vec::new();
        for (source, inputs) in (1..).zip(source_channels(config, node)) {
            let name = format!("{part}.branch{source}");
            let folded = tensors.folded(&format!("{name}.conv"), &format!("{name}.bn"))?;
            // a decoder output is a concatenation's fusion: its channels lie without gaps
            branches.push(if source <= node {
                Branch::Same(Convolution::new(isa, &[inputs], &folded, true, at(node - 1)))
            } else {
                let Folded { weight, bias } = &folded;
                Branch::Upsampled(UpsampledConv2d::new(
                    isa,
                    1 << (source - node),
                    &[inputs],
                    weight,
                    bias,
                    true,
                ))
            });
        }
        let folded = tensors.folded(&format!("{part}.fuse.conv"), &format!("{part}.fuse.bn"))?;
        let fuse = Convolution::new(isa, &vec![f1; levels], &folded, true, at(node - 1));
        nodes.push(Node { branches, fuse });
    }

    let mut heads = Vec::new();
    for level in 1..=if config.variant.has_deep_supervision() { levels } else { 1 } {
        let Folded { weight, bias } = tensors.plain(&format!("head.{level}"))?;
        let inputs = if level == levels { f5 } else { f1 * levels };
        heads.push(HeadConv2d::new(isa, &[inputs], &weight, &bias));
    }
    let guide = config.variant.has_cgm().then(|| tensors.plain("cgm")).transpose()?;
    let guide = guide.map(|Folded { weight, bias }| Guide { weight, bias });
    AlignedBuffer::return_freed_memory();
    Ok(Layers { encoder, nodes, heads, guide })
}

/// Packs the encoder, for maps of `at(level)`.
fn compile_encoder(
    tensors: &mut Tensors<'_>,
    isa: Isa,
    at: impl Fn(usize) -> [usize; 2],
) -> Result<EncoderLayers> {
    let stages = tensors.config.encoder.stages(tensors.config.in_channels, tensors.config.filters);
    let (mut convolutions, mut residual) = (Vec::new(), Vec::new());
    // the largest weights first: they are packed while least else is
    for (level, stage) in stages.into_iter().enumerate().rev() {
        let part = format!("encoder.{}", level + 1);
        let mut folded =
            |[conv, bn]: [String; 2]| tensors.folded(&format!("{part}.{conv}"), &format!("{part}.{bn}"));
        match stage {
            Stage::Convolutions { inputs, outputs, count } => {
                let conv = |(i, names)| {
                    let inputs = if i == 0 { inputs } else { outputs };
                    Ok(Convolution::new(isa, &[inputs], &folded(names)?, true, at(level)))
                };
                let layers = ConvBlock::names(count).enumerate().map(conv);
                convolutions.push(layers.collect::<Result<Vec<_>>>()?);
            }
            Stage::Stem { inputs, outputs } => {
                let folded = folded(["conv", "bn"].map(String::from))?;
                let layer = Layer::new(isa, [inputs, outputs, 7, 2], &folded, true, at(level));
                residual.push(ResidualStage::Stem(layer));
            }
            Stage::Residual { blocks, pooled } => {
                let mut packed = Vec::new();
                for (k, shape) in (1..).zip(blocks) {
                    let last = shape.convolutions().len() - 1;
                    let mut layers = Vec::new();
                    for (i, (names, convolution)) in shape.named_convolutions().into_iter().enumerate() {
                        let folded = folded(names.map(|name| format!("block{k}.{name}")))?;
                        layers.push(Layer::new(isa, convolution, &folded, i < last, at(level)));
                    }
                    let downsample = if layers.len() > last + 1 { layers.pop() } else { None };
                    packed.push(Block { layers, downsample });
                }
                residual.push(ResidualStage::Blocks { blocks: packed, pooled });
            }
        }
    }
    convolutions.reverse();
    residual.reverse();
    Ok(if residual.is_empty() {
        EncoderLayers::Convolutions(convolutions)
    } else {
        EncoderLayers::Residual(residual)
    })
}
