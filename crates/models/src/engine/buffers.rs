//! The maps of a forward pass for one input size.

use unet3p_kernels::{BlockedShape, LANES};

use super::compile::EncoderLayers;
use super::memory::{Map, Memory, Plan};
use super::residual::Scratch;
use super::strip::window;
use crate::config::UNet3PlusConfig;

/// Memory that the strip of a concatenation takes, about: enough rows that all threads have blocks of tiles to share,
/// little beside the maps that exist whole.
const STRIP_BYTES: usize = 8 << 20;
/// Strips are a multiple of this many rows: whole tiles.
const STRIP_STEP: usize = 16;
/// Rows of a Winograd tile: what a convolution that reads strips computes at once.
pub(crate) const TILE: usize = 4;
/// Rows that a fusing convolution needs from before a strip: it follows a tile behind, and reads one more.
pub(crate) const KEPT_FOR_TILES: usize = TILE + 1;
/// Rows that a head needs from before a strip: it follows one behind, and reads one more.
pub(crate) const KEPT_FOR_HEAD: usize = 2;

/// A map that exists in strips only.
pub(crate) struct Striped {
    /// Most rows of a strip.
    pub(crate) rows: usize,
    /// A strip and the rows kept for it.
    pub(crate) window: Map,
}

/// All maps of a forward pass.
pub(crate) struct Buffers {
    /// Rows and columns of the image.
    pub(crate) size: [usize; 2],
    pub(crate) memory: Memory,
    pub(crate) input: Map,
    /// E1 to E5.
    pub(crate) encoder: Vec<Map>,
    /// Between the two convolutions of each stage that has them.
    pub(crate) between: Vec<Striped>,
    /// Within each stage of a residual encoder.
    pub(crate) residual: Vec<Scratch>,
    /// `pooled[s][k]`: E(s+1) pooled by 2^(k+1).
    pub(crate) pooled: Vec<Vec<Map>>,
    /// D2, D3, D4.
    pub(crate) decoder: Vec<Map>,
    /// D1.
    pub(crate) finest: Striped,
    /// The branches of each node side by side, the finest first.
    pub(crate) concatenations: Vec<Striped>,
}

/// Rows of a strip of a map.
fn strip_rows(map: BlockedShape) -> usize {
    let rows = STRIP_BYTES / (map.channels.next_multiple_of(LANES) * map.width * size_of::<f32>());
    (rows / STRIP_STEP * STRIP_STEP).max(STRIP_STEP)
}

impl Buffers {
    pub(crate) fn new(config: &UNet3PlusConfig, stages: &EncoderLayers, size: [usize; 2]) -> Self {
        let levels = config.filters.len();
        let map = |channels, [height, width]: [usize; 2]| BlockedShape { channels, height, width };
        let at = |level: usize| size.map(|side| (side / config.encoder.stride()) >> level);
        let shape = |channels: usize, level: usize| map(channels, at(level));
        let branch = config.filters[0].next_multiple_of(LANES);
        let width = config.filters[0] * levels;
        // the steps of a pass: the stages, then the nodes from the coarsest on; at the coarsest scale the stage is the node
        let node = |level: usize| 2 * (levels - 1) - level;
        let last = node(0);

        let mut plan = Plan::default();
        let striped = |plan: &mut Plan, shape: BlockedShape, rows: usize, kept: usize, step: usize| Striped {
            rows,
            window: plan.map(window(shape, rows, kept), step..=step),
        };
        let input = plan.map(map(config.in_channels, size), 0..=0);
        let (mut encoder, mut between, mut pooled) = (Vec::new(), Vec::new(), Vec::new());
        let mut residual = Vec::new();
        for (level, &channels) in config.filters.iter().enumerate() {
            let map = shape(channels, level);
            match stages {
                // E(i) is the next stage's input as it is
                EncoderLayers::Residual(stages) => {
                    let input = if level == 0 { size } else { at(level - 1) };
                    residual.push(stages[level].scratch(&mut plan, level, input));
                }
                EncoderLayers::Convolutions(_) => {
                    between.push(striped(&mut plan, map, strip_rows(map), KEPT_FOR_TILES, level));
                }
            }
            // E5 is a source of every node
            let until = if level == levels - 1 { last } else { node(level) };
            encoder.push(plan.map(map, level..=until));
            // a map pooled once is read by the next stage, and each by the node of its scale
            let pool = |coarser: usize| plan.map(shape(channels, coarser), level..=node(coarser));
            let coarsest = match stages {
                EncoderLayers::Convolutions(_) => (levels - 2).max(level + 1).min(levels - 1),
                EncoderLayers::Residual(_) => levels - 2,
            };
            pooled.push((level + 1..=coarsest).map(pool).collect());
        }
        let decoder =
            (1..levels - 1).map(|level| plan.map(shape(width, level), node(level)..=last)).collect();
        let concatenation = |level: usize| {
            let map = shape(branch * levels, level);
            striped(&mut plan, map, strip_rows(map), KEPT_FOR_TILES, node(level))
        };
        let concatenations: Vec<_> = (0..levels - 1).map(concatenation).collect();
        // as many rows as come of the branches, and the tile that the last strip has more
        let finest = striped(&mut plan, shape(width, 0), concatenations[0].rows + TILE, KEPT_FOR_HEAD, last);
        let memory = plan.memory();
        Self { size, memory, input, encoder, between, residual, pooled, decoder, finest, concatenations }
    }
}
