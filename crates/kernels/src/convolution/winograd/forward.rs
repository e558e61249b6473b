//! The convolution itself.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::Tile;
use super::pack::Pack;
use super::source::{Adding, Sink, TileInput};
use super::step::TileBlock;
use super::tiles::{Patch, blocks};
use super::transform::{F2, F4, Transform};
use crate::aligned::{AlignedBuffer, with_scratch};
use crate::blocked::{AFTER, BEFORE, BlockedView, BlockedViewMut};
use crate::convolution::channels::{ColumnGroups, InputBlocks, checked_channels};
use crate::convolution::epilogue::Epilogue;
use crate::simd::{Isa, LANES, Simd, Task};
use crate::sizes::{check_layer, count};
use crate::write::Write;

/// Tiles of a block that one task takes through all three phases.
const BLOCK_TILES: usize = 56;
/// With fewer blocks than this, or with weights so large that blocks would read them too often, all tiles go through
/// each phase together.
const FEW_BLOCKS: usize = 4;
/// Most tiles that go through the phases together.
const MOST_TOGETHER: usize = 448;
/// Elements of transformed weights for each tile above which reading them costs more than sharing phases.
const WEIGHTS_PER_TILE: usize = 1 << 15;

/// A 3x3 convolution's weights, transformed and packed.
pub(crate) struct Winograd {
    isa: Isa,
    tile: Tile,
    pub(crate) inputs: InputBlocks,
    pub(crate) outputs: usize,
    /// `[SIDE * SIDE]` packed matrices of `inputs` rows and `outputs` columns.
    pub(crate) weights: AlignedBuffer,
    pub(crate) epilogue: Epilogue,
}

impl Winograd {
    /// `weight(o, c)` are the nine taps of output `o` and input `c`, row-major; `memory` is what the packed weights may
    /// lie in.
    pub(crate) fn new(
        isa: Isa,
        tile: Tile,
        inputs: InputBlocks,
        outputs: usize,
        weight: impl Fn(usize, usize) -> [f32; 9] + Sync,
        memory: AlignedBuffer,
    ) -> Self {
        let inputs_ref = &inputs;
        let weights = match tile {
            Tile::Two => {
                isa.run(Pack { transform: PhantomData::<F2>, inputs: inputs_ref, outputs, weight, memory })
            }
            Tile::Four => {
                isa.run(Pack { transform: PhantomData::<F4>, inputs: inputs_ref, outputs, weight, memory })
            }
        };
        Self { isa, tile, inputs, outputs, weights, epilogue: Epilogue::new(outputs) }
    }

    /// Convolves `images` images.
    pub(crate) fn run(&self, images: usize, x: &impl TileInput, y: &impl Sink) {
        match self.tile {
            Tile::Two => self.isa.run(Run { transform: PhantomData::<F2>, layer: self, images, x, y }),
            Tile::Four => self.isa.run(Run { transform: PhantomData::<F4>, layer: self, images, x, y }),
        }
    }
}

/// A 3x3 convolution by Winograd's algorithm, with bias and ReLU where asked, between blocked maps.
///
/// `y[o, i, j] = bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[c, i + ky - 1, j + kx - 1]`; the halo of `x`
/// is its zero padding. The multiplications that [`Tile`] says, exact up to rounding: relative errors of 3e-7 (2x2)
/// and 1e-6 (4x4) in f32.
pub struct WinogradConv2d(Winograd);

impl WinogradConv2d {
    /// Transforms and packs `weight` (`[out, in, 3, 3]`). `parts` are the channels of the maps that the input is a
    /// concatenation of, each of which starts a block; without concatenation, the input channels alone. The outputs are as
    /// many as `weight` is long enough for.
    ///
    /// # Panics
    /// Where the parts, or the length of `weight`, do not fit: `parts: ...`, `weight: ...`.
    pub fn new(isa: Isa, tile: Tile, parts: &[usize], weight: &[f32]) -> Self {
        let (inputs, outputs) = checked_channels(parts, 3, weight);
        let total = inputs.total();
        let taps = |o: usize, c: usize| std::array::from_fn(|tap| weight[(o * total + c) * 9 + tap]);
        Self::packed(isa, tile, inputs, outputs, taps, AlignedBuffer::zeroed(0))
    }

