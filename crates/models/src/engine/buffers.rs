//! Memory for one input size, made once.

use unet3p_kernels::{AlignedBuffer, BlockedShape, BlockedView, BlockedViewMut, LANES, TapRows};

use super::compile::{Branch, Layers};
use crate::config::UNet3PlusConfig;

/// Memory that the strip of a concatenation takes, about: enough rows that all threads have blocks of tiles to share,
/// little beside the maps that exist whole.
const STRIP_BYTES: usize = 16 << 20;
/// Strips are a multiple of this many rows: whole tiles.
const STRIP_STEP: usize = 16;
/// Rows that a fusing convolution needs from before a strip: it follows a tile of 4 behind, and reads one more.
pub(crate) const KEPT_FOR_TILES: usize = 5;
/// Rows that a head needs from before a strip: it follows one behind, and reads one more.
pub(crate) const KEPT_FOR_HEAD: usize = 2;

/// A map that exists whole.
pub(crate) struct Map {
    pub(crate) shape: BlockedShape,
    data: AlignedBuffer,
}

impl Map {
    fn new(channels: usize, [height, width]: [usize; 2]) -> Self {
        let shape = BlockedShape { channels, height, width };
        Self { shape, data: AlignedBuffer::zeroed(shape.elements()) }
    }

    pub(crate) fn view(&self) -> BlockedView<'_> {
        self.shape.view(&self.data)
    }

    pub(crate) fn view_mut(&mut self) -> BlockedViewMut<'_> {
        self.shape.view_mut(&mut self.data)
    }
}

/// How a decoder node is computed.
pub(crate) struct NodeBuffers {
    /// The branches side by side: a map that exists in strips only.
    pub(crate) concatenation: BlockedShape,
    /// Rows of a strip.
    pub(crate) rows: usize,
    /// Low-resolution products of the upsampled branches.
    pub(crate) rings: Vec<Option<TapRows>>,
}

/// All maps of a forward pass.
pub(crate) struct Buffers {
    /// Rows and columns at full resolution.
    pub(crate) size: [usize; 2],
    pub(crate) input: Map,
    /// E1 to E5.
    pub(crate) encoder: Vec<Map>,
    /// `pooled[s][k]`: E(s+1) pooled by 2^(k+1).
    pub(crate) pooled: Vec<Vec<Map>>,
    /// D2, D3, D4.
    pub(crate) decoder: Vec<Map>,
    pub(crate) nodes: Vec<NodeBuffers>,
    /// Memory of the strips: of what lies between the convolutions of a stage or a node, one after the other, and of D1.
    pub(crate) strips: [AlignedBuffer; 2],
}

/// Rows of a strip of a map.
pub(crate) fn strip_rows(map: BlockedShape) -> usize {
    let rows = STRIP_BYTES / (map.channels.next_multiple_of(LANES) * map.width * size_of::<f32>());
    (rows / STRIP_STEP * STRIP_STEP).max(STRIP_STEP)
}

impl Buffers {
    pub(crate) fn new(config: &UNet3PlusConfig, layers: &Layers, size: [usize; 2]) -> Self {
        let levels = config.filters.len();
        let at = |level: usize| size.map(|side| side >> level);
        let map = |channels: usize, level: usize| {
            let [height, width] = at(level);
            BlockedShape { channels, height, width }
        };
        let branch = config.filters[0].next_multiple_of(LANES);
        let width = config.filters[0] * levels;
        let nodes = layers.nodes.iter().enumerate().map(|(level, node)| {
            let shape = map(branch * levels, level);
            let rows = strip_rows(shape);
            let ring = |(source, branch): (usize, &Branch)| match branch {
                Branch::Same(_) => None,
                Branch::Upsampled(layer) => Some(layer.rows_for(rows.min(shape.height), at(source)[1])),
            };
            let rings = node.branches.iter().enumerate().map(ring).collect();
            NodeBuffers { concatenation: shape, rows, rings }
        });
        Self {
            size,
            input: Map::new(config.in_channels, size),
            encoder: config.filters.iter().enumerate().map(|(level, &n)| Map::new(n, at(level))).collect(),
            pooled: (0..levels - 1)
                .map(|level| {
                    // E4 is pooled for the next stage alone; the others for every coarser node as well
                    let times = (levels - 2 - level).max(1);
                    (1..=times).map(|k| Map::new(config.filters[level], at(level + k))).collect()
                })
                .collect(),
            decoder: (1..levels - 1).map(|level| Map::new(width, at(level))).collect(),
            nodes: nodes.collect(),
            strips: [AlignedBuffer::zeroed(0), AlignedBuffer::zeroed(0)],
        }
    }
}
