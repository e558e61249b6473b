//! How a convolution's channels fall into blocks, and how its weights are packed for the micro-kernel.

use std::ops::Range;

use crate::aligned::AlignedBuffer;
use crate::panel::SEGMENT_STEP;
use crate::simd::{Isa, LANES, Simd, Task};
use crate::sizes::{check_whole, count, total};

/// The input channels of a convolution, block by block.
///
/// A concatenation of maps starts each of them at a new block, so that a branch of 8 channels fills half of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputBlocks {
    /// Input channels in each block.
    pub(crate) channels: Vec<Range<usize>>,
    /// Lanes of a block that count: the most channels in one, rounded up to [`SEGMENT_STEP`].
    pub(crate) segment: usize,
}

impl InputBlocks {
    /// The blocks of maps with `parts` channels, one behind the other; the caller has checked that each has some.
    pub(crate) fn new(parts: &[usize]) -> Self {
        let mut channels = Vec::new();
        let mut first = 0;
        for &part in parts {
            let end = first + part;
            channels.extend((first..end).step_by(LANES).map(|start| start..end.min(start + LANES)));
            first = end;
        }
        let longest = channels.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        Self { channels, segment: longest.next_multiple_of(SEGMENT_STEP) }
    }

    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// The input channel in a lane, counted over all blocks; none where the lane is filling.
    pub(crate) fn channel(&self, lane: usize) -> Option<usize> {
        let channels = self.channels.get(lane / LANES)?;
        Some(channels.start + lane % LANES).filter(|channel| channels.contains(channel))
    }

    /// Memory for `len` packed weights: `old` where it suffices. What packing leaves out is zero.
    pub(crate) fn weights_memory(&self, old: AlignedBuffer, len: usize) -> AlignedBuffer {
        if old.len() < len {
            drop(old);
            return AlignedBuffer::zeroed(len);
        }
        let mut memory = old;
        if self.channels.iter().any(|channels| channels.len() < self.segment) {
            memory[..len].fill(0.0);
        }
        memory
    }

    /// Input channels.
    pub(crate) fn total(&self) -> usize {
        self.channels.last().map_or(0, |last| last.end)
    }
}

/// The columns of a packed matrix in groups of [`Simd::BLOCKS`] blocks, the last perhaps smaller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnGroups {
    /// Column blocks.
    pub(crate) blocks: usize,
    /// Column blocks in a group.
    group: usize,
    /// Rows of the matrix.
    depth: usize,
}

impl ColumnGroups {
    pub(crate) fn new<S: Simd>(_: S, columns: usize, depth: usize) -> Self {
        Self { blocks: columns.div_ceil(LANES), group: S::BLOCKS, depth }
    }

    /// Groups of a single block: `[block][row][lane]`.
    pub(crate) fn single(columns: usize, depth: usize) -> Self {
        Self { blocks: columns.div_ceil(LANES), group: 1, depth }
    }

    /// The column blocks of each group.
    pub(crate) fn iter(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.blocks).step_by(self.group).map(move |first| first..self.blocks.min(first + self.group))
    }

    pub(crate) fn count(self) -> usize {
        self.blocks.div_ceil(self.group)
    }

    /// The column blocks of group `index`.
    pub(crate) fn at(self, index: usize) -> Range<usize> {
        let first = index * self.group;
        first..self.blocks.min(first + self.group)
    }

    /// Elements of the packed matrix.
    pub(crate) fn elements(self) -> usize {
        self.blocks * LANES * self.depth
    }

    /// Where the group that starts at column block `first` lies.
    pub(crate) fn start(self, first: usize) -> usize {
        first * LANES * self.depth
    }

    /// Where row `k` of column block `block` lies, sixteen neighbouring columns.
    pub(crate) fn layout(self, k: usize, block: usize) -> usize {
        let first = block - block % self.group;
        let width = self.group.min(self.blocks - first);
        self.start(first) + (k * width + block - first) * LANES
    }
}

/// Packs `weight` (`[outputs, inputs, 3, 3]`) for `S`: `position(block, lane, tap, output)` is the row and the column of the
/// matrix that a weight goes to, `[rows, columns]` are the matrix's.
pub(crate) fn pack_weights(
    isa: Isa,
    inputs: &InputBlocks,
    weight: &[f32],
    [rows, columns]: [usize; 2],
    position: impl Fn(usize, usize, usize, usize) -> [usize; 2],
) -> AlignedBuffer {
    let groups = isa.run(Groups { columns, depth: rows });
    let mut packed = AlignedBuffer::zeroed(groups.elements());
    for (o, weight) in weight.chunks_exact(9 * inputs.total()).enumerate() {
        for (block, channels) in inputs.channels.iter().enumerate() {
            for (lane, channel) in channels.clone().enumerate() {
                for (tap, &weight) in weight[channel * 9..][..9].iter().enumerate() {
                    let [k, column] = position(block, lane, tap, o);
                    packed[groups.layout(k, column / LANES) + column % LANES] = weight;
                }
            }
        }
    }
    packed
}

/// The groups that an instruction set takes.
pub(crate) struct Groups {
    pub(crate) columns: usize,
    pub(crate) depth: usize,
}

impl Task for Groups {
    type Output = ColumnGroups;

    fn run<S: Simd>(self, simd: S) -> ColumnGroups {
        ColumnGroups::new(simd, self.columns, self.depth)
    }
}

/// The blocks of an input of `parts`, and the outputs of a convolution of it with a kernel of `side` rows whose weights are
/// `weight`: what is packed is only as large as weights that exist.
#[track_caller]
pub(crate) fn checked_channels(parts: &[usize], side: usize, weight: &[f32]) -> (InputBlocks, usize) {
    let outputs = check_whole("weight", weight.len(), &[total(parts), side, side]);
    (InputBlocks::new(parts), outputs)
}

/// Multiply-adds of nine taps of every input and output for each of `height * width` pixels, at most `u64::MAX`.
pub(crate) fn nine_taps(inputs: &InputBlocks, outputs: usize, height: usize, width: usize) -> u64 {
    count(&[9, inputs.total(), outputs, height, width])
}

/// The taps of a block of outputs, of which there are `outputs`, for one input channel; zero beyond the outputs.
pub(crate) fn taps_of_block(
    taps: &impl Fn(usize, usize) -> [f32; 9],
    outputs: usize,
    block: usize,
    channel: usize,
) -> [[f32; LANES]; 9] {
    let mut turned = [[0.0; LANES]; 9];
    for (lane, o) in (block * LANES..outputs).take(LANES).enumerate() {
        for (turned, value) in turned.iter_mut().zip(taps(o, channel)) {
            turned[lane] = value;
        }
    }
    turned
}