    /// With a bias for each output, in place of 0.
    ///
    /// # Panics
    /// Where there are not as many: `bias: ...`.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Self {
        self.0.epilogue.set_bias(bias);
        self
    }

    /// With ReLU behind it.
    #[must_use]
    pub fn with_relu(mut self) -> Self {
        self.0.epilogue.set_relu();
        self
    }

    /// [`WinogradConv2d::new`], packed into `memory` where that suffices.
    pub(crate) fn packed(
        isa: Isa,
        tile: Tile,
        inputs: InputBlocks,
        outputs: usize,
        taps: impl Fn(usize, usize) -> [f32; 9] + Sync,
        memory: AlignedBuffer,
    ) -> Self {
        Self(Winograd::new(isa, tile, inputs, outputs, taps, memory))
    }

    pub(crate) fn into_memory(self) -> AlignedBuffer {
        self.0.weights
    }

    /// Convolves `x` into `y`: rows, columns and the convolution's channels of both must agree.
    ///
    /// # Panics
    /// Where they do not: `x: ...`, `y: ...`.
    pub fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
        self.apply(x, y, Write::Replace);
    }

    pub(crate) fn apply(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, write: Write) {
        let blocks = [self.0.inputs.len(), self.0.outputs.div_ceil(LANES)];
        check_layer([("x", x.layout.dims()), ("y", y.layout.dims())], blocks);
        let [_, height, width] = x.size();
        let tile = if self.0.tile == Tile::Two { 2 } else { 4 };
        let over = |side: usize| side.next_multiple_of(tile) - side + 1;
        debug_assert!(over(1) <= AFTER && BEFORE == 1);
        x.check_reach(over(height), over(width));
        let images = x.layout.images;
        match write {
            Write::Replace => self.0.run(images, &x, &y),
            Write::Add => self.0.run(images, &x, &Adding(y)),
        }
    }

    /// Multiply-adds for a map of this size, at most `u64::MAX`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let (tile, side) = if self.0.tile == Tile::Two { (2, 4) } else { (4, 6) };
        let tiles = [height, width].map(|length| length.div_ceil(tile));
        count(&[tiles[0], tiles[1], side, side, self.0.inputs.total(), self.0.outputs])
    }
}

struct Run<'a, T, X, Y> {
    transform: PhantomData<T>,
    layer: &'a Winograd,
    images: usize,
    x: &'a X,
    y: &'a Y,
}

impl<T: Transform, X: TileInput, Y: Sink> Task for Run<'_, T, X, Y> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { layer, images, x, y, .. } = self;
        let [height, width] = y.size();
        let (rows, cols) = (height.div_ceil(T::TILE), width.div_ceil(T::TILE));
        let depth = layer.inputs.len() * layer.inputs.segment;
        let groups = ColumnGroups::new(simd, layer.outputs, depth);
        let tiles = images * rows * cols;
        let apart = tiles.div_ceil(BLOCK_TILES);
        let together = apart < FEW_BLOCKS || groups.elements() / WEIGHTS_PER_TILE * T::SIDE * T::SIDE > tiles;
        let most = if together { MOST_TOGETHER } else { BLOCK_TILES };
        let step = |patches: &[Patch]| {
            let tiles = patches.iter().map(Patch::tiles).sum();
            TileBlock::<S, T, X, Y> {
                simd,
                layer,
                x,
                y,
                groups,
                patches: patches.to_vec(),
                tiles,
                transform: PhantomData,
            }
        };
        let blocks = blocks(images, rows, cols, most);
        if together {
            let mut memory = AlignedBuffer::zeroed(0);
            for block in &blocks {
                let step = step(block);
                if memory.len() < step.memory() {
                    memory = AlignedBuffer::zeroed(step.memory());
                }
                step.phases(&mut memory[..step.memory()]);
            }
        } else {
            blocks.par_iter().for_each(|block| {
                let step = step(block);
                with_scratch(step.memory() + step.patch_memory(), |scratch| {
                    let (memory, patch) = scratch.split_at_mut(step.memory());
                    step.all(memory, patch);
                });
            });
        }
    }
}
