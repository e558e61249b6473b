//! A graph with its parameters, on Candle tensors.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor, Var, bail};
use candle_nn::VarBuilder;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::layer::{BatchNormOptions, ConvLayer};
use super::{Graph, NodeId, Op, fuse_upsampling};
use crate::backend::Backend;
use crate::ops::{dropout, global_max_pool, max_pool2d, relu, upsample_bilinear2d};
use crate::training::MapMemory;

/// A [`Graph`] with parameters. A clone shares them with the original, and the generator of dropout.
#[derive(Clone)]
pub struct GraphModule {
    pub(super) graph: Graph,
    /// By node.
    pub(super) layers: Vec<Option<ConvLayer>>,
    pub(super) batch_norm: BatchNormOptions,
    backend: Option<Backend>,
    /// What dropout draws from.
    generator: Arc<Mutex<ChaCha8Rng>>,
    /// Of training passes.
    pub(super) memory: MapMemory,
    /// Of all names, as the parameters were asked for.
    prefix: String,
}

impl std::fmt::Debug for GraphModule {
    /// The graph stands for the module: the weights would fill books.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphModule").field("graph", &self.graph).field("backend", &self.backend).finish()
    }
}

impl GraphModule {
    /// The graph's convolutions with the parameters that they are named after.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(mut graph: Graph, parameters: VarBuilder<'_>) -> Result<Self> {
        fuse_upsampling(&mut graph);
        let layer = |(_, node): (_, &super::Node)| match &node.op {
            Op::Conv(conv) => ConvLayer::new(&node.name, conv, &parameters).map(Some),
            _ => Ok(None),
        };
        let layers = graph.nodes().map(layer).collect::<Result<_>>()?;
        Ok(Self {
            graph,
            layers,
            batch_norm: BatchNormOptions::default(),
            backend: None,
            generator: Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(0))),
            memory: MapMemory::default(),
            prefix: parameters.prefix(),
        })
    }

    /// With these constants of batch normalisation.
    pub fn with_batch_norm(self, options: BatchNormOptions) -> Self {
        Self { batch_norm: options, ..self }
    }

    /// With this implementation of the operations, in place of [`Backend::for_device`] of the input.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend: Some(backend), ..self }
    }

    /// With dropout drawn from a generator of its own, with this seed; default 0.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { generator: Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed))), ..self }
    }

    /// Lets dropout go on from here: a training that is resumed draws what it would have drawn.
    pub fn set_generator(&self, generator: ChaCha8Rng) {
        *self.lock_generator() = generator;
    }

    fn lock_generator(&self) -> MutexGuard<'_, ChaCha8Rng> {
        // a panic elsewhere leaves a generator that can go on
        self.generator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The implementation of the operations for an input.
    pub fn backend(&self, x: &Tensor) -> Backend {
        self.backend.unwrap_or_else(|| Backend::for_device(x.device()))
    }

    /// The graph, behind [`fuse_upsampling`].
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Every variable by its name, in the order of computation.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let all = self.graph.nodes().zip(&self.layers);
        let all = all.filter_map(|((_, node), layer)| Some(layer.as_ref()?.variables(&node.name)));
        let prefix = if self.prefix.is_empty() { String::new() } else { format!("{}.", self.prefix) };
        all.flatten().map(|(name, variable)| (format!("{prefix}{name}"), variable)).collect()
    }

    /// The values of `outputs`, from those of the graph's inputs in the order in which they were added.
    ///
    /// In training (`train`) batch normalisation takes the batch's statistics and moves the running ones, and dropout
    /// drops. Else it takes the running statistics, and no graph is recorded for the parameters, so that nothing is kept
    /// for a backward pass.
    ///
    /// # Errors
    /// Where the inputs are more or less than the graph has, or their channels or sizes do not fit.
    pub fn forward_t(&self, inputs: &[&Tensor], outputs: &[NodeId], train: bool) -> Result<Vec<Tensor>> {
        let mut values = vec![None; self.graph.len()];
        let ids: Vec<NodeId> = self.graph.inputs().collect();
        if ids.len() != inputs.len() {
            bail!("{} inputs where the network takes {}", inputs.len(), ids.len());
        }
        for (id, &x) in ids.into_iter().zip(inputs) {
            let node = &self.graph[id];
            if x.dims4()?.1 != node.channels {
                bail!("{}: a tensor {:?} where {} channels are taken", node.name, x.dims(), node.channels);
            }
            values[id.0] = Some(x.clone());
        }
        self.compute(values, outputs, train)
    }

    /// The values of `outputs` where some are known. Each is dropped after the last node that reads it.
    pub(super) fn compute(
        &self,
        mut values: Vec<Option<Tensor>>,
        outputs: &[NodeId],
        train: bool,
    ) -> Result<Vec<Tensor>> {
        let mut uses = vec![0usize; self.graph.len()];
        outputs.iter().for_each(|output| uses[output.0] += 1);
        for (id, node) in self.graph.nodes().rev() {
            if uses[id.0] > 0 && values[id.0].is_none() {
                node.inputs.iter().for_each(|input| uses[input.0] += 1);
            }
        }
        for (id, node) in self.graph.nodes() {
            if uses[id.0] == 0 || values[id.0].is_some() {
                continue;
            }
            let inputs: Option<Vec<&Tensor>> =
                node.inputs.iter().map(|input| values[input.0].as_ref()).collect();
            let Some(inputs) = inputs.filter(|inputs| !inputs.is_empty()) else {
                bail!("{}: no value of what it reads", node.name);
            };
            let value = self.apply(id, &inputs, train)?;
            values[id.0] = Some(value);
            for input in &node.inputs {
                uses[input.0] -= 1;
                if uses[input.0] == 0 {
                    values[input.0] = None;
                }
            }
        }
        let value = |output: &NodeId| match &values[output.0] {
            Some(value) => Ok(value.clone()),
            None => bail!("{}: no value", self.graph[*output].name),
        };
        outputs.iter().map(value).collect()
    }

    fn apply(&self, id: NodeId, inputs: &[&Tensor], train: bool) -> Result<Tensor> {
        let x = inputs[0];
        let backend = self.backend(x);
        match (&self.graph[id].op, &self.layers[id.0]) {
            (Op::Conv(_), Some(layer)) => layer.forward(backend, x, self.batch_norm, train),
            (Op::MaxPool(window), _) => max_pool2d(backend, x, *window),
            (Op::Upsample(1), _) => Ok(x.clone()),
            (Op::Upsample(scale), _) => upsample_bilinear2d(backend, x, *scale),
            (Op::Concat, _) => Tensor::cat(inputs, 1),
            (Op::AddRelu, _) => relu(&(x + inputs[1])?),
            (Op::Dropout(p), _) if train => dropout(x, *p, &mut self.lock_generator()),
            (Op::Dropout(_), _) => Ok(x.clone()),
            (Op::GlobalMaxPool, _) => global_max_pool(x),
            (Op::Input | Op::Conv(_), _) => bail!("{}: no value", self.graph[id].name),
        }
    }
}
