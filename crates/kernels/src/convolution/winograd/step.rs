//! A block of tiles on its way through the three phases.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::forward::Winograd;
use super::source::{Sink, TileInput};
use super::tiles::Patch;
use super::transform::{Transform, two_dimensional};
use crate::aligned::with_scratch;
use crate::convolution::channels::ColumnGroups;
use crate::panel::{PACKED, Panel, Panels, Start};
use crate::shared::Shared;
use crate::simd::{Block, LANES, Simd};

/// Transformed weights of one position above this size are read once for a block: columns outside, tiles inside.
const CACHED_WEIGHTS: usize = 1 << 17;
/// Elements between the positions of a transformed block, beyond its own: keeps them off the same cache sets.
const SKEW: usize = 17 * LANES;

/// The blocks of a grid of them, `row` and `col` elements apart.
///
/// # Safety
/// What is asked for lies in a live allocation and is not written while it is read.
#[inline(always)]
pub(crate) unsafe fn at<'a>(start: *const f32, row: usize, col: usize) -> impl Fn(usize, usize) -> &'a Block {
    // SAFETY: the caller's promise.
    move |y, x| unsafe { &*start.add(y * row + x * col).cast::<Block>() }
}

/// [`at`], to write.
///
/// # Safety
/// What is asked for lies in a live allocation, and nobody else reads or writes it meanwhile.
#[inline(always)]
pub(crate) unsafe fn at_mut<'a>(
    start: *mut f32,
    row: usize,
    col: usize,
) -> impl Fn(usize, usize) -> &'a mut Block {
    // SAFETY: the caller's promise.
    move |y, x| unsafe { &mut *start.add(y * row + x * col).cast::<Block>() }
}

/// A block of tiles on its way.
pub(crate) struct TileBlock<'a, S, T, X, Y> {
    pub(crate) simd: S,
    pub(crate) transform: PhantomData<T>,
    pub(crate) layer: &'a Winograd,
    pub(crate) x: &'a X,
    pub(crate) y: &'a Y,
    pub(crate) groups: ColumnGroups,
    pub(crate) patches: Vec<Patch>,
    pub(crate) tiles: usize,
}

