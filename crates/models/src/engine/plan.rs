//! The pass that gives the maps of a schedule their memory, for one image size.

use std::ops::RangeInclusive;

use unet3p_core::graph::{NodeId, Op};
use unet3p_kernels::{BlockedShape, LANES};

use super::memory::{Lifetimes, MapId, Memory};
use super::schedule::{Schedule, Step};
use super::strip::window;

/// Memory that the strip of a first map takes, about: enough rows that all threads have blocks of tiles to share,
/// little beside the maps that exist whole.
const STRIP_BYTES: usize = 8 << 20;
/// Strips are a multiple of this many rows: whole tiles.
const STRIP_STEP: usize = 16;
/// Rows of a Winograd tile: what a convolution that reads strips computes at once.
pub(super) const TILE: usize = 4;
/// Rows that a convolution needs from before a strip: it follows a tile behind, and reads one more.
pub(super) const KEPT_FOR_TILES: usize = TILE + 1;
/// Rows that a head needs from before a strip: it follows one behind, and reads one more.
pub(super) const KEPT_FOR_HEAD: usize = 2;

/// The maps of one step that exist in no other.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Rows of a strip of the first map.
    pub(super) rows: usize,
    /// The maps that exist in strips, in the order of computation.
    pub(super) windows: Vec<MapId>,
    /// The neighbourhoods of a convolution with a stride, as channels.
    pub(super) neighbourhoods: Option<MapId>,
}

/// The maps of a forward pass for one image size.
pub(super) struct Plan {
    /// Rows and columns of the padded image.
    pub(super) size: [usize; 2],
    /// Of nodes whose map exists whole.
    maps: Vec<Option<MapId>>,
    /// By step.
    pub(super) scratch: Vec<Scratch>,
    pub(super) memory: Memory,
}

/// Rows of a strip of a map.
fn strip_rows(map: BlockedShape) -> usize {
    let rows = STRIP_BYTES / (map.channels.next_multiple_of(LANES) * map.width * size_of::<f32>());
    (rows / STRIP_STEP * STRIP_STEP).max(STRIP_STEP)
}

impl Plan {
    pub(super) fn new(schedule: &Schedule, size: [usize; 2]) -> Self {
        let mut lifetimes = Lifetimes::default();
        let mut maps: Vec<Option<MapId>> = vec![None; schedule.graph.len()];
        let last_reads = last_reads(schedule);
        let image = shape(schedule, schedule.image, size);
        maps[schedule.image.index()] = Some(lifetimes.add(image, 0..=last_reads[schedule.image.index()]));
        let mut scratch = Vec::new();
        for (step, what) in schedule.steps.iter().enumerate() {
            let here = step..=step;
            let mut whole = |lifetimes: &mut Lifetimes, id: NodeId| {
                let until = last_reads[id.index()].max(step);
                maps[id.index()] = Some(lifetimes.add(shape(schedule, id, size), step..=until));
            };
            let mut own = Scratch::default();
            match what {
                Step::Strips { first, then, head } => {
                    own = strips(schedule, &mut lifetimes, (first, then), head.is_some(), here, size);
                    if head.is_none() {
                        whole(&mut lifetimes, then.last().copied().unwrap_or(output(schedule, first)));
                    }
                }
                &Step::Strided(id) => {
                    own.neighbourhoods =
                        neighbourhoods(schedule, id, size).map(|shape| lifetimes.add(shape, here));
                    whole(&mut lifetimes, id);
                }
                Step::Halvings { pools, .. } => pools.iter().for_each(|&id| whole(&mut lifetimes, id)),
                &Step::OverlappingPool(id) => whole(&mut lifetimes, id),
                &Step::AddRelu(id) => {
                    maps[id.index()] = maps[schedule.graph[id].inputs[0].index()];
                }
                Step::Head(_) | Step::Scores(_) => {}
            }
            scratch.push(own);
        }
        Self { size, maps, scratch, memory: lifetimes.memory() }
    }

    /// The map of a node, which exists whole.
    pub(super) fn map(&self, id: NodeId) -> MapId {
        let Some(map) = self.maps[id.index()] else { unreachable!("a map that exists whole") };
        map
    }
}

/// The node whose map convolutions write side by side: the concatenation of several, or the only one's own.
pub(super) fn output(schedule: &Schedule, first: &[NodeId]) -> NodeId {
    match first {
        [one] => *one,
        several => {
            let reads = |node: &unet3p_core::graph::Node| node.op == Op::Concat && node.inputs == several;
            match schedule.graph.nodes().find(|(_, node)| reads(node)) {
                Some((id, _)) => id,
                None => unreachable!("several convolutions write a concatenation"),
            }
        }
    }
}

