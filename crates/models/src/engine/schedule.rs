//! The pass that orders a graph into steps, and joins convolutions that can run in strips.

use unet3p_core::graph::{Conv, Graph, NodeId, Op, fuse_upsampling, remove_dropout};
use unet3p_kernels::Window;

use crate::architecture::Architecture;
use crate::error::Result;

/// A head: its convolution, its number from 0, and the factor by which its logits are upsampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) conv: NodeId,
    pub(super) number: usize,
    pub(super) scale: usize,
}

/// What is computed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Convolutions strip by strip, so that the maps between them never exist whole: those of `first`, side by side where
    /// they are several, and those of `then`, each of the map before; the last one's map exists whole, but where a
    /// head is behind it.
    Strips { first: Vec<NodeId>, then: Vec<NodeId>, head: Option<Head> },
    /// A convolution with another kernel than 3x3, or with a stride.
    Strided(NodeId),
    /// Max pooling of a map by 2, 4, 8, ...
    Halvings { source: NodeId, pools: Vec<NodeId> },
    /// Max pooling by windows of 3x3 with stride 2.
    OverlappingPool(NodeId),
    /// `relu(a + b)`, in place of `a`.
    AddRelu(NodeId),
    /// A head of a map that exists whole.
    Head(Head),
    /// A 1x1 convolution and the largest of its values.
    Scores(NodeId),
}

/// A network in steps.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) graph: Graph,
    pub(super) image: NodeId,
    pub(super) steps: Vec<Step>,
}

impl Schedule {
    pub(super) fn new(architecture: Architecture) -> Result<Self> {
        let outputs = architecture.outputs(architecture.logits.len());
        let Architecture { mut graph, logits, .. } = architecture;
        fuse_upsampling(&mut graph);
        remove_dropout(&mut graph);
        let heads = logits.iter().enumerate().map(|(number, &logits)| match graph[logits].op {
            Op::Upsample(scale) => Head { conv: graph[logits].inputs[0], number, scale },
            _ => Head { conv: logits, number, scale: 1 },
        });
        let heads: Vec<Head> = heads.collect();
        let readers = graph.readers(&outputs);
        let scheduler = Scheduler { graph: &graph, readers, heads: &heads };
        let (image, steps) = scheduler.steps()?;
        Ok(Self { graph, image, steps })
    }
}

struct Scheduler<'a> {
    graph: &'a Graph,
    readers: Vec<Vec<NodeId>>,
    heads: &'a [Head],
}

impl Scheduler<'_> {
    fn steps(&self) -> candle_core::Result<(NodeId, Vec<Step>)> {
        let mut done = vec![false; self.graph.len()];
        let (mut image, mut steps) = (None, Vec::new());
        for (id, node) in self.graph.nodes() {
            if done[id.index()] || (self.readers[id.index()].is_empty() && self.head(id).is_none()) {
                continue;
            }
            let step = match &node.op {
                Op::Input if image.is_none() => {
                    image = Some(id);
                    continue;
                }
                Op::Conv(_) if self.is_slot(id) => continue,
                Op::Conv(_) if let Some(head) = self.head(id) => Step::Head(head),
                Op::Conv(conv) if is_same(conv) => self.strips(vec![id], id),
                Op::Conv(conv) if self.is_scores(id, conv) => Step::Scores(id),
                Op::Conv(conv) if conv.batch_norm.is_some() && conv.upsample == 1 => Step::Strided(id),
                Op::Concat if node.inputs.iter().all(|&input| self.is_slot(input)) => {
                    self.strips(node.inputs.clone(), id)
                }
                Op::MaxPool(_) if self.graph.halvings(id).is_some() => {
                    let source = node.inputs[0];
                    let pools = self.readers[source.index()].iter();
                    let mut pools: Vec<_> =
                        pools.filter_map(|&id| Some((self.graph.halvings(id)?, id))).collect();
                    pools.sort();
                    // each is computed from the one before
                    if !(1..).zip(&pools).all(|(n, (halvings, _))| *halvings == n) {
                        candle_core::bail!("{}: pooling by 2, 4, ... with a gap", self.graph[source].name);
                    }
                    Step::Halvings { source, pools: pools.into_iter().map(|(_, id)| id).collect() }
                }
                Op::MaxPool(Window { side: 3, stride: 2, padding: 1 }) => Step::OverlappingPool(id),
                Op::AddRelu if self.readers[node.inputs[0].index()] == [id] => Step::AddRelu(id),
                // of a head, and of the scores
                Op::Upsample(_) | Op::GlobalMaxPool => continue,
                op => candle_core::bail!("{}: the engine has no {op:?}", node.name),
            };
            for id in written(&step) {
                done[id.index()] = true;
            }
            steps.push(step);
        }
        match image {
            Some(image) => Ok((image, steps)),
            None => candle_core::bail!("a graph without an input"),
        }
    }

    fn head(&self, id: NodeId) -> Option<Head> {
        self.heads.iter().copied().find(|head| head.conv == id)
    }

    /// Whether a convolution writes a part of a concatenation, and nothing else reads it.
    fn is_slot(&self, id: NodeId) -> bool {
        matches!(&self.graph[id].op, Op::Conv(conv) if is_same(conv))
            && matches!(self.readers[id.index()][..], [reader] if self.graph[reader].op == Op::Concat)
    }

    fn is_scores(&self, id: NodeId, conv: &Conv) -> bool {
        conv.kernel == 1
            && conv.batch_norm.is_none()
            && matches!(self.readers[id.index()][..], [reader] if self.graph[reader].op == Op::GlobalMaxPool)
    }

    /// Convolutions that start with `first`, whose map is `map`'s, and every following one that alone reads the map before.
    fn strips(&self, first: Vec<NodeId>, mut map: NodeId) -> Step {
        let mut then = Vec::new();
        let mut head = None;
        while let [reader] = self.readers[map.index()][..] {
            head = self.head(reader);
            let follows =
                matches!(&self.graph[reader].op, Op::Conv(conv) if is_same(conv) && conv.upsample == 1);
            if head.is_some() || !follows || self.is_slot(reader) {
                break;
            }
            then.push(reader);
            map = reader;
        }
        Step::Strips { first, then, head }
    }
}

