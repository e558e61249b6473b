//! A network as data: operations and what they read.
//!
//! A [`Graph`] is built once from a configuration. Everything else is derived from it: [`GraphModule`] computes it on Candle
//! tensors and trains it, and other crates compile it for inference, count its costs or export it. The graph has names,
//! channels and reductions, and neither weights nor an image size.
//!
//! ```
//! use unet3p_core::graph::{Conv, Graph};
//!
//! let mut graph = Graph::default();
//! let image = graph.input("image", 3, 1);
//! let features = graph.conv("conv", image, Conv::new(3, 8, 3).batch_norm("bn").relu());
//! let half = graph.max_pool("pool", features, 2);
//! assert_eq!(graph[half].channels, 8);
//! assert_eq!(graph[half].reduction, 2);
//! ```

mod analysis;
mod fuse_upsampling;
mod layer;
mod module;
mod remove_dropout;
mod tape;

use std::ops::Index;

use unet3p_kernels::Window;

pub use fuse_upsampling::fuse_upsampling;
pub use layer::BatchNormOptions;
pub use module::GraphModule;
pub use remove_dropout::remove_dropout;

/// A node of a [`Graph`], by its number in the order of computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
    /// Its number: nodes count from 0, and inputs of a node have lower numbers than it.
    pub fn index(self) -> usize {
        self.0
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name. A convolution's tensors are `{name}.weight` and `{name}.bias`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<NodeId>,
    /// Channels of its output.
    pub channels: usize,
    /// Rows and columns of the network's input for one of the output.
    pub reduction: usize,
}

/// What a node computes, from `[batch, channels, height, width]` to the same.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// An input of the graph.
    Input,
    /// Convolution, with batch normalisation and ReLU or not.
    Conv(Conv),
    /// Max pooling.
    MaxPool(Window),
    /// Bilinear upsampling by a whole factor.
    Upsample(usize),
    /// Its inputs side by side, as channels.
    Concat,
    /// `relu(a + b)` of its two inputs.
    AddRelu,
    /// Dropout with this probability, in training.
    Dropout(f64),
    /// The maximum over height and width: `[batch, channels]`.
    GlobalMaxPool,
}

/// A convolution `[outputs, inputs, kernel, kernel]` with zero padding `kernel / 2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Rows and columns of the kernel, odd.
    pub kernel: usize,
    /// Rows and columns of the input for one of the output.
    pub stride: usize,
    /// The factor by which the input is upsampled first: 1, but behind [`fuse_upsampling`].
    pub upsample: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Batch normalisation behind it, by the name of its tensors `{name}.{weight,bias,running_mean,running_var}`.
    pub batch_norm: Option<String>,
    /// Whether ReLU comes last.
    pub relu: bool,
}

impl Conv {
    /// With stride 1 and bias, without batch normalisation and ReLU.
    pub fn new(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { inputs, outputs, kernel, stride: 1, upsample: 1, bias: true, batch_norm: None, relu: false }
    }

    /// With this stride.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Without bias.
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// With batch normalisation, whose tensors have this name.
    pub fn batch_norm(self, name: impl Into<String>) -> Self {
        Self { batch_norm: Some(name.into()), ..self }
    }

    /// With ReLU.
    pub fn relu(self) -> Self {
        Self { relu: true, ..self }
    }
}

/// Operations in the order of computation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
}

impl Index<NodeId> for Graph {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

impl Graph {
    /// The nodes in the order of computation.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeId(i), node))
    }

