//! Convolution 3x3, batch normalisation, ReLU.

use candle_core::Result;
use candle_nn::VarBuilder;

use super::{join, module, with_backend, with_batch_norm};
use crate::graph::{Conv, Graph, GraphModule, NodeId};

/// Adds `n` times to the graph: convolution 3x3 (stride 1, zero padding 1, with bias), batch normalisation, ReLU, to
/// `outputs` channels.
///
/// Names: `{prefix}.conv1`, `{prefix}.bn1`, `{prefix}.conv2`, ...; without a number where n = 1.
pub fn conv_block(graph: &mut Graph, prefix: &str, x: NodeId, outputs: usize, n: usize) -> NodeId {
    (1..=n).fold(x, |x, i| {
        let number = if n == 1 { String::new() } else { i.to_string() };
        let [conv, bn] = ["conv", "bn"].map(|name| join(prefix, &format!("{name}{number}")));
        graph.conv(&conv, x, Conv::new(graph[x].channels, outputs, 3).batch_norm(bn).relu())
    })
}

/// `n` times: convolution 3x3 (stride 1, zero padding 1, with bias), batch normalisation, ReLU. From
/// `[batch, in, height, width]` to `[batch, out, height, width]`.
///
/// Parameters: `conv1.{weight,bias}`, `bn1.{weight,bias,running_mean,running_var}`, `conv2...`; without a number
/// where n = 1.
///
/// ```
/// use candle_core::{DType, Device, ModuleT, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use unet3p_core::ConvBlock;
///
/// # fn main() -> candle_core::Result<()> {
/// let variables = VarMap::new();
/// let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
/// let block = ConvBlock::new(3, 8, 2, vb)?;
/// let x = Tensor::zeros((1, 3, 16, 16), DType::F32, &Device::Cpu)?;
/// assert_eq!(block.forward_t(&x, false)?.dims(), &[1, 8, 16, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ConvBlock {
    module: GraphModule,
    output: NodeId,
}

impl ConvBlock {
    /// A block of `n` layers, the first from `inputs` to `outputs` channels, the rest from `outputs` to
    /// `outputs`.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(inputs: usize, outputs: usize, n: usize, parameters: VarBuilder<'_>) -> Result<Self> {
        let mut graph = Graph::default();
        let x = graph.input("x", inputs, 1);
        let output = conv_block(&mut graph, "", x, outputs, n);
        Ok(Self { module: GraphModule::new(graph, parameters)?, output })
    }
}

module!(ConvBlock);
with_backend!(ConvBlock);
with_batch_norm!(ConvBlock);