/// The map of a node: parts of a concatenation start blocks.
fn shape(schedule: &Schedule, id: NodeId, size: [usize; 2]) -> BlockedShape {
    let node = &schedule.graph[id];
    let channels = match node.op {
        Op::Concat => {
            node.inputs.iter().map(|&input| schedule.graph[input].channels.next_multiple_of(LANES)).sum()
        }
        _ => node.channels,
    };
    let [height, width] = size.map(|side| side / node.reduction);
    BlockedShape { channels, height, width }
}

/// The windows of a chain of convolutions.
fn strips(
    schedule: &Schedule,
    lifetimes: &mut Lifetimes,
    (first, then): (&[NodeId], &[NodeId]),
    has_head: bool,
    here: RangeInclusive<usize>,
    size: [usize; 2],
) -> Scratch {
    let maps: Vec<NodeId> = std::iter::once(output(schedule, first)).chain(then.iter().copied()).collect();
    let striped = if has_head { &maps[..] } else { &maps[..maps.len() - 1] };
    let rows = strip_rows(shape(schedule, maps[0], size));
    let window = |(i, &map): (usize, &NodeId)| {
        let kept = if has_head && i + 1 == maps.len() { KEPT_FOR_HEAD } else { KEPT_FOR_TILES };
        // as many rows as come of the map before, and the tile that the last strip has more
        lifetimes.add(window(shape(schedule, map, size), rows + i * TILE, kept), here.clone())
    };
    Scratch { rows, windows: striped.iter().enumerate().map(window).collect(), neighbourhoods: None }
}

/// The neighbourhoods of a convolution as channels, where it is not a 1x1 without a stride.
fn neighbourhoods(schedule: &Schedule, id: NodeId, size: [usize; 2]) -> Option<BlockedShape> {
    let Op::Conv(conv) = &schedule.graph[id].op else { return None };
    let channels = conv.inputs * conv.kernel * conv.kernel;
    ((conv.kernel, conv.stride) != (1, 1)).then(|| BlockedShape { channels, ..shape(schedule, id, size) })
}

/// The last step that reads each node's map. A sum lies in the place of its first operand.
fn last_reads(schedule: &Schedule) -> Vec<usize> {
    let graph = &schedule.graph;
    let mut last = vec![0; graph.len()];
    let mut read = |step: usize, id: NodeId| last[id.index()] = last[id.index()].max(step);
    for (step, what) in schedule.steps.iter().enumerate() {
        match what {
            Step::Strips { first, .. } => first.iter().for_each(|&id| read(step, graph[id].inputs[0])),
            Step::Halvings { source, .. } => read(step, *source),
            Step::Head(head) => read(step, graph[head.conv].inputs[0]),
            &Step::AddRelu(id) => graph[id].inputs.iter().for_each(|&input| read(step, input)),
            &Step::Strided(id) | &Step::OverlappingPool(id) | &Step::Scores(id) => {
                read(step, graph[id].inputs[0])
            }
        }
    }
    for step in schedule.steps.iter().rev() {
        if let &Step::AddRelu(id) = step {
            let operand = graph[id].inputs[0].index();
            last[operand] = last[operand].max(last[id.index()]);
        }
    }
    last
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Architecture, Encoder, UNet3PlusConfig};

    #[test]
    fn maps_live_from_their_step_to_the_last_that_reads_them() {
        let config = UNet3PlusConfig::builder().filters([4, 8, 16]).build().unwrap();
        let schedule = Schedule::new(Architecture::new(&config)).unwrap();
        let last = last_reads(&schedule);
        let of = |name: &str| {
            let (id, _) = schedule.graph.nodes().find(|(_, node)| node.name == name).unwrap();
            last[id.index()]
        };
        // without deep supervision the last step is D1's, and D2's comes before
        let nodes = schedule.steps.len() - 1;
        assert_eq!(of("encoder.1.conv2"), nodes);
        assert_eq!(of("encoder.3.conv2"), nodes);
        assert_eq!(of("encoder.2.conv2"), nodes - 1);
    }

    #[test]
    fn a_sum_takes_the_place_of_its_first_operand() {
        let config = UNet3PlusConfig::builder().encoder(Encoder::Resnet34).base_filters(4).build().unwrap();
        let schedule = Schedule::new(Architecture::new(&config)).unwrap();
        let plan = Plan::new(&schedule, [64, 64]);
        for (id, node) in schedule.graph.nodes().filter(|(_, node)| node.op == Op::AddRelu) {
            assert_eq!(plan.map(id), plan.map(node.inputs[0]), "{}", node.name);
        }
    }
}
