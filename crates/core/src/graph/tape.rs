//! Training a graph on blocked maps.

use candle_core::{DType, Result, Tensor};
use unet3p_kernels::Window;

use super::{Conv, Graph, GraphModule, NodeId, Op};
use crate::backend::Backend;
use crate::training::{self, Map, Tape};

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
    /// the tape has operations for is computed there, and what is behind it on Candle tensors. The loss that is computed
    /// from the outputs may go backward once.
    ///
    /// # Errors
    /// As [`GraphModule::forward_t`], and where `x` is not of f32 on the CPU.
    pub fn forward_on_tape(&self, x: &Tensor, outputs: &[NodeId]) -> Result<Vec<Tensor>> {
        let computed = computed(&self.graph, outputs);
        let (mut tape, input) = Tape::new(x, &self.memory)?;
        let size = [x.dim(2)?, x.dim(3)?];
        let mut maps: Vec<Option<Map>> = vec![None; self.graph.len()];
        let mut input = Some(input);
        // what the tape gives as planes, in the order in which it does
        let mut given = Vec::new();
        for (id, node) in self.graph.nodes() {
            let from = |maps: &[Option<Map>]| node.inputs.first().and_then(|input| maps[input.0].clone());
            match (computed[id.0], &node.op, from(&maps)) {
                (Some(Computed::Map), Op::Input, _) => maps[id.0] = input.take(),
                (Some(Computed::Map), Op::Conv(conv), Some(x)) => {
                    let slot = self.slot(&mut tape, &mut maps, &computed, id, size);
                    maps[id.0] = Some(self.layer_on_tape(&mut tape, id, conv, &x, slot)?);
                }
                (Some(Computed::Map), Op::AddRelu, Some(x)) => {
                    if let Some(shortcut) = &maps[node.inputs[1].0] {
                        maps[id.0] = Some(tape.add_relu(&x, shortcut)?);
                    }
                }
                (Some(Computed::Map), Op::MaxPool(_), Some(x)) if self.graph.halvings(id).is_none() => {
                    maps[id.0] = Some(tape.overlapping_pool(&x)?);
                }
                (Some(Computed::Map), Op::MaxPool(_), Some(x)) if maps[id.0].is_none() => {
                    let [source] = node.inputs[..] else { continue };
                    let pools: Vec<(NodeId, usize)> = self.halvings_of(source, &computed);
                    let deepest = pools.iter().map(|&(_, halvings)| halvings).max().unwrap_or(0);
                    let pooled = tape.max_pools(&x, deepest)?;
                    pools.into_iter().for_each(|(pool, halvings)| {
                        maps[pool.0] = Some(pooled[halvings - 1].clone());
                    });
                }
                (Some(Computed::Planes), Op::Conv(_), Some(x)) => {
                    if let Some(super::layer::ConvLayer { weight, bias: Some(bias), .. }) = &self.layers[id.0]
                    {
                        tape.head(weight.as_tensor(), bias.as_tensor(), &x)?;
                        given.push(id);
                    }
                }
                _ => {}
            }
        }
        // maps that are read, or wanted, as tensors
        let readers = self.graph.readers(outputs);
        for (id, _) in self.graph.nodes() {
            let as_tensor = |reader: &NodeId| computed[reader.0] == Some(Computed::Tensor);
            if let Some(map) = &maps[id.0]
                && (outputs.contains(&id) || readers[id.0].iter().any(as_tensor))
            {
                tape.planes(map);
                given.push(id);
            }
        }
        let mut values = vec![None; self.graph.len()];
        for (id, value) in given.into_iter().zip(tape.finish()?) {
            values[id.0] = Some(value);
        }
        self.compute(values, outputs, true)
    }

    /// Whether [`GraphModule::forward_on_tape`] takes this input: f32 on the CPU kernels, with no gradient of its own.
    pub fn trains_on_tape(&self, x: &Tensor) -> bool {
        self.backend(x) == Backend::Kernels && x.device().is_cpu() && x.dtype() == DType::F32 && !x.track_op()
    }

    fn layer_on_tape(
        &self,
        tape: &mut Tape,
        id: NodeId,
        conv: &Conv,
        x: &Map,
        slot: Option<Map>,
    ) -> Result<Map> {
        let Some((layer, norm)) =
            self.layers[id.0].as_ref().and_then(|layer| Some((layer, layer.norm.as_ref()?)))
        else {
            candle_core::bail!("{}: no batch normalisation", self.graph[id].name);
        };
        let parameters = training::LayerParameters {
            weight: layer.weight.as_tensor(),
            bias: layer.bias.as_ref().map(|bias| bias.as_tensor()),
            gamma: norm.gamma.as_tensor(),
            beta: norm.beta.as_tensor(),
            eps: self.batch_norm.eps,
        };
        let (y, statistics) = tape.layer(conv, &parameters, x, slot)?;
        norm.update_running_from(statistics, tape.pixels(&y), self.batch_norm.momentum)?;
        Ok(y)
    }

    /// The slot of a concatenation that a node writes, where one reads it. The first one makes the whole.
    fn slot(
        &self,
        tape: &mut Tape,
        maps: &mut [Option<Map>],
        computed: &[Option<Computed>],
        id: NodeId,
        size: [usize; 2],
    ) -> Option<Map> {
        let reads = |node: &super::Node| node.op == Op::Concat && node.inputs.contains(&id);
        let (whole, node) = self
            .graph
            .nodes()
            .find(|(whole, node)| computed[whole.0] == Some(Computed::Map) && reads(node))?;
        if maps[whole.0].is_none() {
            let parts: Vec<usize> = node.inputs.iter().map(|&input| self.graph[input].channels).collect();
            let map = tape.concatenation(&parts, size.map(|side| side / node.reduction));
            maps[whole.0] = Some(map);
        }
        let position = node.inputs.iter().position(|&input| input == id)?;
        maps[whole.0].as_ref().map(|map| map.slot(position))
    }

    /// The poolings of a map by 2, 4, 8, ... that are computed on the tape.
    fn halvings_of(&self, source: NodeId, computed: &[Option<Computed>]) -> Vec<(NodeId, usize)> {
        let all = self.graph.nodes().filter(|(id, node)| computed[id.0].is_some() && node.inputs == [source]);
        all.filter_map(|(id, _)| Some((id, self.graph.halvings(id)? as usize))).collect()
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
        let place = match &node.op {
            Op::Input => Computed::Map,
            Op::Conv(conv) if from_maps && is_layer(conv) => Computed::Map,
            Op::Conv(conv) if from_maps && is_head(conv) => Computed::Planes,
            Op::MaxPool(_) if from_maps && graph.halvings(id).is_some() => Computed::Map,
            Op::MaxPool(Window { side: 3, stride: 2, padding: 1 }) if from_maps => Computed::Map,
            Op::AddRelu if from_maps && node.inputs[0] != node.inputs[1] => Computed::Map,
            Op::Concat if from_maps && node.inputs.iter().all(is_slot) => Computed::Map,
            _ => Computed::Tensor,
        };
        computed[id.0] = Some(place);
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
