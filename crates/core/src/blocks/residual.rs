//! The blocks and the stem of residual networks (He et al. 2016, arXiv:1512.03385).

use candle_core::Result;
use candle_nn::VarBuilder;

use super::{join, module, with_backend, with_batch_norm};
use crate::graph::{Conv, Graph, GraphModule, NodeId};

/// Adds the stem of a residual network to the graph: [`ResidualStem`].
pub fn residual_stem(graph: &mut Graph, prefix: &str, x: NodeId, outputs: usize) -> NodeId {
    let [conv, bn] = ["conv", "bn"].map(|name| join(prefix, name));
    let stem = Conv::new(graph[x].channels, outputs, 7).stride(2).without_bias();
    graph.conv(&conv, x, stem.batch_norm(bn).relu())
}

/// Adds a block of a residual network to the graph: [`ResidualBlock`]. `shape.inputs` are the channels of `x`.
pub fn residual_block(graph: &mut Graph, prefix: &str, x: NodeId, shape: ResidualShape) -> NodeId {
    let layer = |conv: &str, bn: &str, [inputs, outputs, kernel, stride]: [usize; 4]| {
        let layer = Conv::new(inputs, outputs, kernel).stride(stride).without_bias();
        (join(prefix, conv), layer.batch_norm(join(prefix, bn)))
    };
    let convolutions = shape.convolutions();
    let last = convolutions.len();
    let mut y = x;
    for (i, convolution) in (1..).zip(convolutions) {
        let (name, conv) = layer(&format!("conv{i}"), &format!("bn{i}"), convolution);
        // what is summed up has no ReLU of its own
        y = graph.conv(&name, y, if i < last { conv.relu() } else { conv });
    }
    let shortcut = match shape.downsample() {
        Some(convolution) => {
            let (name, conv) = layer("downsample.conv", "downsample.bn", convolution);
            graph.conv(&name, x, conv)
        }
        None => x,
    };
    graph.add_relu(&join(prefix, "sum"), y, shortcut)
}

/// The stem of a residual network: convolution 7x7 with stride 2, batch normalisation, ReLU; from
/// `[batch, in, height, width]` to `[batch, out, height / 2, width / 2]`. The max pooling behind it is the caller's.
///
/// Parameters: `conv.weight`, `bn.{weight,bias,running_mean,running_var}`.
#[derive(Debug, Clone)]
pub struct ResidualStem {
    module: GraphModule,
    output: NodeId,
}

impl ResidualStem {
    /// A stem from `inputs` to `outputs` channels.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(inputs: usize, outputs: usize, parameters: VarBuilder<'_>) -> Result<Self> {
        let mut graph = Graph::default();
        let x = graph.input("x", inputs, 1);
        let output = residual_stem(&mut graph, "", x, outputs);
        Ok(Self { module: GraphModule::new(graph, parameters)?, output })
    }
}

module!(ResidualStem);
with_backend!(ResidualStem);
with_batch_norm!(ResidualStem);

/// The form of a [`ResidualBlock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidualShape {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Rows and columns of the input for one of the output: 1 or 2.
    pub stride: usize,
    /// Two convolutions 3x3, or, with a bottleneck, 1x1, 3x3 and 1x1, the first two with a quarter of the channels.
    pub bottleneck: bool,
}

impl ResidualShape {
    /// Input channels, output channels, kernel and stride of the convolutions. The stride is the first 3x3's, as in
    /// torchvision and timm.
    fn convolutions(&self) -> Vec<[usize; 4]> {
        let Self { inputs, outputs, stride, bottleneck } = *self;
        let width = outputs / 4;
        match bottleneck {
            false => vec![[inputs, outputs, 3, stride], [outputs, outputs, 3, 1]],
            true => vec![[inputs, width, 1, 1], [width, width, 3, stride], [width, outputs, 1, 1]],
        }
    }

    /// The convolution of the shortcut, as [`ResidualShape::convolutions`]: where it cannot be the input itself.
    fn downsample(&self) -> Option<[usize; 4]> {
        let Self { inputs, outputs, stride, .. } = *self;
        (stride != 1 || inputs != outputs).then_some([inputs, outputs, 1, stride])
    }
}

/// A block of a residual network, `relu(f(x) + shortcut(x))`: f is two or three convolutions with batch normalisation, all
/// but the last with ReLU; the shortcut is x itself, or a 1x1 convolution with batch normalisation where the shapes
/// differ. From `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
///
/// Parameters: `conv1.weight`, `bn1.{weight,bias,running_mean,running_var}`, `conv2...`, and where needed
/// `downsample.conv.weight`, `downsample.bn.*`.
#[derive(Debug, Clone)]
pub struct ResidualBlock {
    module: GraphModule,
    output: NodeId,
}

impl ResidualBlock {
    /// A block of the given form.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(shape: ResidualShape, parameters: VarBuilder<'_>) -> Result<Self> {
        let mut graph = Graph::default();
        let x = graph.input("x", shape.inputs, 1);
        let output = residual_block(&mut graph, "", x, shape);
        Ok(Self { module: GraphModule::new(graph, parameters)?, output })
    }
}

module!(ResidualBlock);
with_backend!(ResidualBlock);
with_batch_norm!(ResidualBlock);
