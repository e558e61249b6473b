//! Training a graph on blocked maps.

use candle_core::{DType, Result, Tensor, bail};
use unet3p_kernels::Window;

use super::layer::ConvLayer;
use super::{Conv, Graph, GraphModule, Node, NodeId, Op};
use crate::backend::Backend;
use crate::training::{LayerParameters, Map, Tape};

/// Where a training pass computes a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Computed {
    /// On the tape, as a map.
    Map,
    /// On the tape, as planes: a convolution to few channels without batch normalisation.
    Planes,
    /// On Candle tensors behind the tape.
    Tensor,
}

impl GraphModule {
    /// [`GraphModule::forward_t`] in training on blocked maps, several times faster: the largest part of the graph that
    /// the tape has operations for is computed there, and what is behind it on Candle tensors. `backward` can be called
    /// once on a loss of the outputs.
    ///
    /// # Errors
    /// As [`GraphModule::forward_t`], and where `x` is not of f32 on the CPU.
    pub fn forward_on_tape(&self, x: &Tensor, outputs: &[NodeId]) -> Result<Vec<Tensor>> {
        let (tape, input) = Tape::new(x, &self.memory)?;
        let mut pass = TapePass {
            module: self,
            tape,
            size: [x.dim(2)?, x.dim(3)?],
            computed: computed(&self.graph, outputs),
            maps: vec![None; self.graph.len()],
            planes: Vec::new(),
        };
        if let Some(image) = self.graph.inputs().next() {
            pass.maps[image.0] = Some(input);
        }
        for (id, node) in self.graph.nodes() {
            pass.node(id, node)?;
        }
        let values = pass.finish(outputs)?;
        self.compute(values, outputs, true)
    }

    /// Whether [`GraphModule::forward_on_tape`] takes this input: f32 on the CPU kernels, with no gradient of its own.
    pub fn trains_on_tape(&self, x: &Tensor) -> bool {
        self.backend(x) == Backend::Kernels && x.device().is_cpu() && x.dtype() == DType::F32 && !x.track_op()
    }
}

/// A training pass under way.
struct TapePass<'a> {
    module: &'a GraphModule,
    tape: Tape,
    /// Rows and columns of the input.
    size: [usize; 2],
    /// Of each node that is needed.
    computed: Vec<Option<Computed>>,
    /// Of the nodes that have been computed as maps, and of concatenations that have a slot written.
    maps: Vec<Option<Map>>,
    /// What the tape gives as planes, in the order in which it does.
    planes: Vec<NodeId>,
}

