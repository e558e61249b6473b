//! Residual encoders: packed blocks, and the maps they pass on the way.

use unet3p_kernels::{
    BlockedShape, BlockedView, BlockedViewMut, Isa, PointwiseConv2d, add_relu_blocked,
    max_pool2d_3x3_blocked, unfold2d_blocked,
};

use super::Algorithm;
use super::layer::{Convolution, Folded};
use super::memory::{Map, Memory, Plan};
use super::report::Times;

/// One convolution of a residual network.
pub(crate) struct Layer {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    packed: Packed,
}

enum Packed {
    /// 3x3 at its own resolution.
    Same(Convolution),
    /// 1x1; with a larger kernel or a stride, of the neighbourhoods as channels.
    Pointwise(PointwiseConv2d),
}

impl Layer {
    /// Packs a convolution of `[inputs, outputs, kernel, stride]` for outputs of `size`.
    pub(crate) fn new(
        isa: Isa,
        [inputs, outputs, kernel, stride]: [usize; 4],
        folded: &Folded,
        relu: bool,
        size: [usize; 2],
    ) -> Self {
        let packed = if kernel == 3 && stride == 1 {
            Packed::Same(Convolution::new(isa, &[inputs], folded, relu, size))
        } else {
            let depth = inputs * kernel * kernel;
            Packed::Pointwise(PointwiseConv2d::new(isa, depth, &folded.weight, &folded.bias, relu))
        };
        Self { inputs, outputs, kernel, stride, packed }
    }

    /// Whether the input's neighbourhoods are laid out as channels first.
    fn unfolds(&self) -> bool {
        matches!(self.packed, Packed::Pointwise(_)) && (self.kernel, self.stride) != (1, 1)
    }

    /// The layer's output, and its neighbourhoods, for an input of `size`.
    fn shapes(&self, size: [usize; 2]) -> [BlockedShape; 2] {
        let [height, width] = size.map(|side| side / self.stride);
        let columns = self.inputs * self.kernel * self.kernel;
        [self.outputs, columns].map(|channels| BlockedShape { channels, height, width })
    }

    fn algorithm(&self) -> Algorithm {
        match &self.packed {
            Packed::Same(layer) => layer.algorithm(),
            Packed::Pointwise(_) => Algorithm::Direct,
        }
    }

    fn multiply_adds(&self, [height, width]: [usize; 2]) -> u64 {
        match &self.packed {
            Packed::Same(layer) => layer.multiply_adds([height, width]),
            Packed::Pointwise(layer) => layer.multiply_adds(height, width),
        }
    }

    fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
        match &self.packed {
            Packed::Same(layer) => layer.run(x, y),
            Packed::Pointwise(layer) => layer.run(x, y),
        }
    }
}

/// A residual block.
pub(crate) struct Block {
    pub(crate) layers: Vec<Layer>,
    pub(crate) downsample: Option<Layer>,
}

/// A stage of a residual encoder.
pub(crate) enum ResidualStage {
    Stem(Layer),
    Blocks { blocks: Vec<Block>, pooled: bool },
}

/// The maps that exist within a stage: one of each shape is enough for each role, and blocks after the first share
/// theirs.
pub(crate) struct Scratch {
    /// The input behind the pooling, where there is one.
    pooled: Option<Map>,
    /// By layer of the first block, and of the others: its neighbourhoods and, but for the last layer, its output.
    first: Vec<Step>,
    others: Vec<Step>,
    downsample: Option<Step>,
    /// Where every second block writes; the others write the stage's own map.
    turn: Option<Map>,
}

/// The maps of a layer.
struct Step {
    columns: Option<Map>,
    output: Option<Map>,
}

