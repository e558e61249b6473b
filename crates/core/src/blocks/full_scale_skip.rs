//! The full-scale skip connection: one node of the decoder, and the decoder made of such nodes.

use std::cmp::Ordering;

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;

use super::{conv_block, join, with_backend, with_batch_norm};
use crate::graph::{Graph, GraphModule, NodeId};

/// Adds the decoder of UNet 3+ to the graph (Huang et al. 2020, figure 1) and gives the maps that the heads read, the
/// finest first: D1, D2, ..., and the encoder's last map.
///
/// `encoder` are the encoder's maps, the finest first. The coarsest node comes first; each reads at every scale the
/// decoder's map where there is one already, and the encoder's elsewhere.
///
/// Names: `decoder.{node}.branch{scale}.{conv,bn}`, `decoder.{node}.fuse.{conv,bn}`.
pub fn decoder(graph: &mut Graph, encoder: &[NodeId], branch: usize) -> Vec<NodeId> {
    let mut maps = encoder.to_vec();
    // a decoder's map takes the place of the encoder's, which no finer node reads
    for scale in (1..encoder.len()).rev() {
        maps[scale - 1] = full_scale_skip(graph, &format!("decoder.{scale}"), &maps, scale, branch);
    }
    maps
}

/// Adds a full-scale skip connection to the graph: [`FullScaleSkip`].
pub fn full_scale_skip(
    graph: &mut Graph,
    prefix: &str,
    sources: &[NodeId],
    scale: usize,
    branch: usize,
) -> NodeId {
    let own = graph[sources[scale - 1]].reduction;
    let branches: Vec<NodeId> = (1..)
        .zip(sources)
        .map(|(i, &source)| {
            let of_source = graph[source].reduction;
            let prefix = join(prefix, &format!("branch{i}"));
            let resampled = match of_source.cmp(&own) {
                Ordering::Less => graph.max_pool(&format!("{prefix}.pool"), source, own / of_source),
                Ordering::Equal => source,
                Ordering::Greater => graph.upsample(&format!("{prefix}.upsample"), source, of_source / own),
            };
            conv_block(graph, &prefix, resampled, branch, 1)
        })
        .collect();
    let all = graph.concat(&join(prefix, "concat"), &branches);
    conv_block(graph, &join(prefix, "fuse"), all, graph[all].channels, 1)
}

/// Full-scale skip connection (Huang et al. 2020, section 2.1, equation 1) of the decoder node at `scale` in a network
/// of N scales, all counted from 1 = full resolution.
///
/// The sources, in order 1..N, are what each scale offers: the encoder's output for scales up to the node's, the
/// decoder's (at scale N the encoder's) for those below. Each is brought to the node's resolution, by max
/// pooling with window `2^(scale - s)` from finer scales and bilinear upsampling by `2^(s - scale)` from coarser
/// ones, and passed through a convolution block of its own with `branch` channels. The concatenation, `N branch`
/// channels, passes a last block of as many channels.
///
/// Parameters: `branch{1..N}.{conv,bn}.*`, `fuse.{conv,bn}.*`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarBuilder;
/// use unet3p_core::FullScaleSkip;
///
/// # fn main() -> candle_core::Result<()> {
/// // the second node of three scales, whose maps have 4, 8 and 16 channels
/// let vb = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let skip = FullScaleSkip::new(2, &[4, 8, 16], 4, vb)?;
/// let map = |channels, side| Tensor::zeros((1, channels, side, side), DType::F32, &Device::Cpu);
/// let y = skip.forward_t(&[&map(4, 32)?, &map(8, 16)?, &map(16, 8)?], false)?;
/// assert_eq!(y.dims(), [1, 12, 16, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FullScaleSkip {
    module: GraphModule,
    output: NodeId,
}

impl FullScaleSkip {
    /// The node at `scale`, for sources with `channels[s - 1]` channels at scale s.
    ///
    /// # Errors
    /// Where `scale` is not one of the scales, or `parameters` lacks a tensor or has one of another shape.
    pub fn new(scale: usize, channels: &[usize], branch: usize, parameters: VarBuilder<'_>) -> Result<Self> {
        if scale == 0 || scale > channels.len() || channels.len() > 32 {
            bail!("full-scale skip: node {scale} of {} scales", channels.len());
        }
        let mut graph = Graph::default();
        let sources: Vec<NodeId> = (0..)
            .zip(channels)
            .map(|(i, &channels)| graph.input(&format!("source{}", i + 1), channels, 1 << i))
            .collect();
        let output = full_scale_skip(&mut graph, "", &sources, scale, branch);
        Ok(Self { module: GraphModule::new(graph, parameters)?, output })
    }

    /// The node's output, `[batch, N branch, height, width]` at the resolution of source `scale`; in training or not.
    ///
    /// # Errors
    /// Where the number of sources, their channels or their sizes do not fit.
    pub fn forward_t(&self, sources: &[&Tensor], train: bool) -> Result<Tensor> {
        Ok(self.module.forward_t(sources, &[self.output], train)?.remove(0))
    }
}

with_backend!(FullScaleSkip);
with_batch_norm!(FullScaleSkip);
