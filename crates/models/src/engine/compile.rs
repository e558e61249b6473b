//! From a network's tensors to packed layers, one after the other, each freed when packed.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use unet3p_core::graph::{Conv, Graph, NodeId, Op};
use unet3p_kernels::{AlignedBuffer, HeadConv2d, Isa, PointwiseConv2d, UpsampledConv2d};

use super::layer::{Folded, Packed};
use super::schedule::{Schedule, Step};
use crate::error::{Error, Result};

/// The tensors that are not packed yet.
struct Tensors {
    left: HashMap<String, Tensor>,
    eps: f64,
}

impl Tensors {
    /// Takes a tensor out; what lacks was found when the network was built.
    fn take(&mut self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.left.remove(name).ok_or_else(|| Error::Weights {
            missing: vec![name.to_owned()],
            left_over: Vec::new(),
            misshapen: Vec::new(),
        })?;
        Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    /// The pass that folds batch normalisation into the convolution before it:
    /// `gamma (w x + b - mean) / sqrt(variance + eps) + beta = (s w) x + (s (b - mean) + beta)`.
    fn fold_batch_norm(&mut self, name: &str, conv: &Conv) -> Result<Folded> {
        let mut weight = self.take(&format!("{name}.weight"))?;
        let bias = conv.bias.then(|| self.take(&format!("{name}.bias"))).transpose()?;
        let mut bias = bias.unwrap_or_else(|| vec![0.0; conv.outputs]);
        let Some(batch_norm) = &conv.batch_norm else { return Ok(Folded { weight, bias }) };
        let [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|leaf| self.take(&format!("{batch_norm}.{leaf}")));
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let depth = weight.len() / bias.len();
        for (o, (bias, row)) in bias.iter_mut().zip(weight.chunks_exact_mut(depth)).enumerate() {
            let scale = f64::from(gamma[o]) / (f64::from(variance[o]) + self.eps).sqrt();
            *bias = (scale * (f64::from(*bias) - f64::from(mean[o])) + f64::from(beta[o])) as f32;
            row.iter_mut().for_each(|w| *w = (scale * f64::from(*w)) as f32);
        }
        Ok(Folded { weight, bias })
    }
}

/// Packs the weights of every convolution of a schedule, for an image of `size`; by node.
pub(super) fn compile(
    schedule: &Schedule,
    tensors: HashMap<String, Tensor>,
    eps: f64,
    isa: Isa,
    size: [usize; 2],
) -> Result<Vec<Option<Packed>>> {
    let mut tensors = Tensors { left: tensors, eps };
    let graph = &schedule.graph;
    let mut roles = schedule.steps.iter().flat_map(|step| convolutions(graph, step)).collect::<Vec<_>>();
    // the largest weights first: they are packed while least else is
    roles.sort_by_key(|(_, conv, _)| {
        std::cmp::Reverse(conv.inputs * conv.outputs * conv.kernel * conv.kernel)
    });
    let mut layers: Vec<Option<Packed>> = (0..graph.len()).map(|_| None).collect();
    for (id, conv, role) in roles {
        let node = &graph[id];
        let parts = parts(graph, node.inputs[0]);
        let folded = tensors.fold_batch_norm(&node.name, conv)?;
        let Folded { weight, bias } = &folded;
        layers[id.index()] = Some(match role {
            Role::Head => Packed::Head(HeadConv2d::new(isa, &parts, weight).with_bias(bias)),
            Role::Scores => Packed::Scores(folded),
            Role::Map if conv.upsample > 1 => {
                let scale = conv.upsample;
                let layer = UpsampledConv2d::new(isa, scale, &parts, weight).with_bias(bias);
                let layer = if conv.relu { layer.with_relu() } else { layer };
                Packed::Upsampled { scale, layer }
            }
            Role::Map if (conv.kernel, conv.stride) == (3, 1) => {
                let size = size.map(|side| (side / node.reduction).max(1));
                Packed::same(isa, &parts, &folded, conv.relu, size)
            }
            Role::Map => {
                let depth = conv.inputs * conv.kernel * conv.kernel;
                let layer = PointwiseConv2d::new(isa, depth, weight).with_bias(bias);
                Packed::Pointwise(if conv.relu { layer.with_relu() } else { layer })
            }
        });
    }
    AlignedBuffer::return_freed_memory();
    Ok(layers)
}

/// What a convolution writes.
enum Role {
    Map,
    Head,
    Scores,
}

/// The convolutions of a step.
fn convolutions<'a>(graph: &'a Graph, step: &Step) -> Vec<(NodeId, &'a Conv, Role)> {
    let (maps, other) = match step {
        Step::Strips { first, then, head } => {
            let maps = first.iter().chain(then).copied().collect();
            (maps, head.map(|head| (head.conv, Role::Head)))
        }
        Step::Strided(conv) => (vec![*conv], None),
        Step::Head(head) => (Vec::new(), Some((head.conv, Role::Head))),
        Step::Scores(conv) => (Vec::new(), Some((*conv, Role::Scores))),
        Step::Halvings { .. } | Step::OverlappingPool(_) | Step::AddRelu(_) => return Vec::new(),
    };
    let all = maps.into_iter().map(|id| (id, Role::Map)).chain(other);
    all.filter_map(|(id, role)| match &graph[id].op {
        Op::Conv(conv) => Some((id, conv, role)),
        _ => None,
    })
    .collect()
}

/// The channels of the maps that a map is a concatenation of.
fn parts(graph: &Graph, x: NodeId) -> Vec<usize> {
    match graph[x].op {
        Op::Concat => graph[x].inputs.iter().map(|&input| graph[input].channels).collect(),
        _ => vec![graph[x].channels],
    }
}
