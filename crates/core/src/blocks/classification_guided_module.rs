//! The classification-guided module (CGM).

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use super::{join, module, with_backend};
use crate::graph::{Conv, Graph, GraphModule, NodeId};

/// Probability with which dropout zeroes a feature in training.
const DROPOUT: f64 = 0.5;

/// Adds a classification-guided module to the graph: the convolution has the name `name`.
pub fn classification_guided_module(graph: &mut Graph, name: &str, x: NodeId) -> NodeId {
    let channels = graph[x].channels;
    let dropped = graph.dropout(&join(name, "dropout"), x, DROPOUT);
    let scores = graph.conv(name, dropped, Conv::new(channels, 2, 1));
    graph.global_max_pool(&join(name, "max"), scores)
}

/// Classification-guided module (Huang et al. 2020, section 2.3): tells from the deepest features whether the
/// organ is in the image at all. Dropout 0.5, convolution 1x1 to two channels, global max pooling: from
/// `[batch, channels, height, width]` to the logits `[batch, 2]` = [absent, present].
///
/// Parameters: `weight`, `bias`.
#[derive(Debug, Clone)]
pub struct ClassificationGuidedModule {
    module: GraphModule,
    output: NodeId,
}

impl ClassificationGuidedModule {
    /// A module on `channels` channels.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(channels: usize, parameters: VarBuilder<'_>) -> Result<Self> {
        let mut graph = Graph::default();
        let x = graph.input("x", channels, 1);
        let output = classification_guided_module(&mut graph, "", x);
        Ok(Self { module: GraphModule::new(graph, parameters)?, output })
    }

    /// With dropout drawn from a generator with this seed; default 0.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { module: self.module.with_seed(seed), ..self }
    }

    /// The gate `[batch, 1, 1, 1]` from logits `[batch, 2]`: 1 where the organ is the more probable, else 0.
    ///
    /// # Errors
    /// Where `logits` has another shape.
    pub fn gate(logits: &Tensor) -> Result<Tensor> {
        let present = logits.narrow(1, 1, 1)?.gt(&logits.narrow(1, 0, 1)?)?;
        let dtype = if logits.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        present.to_dtype(dtype)?.reshape(((), 1, 1, 1))
    }
}

module!(ClassificationGuidedModule);
with_backend!(ClassificationGuidedModule);