    /// The inputs, in the order in which they were added.
    pub fn inputs(&self) -> impl Iterator<Item = NodeId> {
        self.nodes().filter(|(_, node)| node.op == Op::Input).map(|(id, _)| id)
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The convolutions in the order of computation, each with its node.
    pub fn convolutions(&self) -> impl Iterator<Item = (&Node, &Conv)> {
        self.nodes.iter().filter_map(|node| match &node.op {
            Op::Conv(conv) => Some((node, conv)),
            _ => None,
        })
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[NodeId], channels: usize, reduction: usize) -> NodeId {
        let node = Node { name: name.to_owned(), op, inputs: inputs.to_vec(), channels, reduction };
        // pooling of one map for several readers is computed once
        let known = |known: &Node| known.inputs == node.inputs && known.op == node.op;
        if let (Op::MaxPool(_), Some(found)) = (&node.op, self.nodes.iter().position(known)) {
            return NodeId(found);
        }
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// An input of `channels` channels; `reduction` rows and columns of the network's first input for one of it.
    pub fn input(&mut self, name: &str, channels: usize, reduction: usize) -> NodeId {
        self.push(name, Op::Input, &[], channels, reduction)
    }

    /// A convolution of `x`.
    pub fn conv(&mut self, name: &str, x: NodeId, conv: Conv) -> NodeId {
        let (channels, reduction) = (conv.outputs, self[x].reduction * conv.stride);
        self.push(name, Op::Conv(conv), &[x], channels, reduction)
    }

    /// Max pooling of `x`. The same pooling of the same map is one node, whatever its name.
    pub fn max_pool(&mut self, name: &str, x: NodeId, window: impl Into<Window>) -> NodeId {
        let window = window.into();
        let Node { channels, reduction, .. } = self[x];
        self.push(name, Op::MaxPool(window), &[x], channels, reduction * window.stride)
    }

    /// Bilinear upsampling of `x` by `scale`, which divides its reduction.
    pub fn upsample(&mut self, name: &str, x: NodeId, scale: usize) -> NodeId {
        let Node { channels, reduction, .. } = self[x];
        self.push(name, Op::Upsample(scale), &[x], channels, reduction / scale)
    }

    /// Maps of one reduction side by side.
    pub fn concat(&mut self, name: &str, inputs: &[NodeId]) -> NodeId {
        let channels = inputs.iter().map(|&x| self[x].channels).sum();
        let reduction = inputs.first().map_or(1, |&x| self[x].reduction);
        self.push(name, Op::Concat, inputs, channels, reduction)
    }

    /// `relu(a + b)`.
    pub fn add_relu(&mut self, name: &str, a: NodeId, b: NodeId) -> NodeId {
        let Node { channels, reduction, .. } = self[a];
        self.push(name, Op::AddRelu, &[a, b], channels, reduction)
    }

    /// Dropout, in training.
    pub fn dropout(&mut self, name: &str, x: NodeId, probability: f64) -> NodeId {
        let Node { channels, reduction, .. } = self[x];
        self.push(name, Op::Dropout(probability), &[x], channels, reduction)
    }

    /// The maximum of each channel, as a vector.
    pub fn global_max_pool(&mut self, name: &str, x: NodeId) -> NodeId {
        let Node { channels, reduction, .. } = self[x];
        self.push(name, Op::GlobalMaxPool, &[x], channels, reduction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_reductions_follow_the_operations() {
        let mut graph = Graph::default();
        let x = graph.input("x", 3, 1);
        let stem = graph.conv("stem", x, Conv::new(3, 8, 7).stride(2));
        let pooled = graph.max_pool("pool", stem, Window { side: 3, stride: 2, padding: 1 });
        let up = graph.upsample("up", pooled, 4);
        let both = graph.concat("both", &[up, x]);
        for (id, channels, reduction) in [(stem, 8, 2), (pooled, 8, 4), (up, 8, 1), (both, 11, 1)] {
            assert_eq!(
                (graph[id].channels, graph[id].reduction),
                (channels, reduction),
                "{}",
                graph[id].name
            );
        }
    }

    #[test]
    fn pooling_is_shared_and_nothing_else() {
        let mut graph = Graph::default();
        let x = graph.input("x", 3, 1);
        assert_eq!(graph.max_pool("one", x, 2), graph.max_pool("two", x, 2));
        assert_ne!(graph.max_pool("two", x, 2), graph.max_pool("two", x, 4));
        let conv = || Conv::new(3, 4, 3);
        assert_ne!(graph.conv("one", x, conv()), graph.conv("two", x, conv()));
    }
}