impl ResidualStage {
    /// The maps that a stage needs in step `step`, for an input of `size`.
    pub(crate) fn scratch(&self, plan: &mut Plan, step: usize, size: [usize; 2]) -> Scratch {
        let mut plan_layer = |layer: &Layer, size: [usize; 2], is_kept: bool| {
            let [output, columns] = layer.shapes(size);
            let mut map = |shape| plan.map(shape, step..=step);
            Step { columns: layer.unfolds().then(|| map(columns)), output: is_kept.then(|| map(output)) }
        };
        match self {
            Self::Stem(layer) => Scratch {
                pooled: None,
                first: vec![plan_layer(layer, size, false)],
                others: Vec::new(),
                downsample: None,
                turn: None,
            },
            Self::Blocks { blocks, pooled } => {
                let half = |size: [usize; 2]| size.map(|side| side / 2);
                let input = if *pooled { half(size) } else { size };
                let mut steps = |block: &Block, mut size: [usize; 2]| -> Vec<Step> {
                    let last = block.layers.len() - 1;
                    let layers = block.layers.iter().enumerate();
                    let step = |(i, layer): (usize, &Layer)| {
                        let step = plan_layer(layer, size, i < last);
                        size = size.map(|side| side / layer.stride);
                        step
                    };
                    layers.map(step).collect()
                };
                let stride: usize = blocks[0].layers.iter().map(|layer| layer.stride).product();
                let output = input.map(|side| side / stride);
                let first = steps(&blocks[0], input);
                let others = blocks.get(1).map(|block| steps(block, output)).unwrap_or_default();
                let downsample = blocks[0].downsample.as_ref().map(|layer| plan_layer(layer, input, true));
                let map = |channels, [height, width]: [usize; 2]| BlockedShape { channels, height, width };
                let (inputs, outputs) =
                    (blocks[0].layers[0].inputs, blocks[0].layers[last_of(&blocks[0])].outputs);
                Scratch {
                    pooled: pooled.then(|| plan.map(map(inputs, input), step..=step)),
                    first,
                    others,
                    downsample,
                    turn: (blocks.len() > 1).then(|| plan.map(map(outputs, output), step..=step)),
                }
            }
        }
    }

    /// Computes the stage's map `y` from `x`.
    pub(crate) fn run(
        &self,
        (isa, part): (Isa, &str),
        memory: &mut Memory,
        scratch: &Scratch,
        x: &Map,
        y: &Map,
        times: &mut Times,
    ) {
        match self {
            Self::Stem(layer) => {
                let name = format!("{part}.conv");
                run_layer(layer, &name, memory, &scratch.first[0], x, y, times);
            }
            Self::Blocks { blocks, .. } => {
                let x = match &scratch.pooled {
                    Some(pooled) => {
                        let [from, to] = memory.lend([x, pooled]);
                        let mut to = to.blank();
                        let pool = || max_pool2d_3x3_blocked(isa, from.view(), to.view_mut());
                        times.measure(|| format!("{part}.pool"), None, pool);
                        pooled
                    }
                    None => x,
                };
                let mut input = x;
                for (i, block) in blocks.iter().enumerate() {
                    // the last one writes the stage's map, and each another than it reads
                    let output = match &scratch.turn {
                        Some(turn) if (blocks.len() - i) % 2 == 0 => turn,
                        _ => y,
                    };
                    let steps = if i == 0 { &scratch.first } else { &scratch.others };
                    let part = format!("{part}.block{}", i + 1);
                    let mut from = input;
                    for (k, (layer, step)) in (1..).zip(block.layers.iter().zip(steps)) {
                        let to = step.output.as_ref().unwrap_or(output);
                        run_layer(layer, &format!("{part}.conv{k}"), memory, step, from, to, times);
                        from = to;
                    }
                    let shortcut = match (&block.downsample, &scratch.downsample) {
                        (Some(layer), Some(step @ Step { output: Some(to), .. })) => {
                            run_layer(layer, &format!("{part}.downsample"), memory, step, input, to, times);
                            to
                        }
                        _ => input,
                    };
                    let [shortcut, mut sum] = memory.lend([shortcut, output]);
                    let add = || add_relu_blocked(isa, shortcut.view(), sum.view_mut());
                    times.measure(|| format!("{part}.sum"), None, add);
                    input = output;
                }
            }
        }
    }
}

fn last_of(block: &Block) -> usize {
    block.layers.len() - 1
}

/// Computes one layer, by its neighbourhoods where it needs them.
fn run_layer(
    layer: &Layer,
    name: &str,
    memory: &mut Memory,
    step: &Step,
    x: &Map,
    y: &Map,
    times: &mut Times,
) {
    let run = |x: BlockedView<'_>, y: BlockedViewMut<'_>, times: &mut Times| {
        times.measure(|| name.to_owned(), layer.algorithm(), || layer.run(x, y));
    };
    match &step.columns {
        Some(columns) => {
            let [x, columns, y] = memory.lend([x, columns, y]);
            let (mut columns, mut y) = (columns.blank(), y.blank());
            let unfold =
                || unfold2d_blocked(x.view(), layer.inputs, layer.kernel, layer.stride, columns.view_mut());
            times.measure(|| name.to_owned(), layer.algorithm(), unfold);
            run(columns.view(), y.view_mut(), times);
        }
        None => {
            let [x, y] = memory.lend([x, y]);
            let mut y = y.blank();
            run(x.view(), y.view_mut(), times);
        }
    }
    times.count(name, layer.multiply_adds([y.shape.height, y.shape.width]));
}