/// A 3x3 convolution of a map as it is or upsampled, to a map.
fn is_same(conv: &Conv) -> bool {
    (conv.kernel, conv.stride) == (3, 1) && conv.batch_norm.is_some()
}

/// The nodes that a step is the computation of.
fn written(step: &Step) -> Vec<NodeId> {
    match step {
        Step::Strips { first, then, head } => {
            first.iter().chain(then).copied().chain(head.map(|head| head.conv)).collect()
        }
        Step::Halvings { pools, .. } => pools.clone(),
        Step::Strided(id) | Step::OverlappingPool(id) | Step::AddRelu(id) | Step::Scores(id) => vec![*id],
        Step::Head(head) => vec![head.conv],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Encoder, UNet3PlusConfig, Variant};

    fn schedule(encoder: Encoder, variant: Variant) -> Vec<String> {
        let config = UNet3PlusConfig::builder().encoder(encoder).filters([4, 4, 8]).variant(variant);
        let Schedule { graph, steps, .. } =
            Schedule::new(Architecture::new(&config.build().unwrap())).unwrap();
        let names =
            |ids: &[NodeId]| ids.iter().map(|&id| graph[id].name.as_str()).collect::<Vec<_>>().join(" ");
        let of = |step: &Step| match step {
            Step::Strips { first, then, head } => {
                let head = head.map(|head| format!(" > head {}", head.number + 1)).unwrap_or_default();
                format!("{} > {}{head}", names(first), names(then))
            }
            Step::Halvings { source, pools } => format!("{} pooled {}", graph[*source].name, pools.len()),
            other => {
                format!("{} {}", names(&written(other)), format!("{other:?}").split('(').next().unwrap())
            }
        };
        steps.iter().map(of).collect()
    }

    #[test]
    fn stages_and_nodes_run_in_strips() {
        let branches = |node: usize| {
            (1..=3).map(|i| format!("decoder.{node}.branch{i}.conv")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            schedule(Encoder::Plain, Variant::DeepSupervisionCgm),
            [
                "encoder.1.conv1 > encoder.1.conv2".to_owned(),
                "encoder.1.conv2 pooled 1".to_owned(),
                "encoder.2.conv1 > encoder.2.conv2".to_owned(),
                "encoder.2.conv2 pooled 1".to_owned(),
                "encoder.3.conv1 > encoder.3.conv2".to_owned(),
                format!("{} > decoder.2.fuse.conv", branches(2)),
                format!("{} > decoder.1.fuse.conv > head 1", branches(1)),
                "head.2 Head".to_owned(),
                "head.3 Head".to_owned(),
                "cgm Scores".to_owned(),
            ]
        );
    }

    #[test]
    fn residual_stages_are_steps_of_the_same_kinds() {
        let steps = schedule(Encoder::Resnet34, Variant::Base);
        let start = [
            "encoder.1.conv Strided",
            "encoder.2.pool OverlappingPool",
            "encoder.2.block1.conv1 > encoder.2.block1.conv2",
            "encoder.2.block1.sum AddRelu",
        ];
        assert_eq!(steps[..4], start);
        assert!(steps.contains(&"encoder.3.block1.downsample.conv Strided".to_owned()));
    }
}
