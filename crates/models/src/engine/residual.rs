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
    /// Of the block itself, and of its shortcut where that has one.
    pub(crate) layers: Vec<Layer>,
    pub(crate) downsample: Option<Layer>,
}

impl Block {
    /// The block's input and output, for an input of `size`.
    fn shapes(&self, size: [usize; 2]) -> [BlockedShape; 2] {
        let stride: usize = self.layers.iter().map(|layer| layer.stride).product();
        let (first, last) = (&self.layers[0], &self.layers[self.layers.len() - 1]);
        [(first.inputs, size), (last.outputs, size.map(|side| side / stride))]
            .map(|(channels, [height, width])| BlockedShape { channels, height, width })
    }
}

/// A stage of a residual encoder.
pub(crate) enum ResidualStage {
    Stem(Layer),
    Blocks { blocks: Vec<Block>, pooled: bool },
}

/// The maps of a layer: its neighbourhoods where it needs them, and its output where that is no one else's map.
struct Step {
    columns: Option<Map>,
    output: Option<Map>,
}

/// The maps that exist within a stage. All blocks but the first are alike and share theirs.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The input behind the pooling, where there is one.
    pooled: Option<Map>,
    first: Vec<Step>,
    others: Vec<Step>,
    downsample: Option<Step>,
    /// Where every second block writes; the others write the stage's own map.
    turn: Option<Map>,
}

/// Plans the maps of one step of a pass.
struct Planner<'a> {
    plan: &'a mut Plan,
    step: usize,
}

impl Planner<'_> {
    fn map(&mut self, shape: BlockedShape) -> Map {
        self.plan.map(shape, self.step..=self.step)
    }

    fn layer(&mut self, layer: &Layer, size: [usize; 2], has_output: bool) -> Step {
        let [output, columns] = layer.shapes(size);
        Step {
            columns: layer.unfolds().then(|| self.map(columns)),
            output: has_output.then(|| self.map(output)),
        }
    }

    /// The last layer writes the block's output.
    fn block(&mut self, block: &Block, mut size: [usize; 2]) -> Vec<Step> {
        let last = block.layers.len() - 1;
        let mut steps = Vec::new();
        for (i, layer) in block.layers.iter().enumerate() {
            steps.push(self.layer(layer, size, i < last));
            size = size.map(|side| side / layer.stride);
        }
        steps
    }
}

impl ResidualStage {
    /// The maps that a stage needs in step `step`, for an input of `size`.
    pub(crate) fn scratch(&self, plan: &mut Plan, step: usize, size: [usize; 2]) -> Scratch {
        let mut planner = Planner { plan, step };
        let (blocks, pooled) = match self {
            Self::Stem(layer) => {
                return Scratch { first: vec![planner.layer(layer, size, false)], ..Scratch::default() };
            }
            Self::Blocks { blocks, pooled } => (blocks, *pooled),
        };
        let size = if pooled { size.map(|side| side / 2) } else { size };
        let [first, others] = [&blocks[0], &blocks[blocks.len() - 1]];
        let [input, output] = first.shapes(size);
        Scratch {
            pooled: pooled.then(|| planner.map(input)),
            first: planner.block(first, size),
            others: planner.block(others, [output.height, output.width]),
            downsample: first.downsample.as_ref().map(|layer| planner.layer(layer, size, true)),
            turn: Some(planner.map(output)),
        }
    }
}

/// A residual encoder on its way.
pub(crate) struct ResidualPass<'a> {
    pub(crate) isa: Isa,
    pub(crate) memory: &'a mut Memory,
    pub(crate) times: &'a mut Times,
}

impl ResidualPass<'_> {
    /// Computes the map `y` of stage `part` from `x`.
    pub(crate) fn stage(&mut self, stage: &ResidualStage, part: &str, scratch: &Scratch, x: &Map, y: &Map) {
        let blocks = match stage {
            ResidualStage::Stem(layer) => {
                return self.layer(layer, &format!("{part}.conv"), &scratch.first[0], x, y);
            }
            ResidualStage::Blocks { blocks, .. } => blocks,
        };
        let mut input = match &scratch.pooled {
            Some(pooled) => self.pool(part, x, pooled),
            None => x,
        };
        for (i, block) in blocks.iter().enumerate() {
            // the last one writes the stage's map, and each another than it reads
            let output = match &scratch.turn {
                Some(turn) if (blocks.len() - i).is_multiple_of(2) => turn,
                _ => y,
            };
            let steps = if i == 0 { &scratch.first } else { &scratch.others };
            let part = format!("{part}.block{}", i + 1);
            self.block(block, &part, steps, scratch.downsample.as_ref(), input, output);
            input = output;
        }
    }

    fn pool<'m>(&mut self, part: &str, x: &Map, pooled: &'m Map) -> &'m Map {
        let [from, to] = self.memory.lend([x, pooled]);
        let mut to = to.blank();
        let pool = || max_pool2d_3x3_blocked(self.isa, from.view(), to.view_mut());
        self.times.measure(|| format!("{part}.pool"), None, pool);
        pooled
    }

    /// `relu(f(x) + shortcut(x))`.
    fn block(
        &mut self,
        block: &Block,
        part: &str,
        steps: &[Step],
        downsample: Option<&Step>,
        x: &Map,
        y: &Map,
    ) {
        let mut from = x;
        for (k, (layer, step)) in (1..).zip(block.layers.iter().zip(steps)) {
            let to = step.output.as_ref().unwrap_or(y);
            self.layer(layer, &format!("{part}.conv{k}"), step, from, to);
            from = to;
        }
        let shortcut = match (&block.downsample, downsample) {
            (Some(layer), Some(step @ Step { output: Some(to), .. })) => {
                self.layer(layer, &format!("{part}.downsample"), step, x, to);
                to
            }
            _ => x,
        };
        let [shortcut, mut sum] = self.memory.lend([shortcut, y]);
        let add = || add_relu_blocked(self.isa, shortcut.view(), sum.view_mut());
        self.times.measure(|| format!("{part}.sum"), None, add);
    }

    /// One layer, by its neighbourhoods where it needs them.
    fn layer(&mut self, layer: &Layer, name: &str, step: &Step, x: &Map, y: &Map) {
        let (times, algorithm) = (&mut *self.times, layer.algorithm());
        let size = [y.shape.height, y.shape.width];
        match &step.columns {
            Some(columns) => {
                let [x, columns, y] = self.memory.lend([x, columns, y]);
                let (mut columns, mut y) = (columns.blank(), y.blank());
                let Layer { inputs, kernel, stride, .. } = *layer;
                let unfold = || unfold2d_blocked(x.view(), inputs, kernel, stride, columns.view_mut());
                times.measure(|| name.to_owned(), algorithm, unfold);
                times.measure(|| name.to_owned(), algorithm, || layer.run(columns.view(), y.view_mut()));
            }
            None => {
                let [x, y] = self.memory.lend([x, y]);
                let mut y = y.blank();
                times.measure(|| name.to_owned(), algorithm, || layer.run(x.view(), y.view_mut()));
            }
        }
        times.count(name, layer.multiply_adds(size));
    }
}