impl TapePass<'_> {
    /// Computes a node that belongs on the tape.
    fn node(&mut self, id: NodeId, node: &Node) -> Result<()> {
        let source = |input: usize| node.inputs.get(input).and_then(|&source| self.maps[source.0].clone());
        let (Some(computed), Some(x)) = (self.computed[id.0], source(0)) else { return Ok(()) };
        let map = match (computed, &node.op) {
            (Computed::Map, Op::Conv(conv)) => self.layer(id, conv, &x)?,
            (Computed::Map, Op::AddRelu) => match source(1) {
                Some(shortcut) => self.tape.add_relu(&x, &shortcut)?,
                None => return Ok(()),
            },
            (Computed::Map, Op::MaxPool(_)) => match self.module.graph.halvings(id) {
                Some(_) if self.maps[id.0].is_some() => return Ok(()),
                Some(_) => return self.halvings(node.inputs[0], &x),
                None => self.tape.overlapping_pool(&x)?,
            },
            (Computed::Planes, Op::Conv(_)) => return self.head(id, &x),
            // a concatenation is there since its first slot was written
            _ => return Ok(()),
        };
        self.maps[id.0] = Some(map);
        Ok(())
    }

    /// A convolution with batch normalisation, into its slot of a concatenation where one reads it.
    fn layer(&mut self, id: NodeId, conv: &Conv, x: &Map) -> Result<Map> {
        let Some(ConvLayer { weight, bias, norm: Some(norm), .. }) = &self.module.layers[id.0] else {
            bail!("{}: no batch normalisation", self.module.graph[id].name);
        };
        let options = self.module.batch_norm;
        let parameters = LayerParameters {
            weight: weight.as_tensor(),
            bias: bias.as_ref().map(|bias| bias.as_tensor()),
            gamma: norm.gamma.as_tensor(),
            beta: norm.beta.as_tensor(),
            eps: options.eps,
        };
        let slot = self.slot(id);
        let (y, statistics) = self.tape.layer(conv, &parameters, x, slot)?;
        norm.update_running_from(statistics, self.tape.pixels(&y), options.momentum)?;
        Ok(y)
    }

    /// The slot of a concatenation that a node writes, where one reads it. The first one makes the whole.
    fn slot(&mut self, id: NodeId) -> Option<Map> {
        let graph = &self.module.graph;
        let (whole, node) = graph.nodes().find(|(whole, node)| {
            self.computed[whole.0] == Some(Computed::Map)
                && node.op == Op::Concat
                && node.inputs.contains(&id)
        })?;
        let (tape, size) = (&mut self.tape, self.size);
        let map = self.maps[whole.0].get_or_insert_with(|| {
            let parts: Vec<usize> = node.inputs.iter().map(|&input| graph[input].channels).collect();
            tape.concatenation(&parts, size.map(|side| side / node.reduction))
        });
        Some(map.slot(node.inputs.iter().position(|&input| input == id)?))
    }

    /// All poolings of a map by 2, 4, 8, ... at once.
    fn halvings(&mut self, source: NodeId, x: &Map) -> Result<()> {
        let graph = &self.module.graph;
        let all = graph.nodes().filter(|(id, node)| self.computed[id.0].is_some() && node.inputs == [source]);
        let all: Vec<_> = all.filter_map(|(id, _)| Some((id, graph.halvings(id)? as usize))).collect();
        let deepest = all.iter().map(|&(_, halvings)| halvings).max().unwrap_or(0);
        let pooled = self.tape.max_pools(x, deepest)?;
        for (id, halvings) in all {
            self.maps[id.0] = Some(pooled[halvings - 1].clone());
        }
        Ok(())
    }

    /// A convolution to few channels, without batch normalisation.
    fn head(&mut self, id: NodeId, x: &Map) -> Result<()> {
        let Some(ConvLayer { weight, bias: Some(bias), .. }) = &self.module.layers[id.0] else {
            bail!("{}: no bias", self.module.graph[id].name);
        };
        self.tape.head(weight.as_tensor(), bias.as_tensor(), x)?;
        self.planes.push(id);
        Ok(())
    }

    /// The values that the tape gives: heads, and maps that are read, or wanted, as tensors.
    fn finish(mut self, outputs: &[NodeId]) -> Result<Vec<Option<Tensor>>> {
        let readers = self.module.graph.readers(outputs);
        for (id, _) in self.module.graph.nodes() {
            let as_tensor = |reader: &NodeId| self.computed[reader.0] == Some(Computed::Tensor);
            if let Some(map) = &self.maps[id.0]
                && (outputs.contains(&id) || readers[id.0].iter().any(as_tensor))
            {
                self.tape.planes(map);
                self.planes.push(id);
            }
        }
        let mut values = vec![None; self.maps.len()];
        for (id, value) in self.planes.into_iter().zip(self.tape.finish()?) {
            values[id.0] = Some(value);
        }
        Ok(values)
    }
}

/// Where each node that `outputs` need is computed.
fn computed(graph: &Graph, outputs: &[NodeId]) -> Vec<Option<Computed>> {
    let readers = graph.readers(outputs);
    let needed = graph.needed(outputs);
    let mut computed: Vec<Option<Computed>> = vec![None; graph.len()];
    for (id, node) in graph.nodes().filter(|(id, _)| needed[id.0]) {
        let from_maps = node.inputs.iter().all(|input| computed[input.0] == Some(Computed::Map));
        // a slot of a concatenation is written by a convolution whose output no one else reads
        let is_slot = |input: &NodeId| {
            matches!(&graph[*input].op, Op::Conv(conv) if conv.batch_norm.is_some())
                && readers[input.0] == [id]
                && !outputs.contains(input)
        };
        let how = match &node.op {
            Op::Input => Computed::Map,
            Op::Conv(conv) if from_maps && is_layer(conv) => Computed::Map,
            Op::Conv(conv) if from_maps && is_head(conv) => Computed::Planes,
            Op::MaxPool(_) if from_maps && graph.halvings(id).is_some() => Computed::Map,
            Op::MaxPool(Window { side: 3, stride: 2, padding: 1 }) if from_maps => Computed::Map,
            Op::AddRelu if from_maps && node.inputs[0] != node.inputs[1] => Computed::Map,
            Op::Concat if from_maps && node.inputs.iter().all(is_slot) => Computed::Map,
            _ => Computed::Tensor,
        };
        computed[id.0] = Some(how);
    }
    computed
}

fn is_layer(conv: &Conv) -> bool {
    conv.batch_norm.is_some() && conv.kernel % 2 == 1 && [1, 2].contains(&conv.stride)
}

fn is_head(conv: &Conv) -> bool {
    conv.batch_norm.is_none()
        && !conv.relu
        && conv.bias
        && (conv.kernel, conv.stride, conv.upsample) == (3, 1, 1)
}
