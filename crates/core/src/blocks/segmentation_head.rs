//! From features to class logits.

use candle_core::Result;
use candle_nn::VarBuilder;

use super::{module, with_backend};
use crate::graph::{Conv, Graph, GraphModule, NodeId};

/// Adds a segmentation head for `classes` classes to the graph, up to the resolution of the network's input: the
/// convolution has the name `name`, the upsampling `{name}.upsample`.
pub fn segmentation_head(graph: &mut Graph, name: &str, x: NodeId, classes: usize) -> NodeId {
    let (channels, scale) = (graph[x].channels, graph[x].reduction);
    let logits = graph.conv(name, x, Conv::new(channels, classes, 3));
    if scale == 1 { logits } else { graph.upsample(&format!("{name}.upsample"), logits, scale) }
}

/// Segmentation head: a convolution 3x3 to one channel a class, whose logits are upsampled bilinearly to full
/// size (Huang et al. 2020, section 2.2). From `[batch, channels, height, width]` to
/// `[batch, classes, height * scale, width * scale]`.
///
/// Parameters: `weight`, `bias`.
#[derive(Debug, Clone)]
pub struct SegmentationHead {
    module: GraphModule,
    output: NodeId,
}

impl SegmentationHead {
    /// A head on `channels` channels, for features `scale` times smaller than the image.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(channels: usize, classes: usize, scale: usize, parameters: VarBuilder<'_>) -> Result<Self> {
        let mut graph = Graph::default();
        let x = graph.input("x", channels, scale);
        let output = segmentation_head(&mut graph, "", x, classes);
        Ok(Self { module: GraphModule::new(graph, parameters)?, output })
    }
}

module!(SegmentationHead);
with_backend!(SegmentationHead);
