//! The full-scale skip connection: one node of the decoder.

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;

use super::conv_block::{BatchNormOptions, ConvBlock};
use crate::execution::{Execution, Mode};
use crate::ops::max_pool2d;
use crate::training::{Map, Tape};

/// Full-scale skip connection (Huang et al. 2020, section 2.1, equation 1) of decoder node `node` in a network
/// of N scales, all counted from 1 = full resolution.
///
/// The sources, in order 1..N, are what each scale offers: the encoder's output for scales up to `node`, the
/// decoder's (at scale N the encoder's) for those below. Each is brought to the node's resolution, by max
/// pooling with window `2^(node - s)` from finer scales and bilinear upsampling by `2^(s - node)` from coarser
/// ones, and passed through a convolution block of its own with `branch` channels. The concatenation, `N branch`
/// channels, passes a last block of as many channels.
///
/// Parameters: `branch{1..N}.{conv,bn}.*`, `fuse.{conv,bn}.*`.
#[derive(Debug, Clone)]
pub struct FullScaleSkip {
    node: usize,
    branches: Vec<ConvBlock>,
    fuse: ConvBlock,
    execution: Execution,
}

impl FullScaleSkip {
    /// The node's layers, for sources with `channels[s - 1]` channels at scale s.
    ///
    /// # Errors
    /// Where `node` is not one of the scales, or `parameters` lacks a tensor or has one of another shape.
    pub fn new(
        node: usize,
        channels: &[usize],
        branch: usize,
        options: BatchNormOptions,
        execution: Execution,
        parameters: VarBuilder<'_>,
    ) -> Result<Self> {
        if node == 0 || node > channels.len() {
            bail!("full-scale skip: node {node} of {} scales", channels.len());
        }
        let block = |(i, &channels): (usize, &usize)| {
            let parameters = parameters.pp(format!("branch{}", i + 1));
            ConvBlock::new(channels, branch, 1, options, execution, parameters)
        };
        let branches = channels.iter().enumerate().map(block).collect::<Result<Vec<_>>>()?;
        let width = branch * channels.len();
        let fuse = ConvBlock::new(width, width, 1, options, execution, parameters.pp("fuse"))?;
        Ok(Self { node, branches, fuse, execution })
    }

    /// The node's output, `[batch, N branch, height, width]` at the resolution of source `node`.
    ///
    /// # Errors
    /// Where the number of sources, their channels or their sizes do not fit.
    pub fn forward(&self, sources: &[&Tensor], mode: Mode) -> Result<Tensor> {
        if sources.len() != self.branches.len() {
            bail!("full-scale skip: {} sources for {} scales", sources.len(), self.branches.len());
        }
        let branch = |(i, (&source, block)): (usize, (&&Tensor, &ConvBlock))| match (i + 1, self.node) {
            (scale, node) if scale < node => {
                block.forward(&max_pool2d(self.execution, source, 1 << (node - scale))?, mode)
            }
            (scale, node) if scale == node => block.forward(source, mode),
            (scale, node) => block.forward_upsampled(source, 1 << (scale - node), mode),
        };
        let branches: Vec<Tensor> =
            sources.iter().zip(&self.branches).enumerate().map(branch).collect::<Result<_>>()?;
        self.fuse.forward(&Tensor::cat(&branches, 1)?, mode)
    }

    /// The node's output in a training pass on blocked maps. The sources of finer scales come pooled to the node's
    /// resolution already: several nodes read them.
    ///
    /// # Errors
    /// As [`FullScaleSkip::forward`].
    pub fn forward_on_tape(&self, tape: &mut Tape, sources: &[&Map]) -> Result<Map> {
        if sources.len() != self.branches.len() {
            bail!("full-scale skip: {} sources for {} scales", sources.len(), self.branches.len());
        }
        let parts: Vec<usize> = self.branches.iter().map(ConvBlock::outputs).collect();
        let (whole, slots) = tape.concatenation(&parts, tape.size(sources[self.node - 1]));
        for (i, ((source, branch), slot)) in sources.iter().zip(&self.branches).zip(slots).enumerate() {
            let scale = 1 << (i + 1).saturating_sub(self.node);
            branch.forward_on_tape(tape, source, scale, Some(slot))?;
        }
        self.fuse.forward_on_tape(tape, &whole, 1, None)
    }
}