impl<S: Simd, T: Transform, X: TileInput, Y: Sink> TileBlock<'_, S, T, X, Y> {
    const POSITIONS: usize = T::SIDE * T::SIDE;

    /// Elements between positions of the transformed inputs, `[position][panel][channel block][row][lane]`.
    fn input_stride(&self) -> usize {
        self.tiles * self.layer.inputs.len() * LANES + SKEW
    }

    /// Elements between positions of the products, `[position][channel block][tile][lane]`.
    fn product_stride(&self) -> usize {
        self.tiles * self.groups.blocks * LANES + SKEW
    }

    pub(crate) fn memory(&self) -> usize {
        Self::POSITIONS * (self.input_stride() + self.product_stride())
    }

    pub(crate) fn patch_memory(&self) -> usize {
        let size = |patch: &Patch| {
            let (rows, cols) = (patch.rows.len() * T::TILE, patch.cols.len() * T::TILE);
            self.x.scratch(rows + 2, cols + 2).max(self.y.scratch(rows, cols))
        };
        self.patches.iter().map(size).max().unwrap_or(0)
    }

    fn panels(&self) -> Panels {
        Panels::new(self.tiles, S::ROWS)
    }

    /// Everything, by this thread.
    pub(crate) fn all(&self, memory: &mut [f32], patch: &mut [f32]) {
        let memory = Shared::new(memory);
        for block in 0..self.layer.inputs.len() {
            self.transform_inputs(block, memory, patch);
        }
        for position in 0..Self::POSITIONS {
            self.multiply(position, memory);
        }
        for block in 0..self.groups.blocks {
            self.transform_outputs(block, memory, patch);
        }
    }

    /// Each phase by all threads.
    pub(crate) fn phases(&self, memory: &mut [f32]) {
        let memory = Shared::new(memory);
        let scratch = self.patch_memory();
        let blocks = 0..self.layer.inputs.len();
        blocks.into_par_iter().for_each(|block| {
            with_scratch(scratch, |patch| self.transform_inputs(block, memory, patch));
        });
        (0..Self::POSITIONS).into_par_iter().for_each(|position| self.multiply(position, memory));
        (0..self.groups.blocks).into_par_iter().for_each(|block| {
            with_scratch(scratch, |patch| self.transform_outputs(block, memory, patch));
        });
    }

    fn transform_inputs(&self, block: usize, memory: Shared<'_, f32>, scratch: &mut [f32]) {
        let (s, stride, blocks) = (self.simd, self.input_stride(), self.layer.inputs.len());
        let mut rows = self.panels().iter().flat_map(|panel| {
            let (first, height) = (panel.start * blocks * LANES, panel.len());
            (0..height).map(move |row| first + (block * height + row) * LANES)
        });
        for patch in &self.patches {
            // SAFETY: the scratch is as long as asked for.
            let (from, pitch) = unsafe { self.x.patch(s, patch, [T::TILE, 1], block, scratch) };
            let cols = patch.cols.len();
            s.vectorize(
                #[inline(always)]
                || {
                    for (i, to) in (0..patch.tiles()).zip(&mut rows) {
                        let corner = (i / cols * pitch + i % cols * LANES) * T::TILE;
                        // SAFETY: the source gives `SIDE` rows and columns from each tile's corner.
                        let tile = unsafe { from.add(corner) };
                        // SAFETY: this task's tiles of this block are its own.
                        let to = unsafe { memory.at(to, (Self::POSITIONS - 1) * stride + LANES - 1) };
                        // SAFETY: the tile's inputs, and the reach asked for above.
                        let (load, store) =
                            unsafe { (at(tile, pitch, LANES), at_mut(to, T::SIDE * stride, stride)) };
                        two_dimensional(
                            s,
                            [T::SIDE; 2],
                            #[inline(always)]
                            |s, line| T::input(s, line),
                            #[inline(always)]
                            |y, x| s.load(load(y, x)),
                            #[inline(always)]
                            |y, x, value| s.store(value, store(y, x)),
                        );
                    }
                },
            );
        }
    }

    fn multiply(&self, position: usize, memory: Shared<'_, f32>) {
        let (inputs, groups) = (&self.layer.inputs, self.groups);
        let (a_start, c_start) = (
            position * self.input_stride(),
            Self::POSITIONS * self.input_stride() + position * self.product_stride(),
        );
        let weights = &self.layer.weights[position * groups.elements()..][..groups.elements()];
        let mut segments = Vec::new();
        let mut product = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            segments.clear();
            segments.extend((0..inputs.len()).map(|block| block * rows.len() * LANES));
            let a_reach = rows.len() * inputs.len() * LANES - 1;
            let c_reach = ((columns.len() - 1) * self.tiles + rows.len()) * LANES - 1;
            // SAFETY: inputs are read, and products written, at this position alone, which is this task's; the weights'
            // group is `columns` wide and as deep as the segments.
            unsafe {
                let panel = Panel {
                    a: memory.at(a_start + rows.start * inputs.len() * LANES, a_reach),
                    a_stride: LANES,
                    segments: &segments,
                    segment: inputs.segment,
                    b: weights[groups.start(columns.start)..].as_ptr(),
                    b_strides: PACKED,
                    c: memory.at(c_start + (columns.start * self.tiles + rows.start) * LANES, c_reach),
                    c_stride: LANES,
                    block_stride: self.tiles * LANES,
                    start: Start::Zero,
                    lower_bound: f32::NEG_INFINITY,
                };
                self.simd.panel(rows.len(), columns.len(), &panel);
            }
        };
        if groups.elements() <= CACHED_WEIGHTS {
            self.panels()
                .iter()
                .for_each(|rows| groups.iter().for_each(|columns| product(rows.clone(), columns)));
        } else {
            groups
                .iter()
                .for_each(|columns| self.panels().iter().for_each(|rows| product(rows, columns.clone())));
        }
    }

    fn transform_outputs(&self, block: usize, memory: Shared<'_, f32>, scratch: &mut [f32]) {
        let (s, stride, lower_bound) = (self.simd, self.product_stride(), self.layer.epilogue.lower_bound);
        let start = Self::POSITIONS * self.input_stride() + block * self.tiles * LANES;
        let bias = &self.layer.epilogue.bias[block * LANES..].as_chunks::<LANES>().0[0];
        let [height, width] = self.y.size();
        let mut done = 0;
        for patch in &self.patches {
            // SAFETY: patches and blocks are disjoint, and this one is this task's.
            let (to, pitch) = unsafe { self.y.position(patch, T::TILE, block, scratch) };
            let cols = patch.cols.len();
            s.vectorize(
                #[inline(always)]
                || {
                    let (bias, lower_bound) = (s.load(bias), s.splat(lower_bound));
                    for (i, [row, col]) in patch.iter().enumerate() {
                        let from = start + (done + i) * LANES;
                        // SAFETY: the products of this block, which nobody writes any more.
                        let from = unsafe { memory.at(from, (Self::POSITIONS - 1) * stride + LANES - 1) };
                        let rows_left = height - row * T::TILE;
                        let cols_left = width - col * T::TILE;
                        // SAFETY: the tile's corner lies in the patch.
                        let to = unsafe { to.add((i / cols * pitch + i % cols * LANES) * T::TILE) };
                        // SAFETY: the reach asked for above, and pixels of the patch inside the image.
                        let (load, store) =
                            unsafe { (at(from, T::SIDE * stride, stride), at_mut(to, pitch, LANES)) };
                        two_dimensional(
                            s,
                            [T::SIDE, T::TILE],
                            #[inline(always)]
                            |s, line| T::output(s, line),
                            #[inline(always)]
                            |y, x| s.load(load(y, x)),
                            #[inline(always)]
                            |y, x, value| {
                                if y < rows_left && x < cols_left {
                                    let (value, to) =
                                        (s.at_least(s.add(value, bias), lower_bound), store(y, x));
                                    s.store(if Y::ADDS { s.add(s.load(to), value) } else { value }, to);
                                }
                            },
                        );
                    }
                },
            );
            done += patch.tiles();
            // SAFETY: as for its position.
            unsafe { self.y.finish(s, patch, T::TILE, block, scratch) };
        }
    }
}
