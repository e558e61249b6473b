//! The convolution itself.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::Tile;
use super::tiles::{Panels, Patch, blocks};
use super::transform::{F2, F4, Transform, two_dimensional};
use crate::aligned::{AlignedBuffer, with_scratch};
use crate::blocked::{AFTER, BEFORE, BlockedView, BlockedViewMut};
use crate::channels::{ColumnGroups, InputBlocks, checked_inputs, pack_bias, taps_of_block};
use crate::panel::{PACKED, Panel, Start};
use crate::shared::Shared;
use crate::simd::{Block, Isa, LANES, Simd, Task};
use crate::training::Write;

/// Tiles of a block that one task takes through all three phases.
const BLOCK_TILES: usize = 56;
/// Transformed weights of one place above this size are read once for a block: columns outside, tiles inside.
const CACHED_WEIGHTS: usize = 1 << 17;
/// With fewer blocks than this, or with weights so large that blocks would read them too often, all tiles go through
/// each phase together.
const FEW_BLOCKS: usize = 4;
/// Elements of transformed weights for each tile above which reading them costs more than sharing phases.
const WEIGHTS_PER_TILE: usize = 1 << 15;

/// Where the inputs of tiles come from.
pub(crate) trait Source: Sync {
    /// Elements of scratch that a patch of these rows and columns of pixels needs.
    fn scratch(&self, rows: usize, cols: usize) -> usize;

    /// The pixels of `patch` in tiles of a side, with pixels of padding around, of one block of channels: a pointer
    /// to the first and the elements between rows.
    ///
    /// # Safety
    /// `scratch` is as long as [`Source::scratch`] says, and the pointer is used while it lives.
    unsafe fn patch<S: Simd>(
        &self,
        simd: S,
        patch: &Patch,
        tile_and_pad: [usize; 2],
        block: usize,
        scratch: &mut [f32],
    ) -> (*const f32, usize);
}

/// Where the outputs of tiles go.
pub(crate) trait Sink: Sync {
    /// Whether outputs are added to what is there.
    const ADDS: bool = false;

    /// Rows and columns of the image.
    fn size(&self) -> [usize; 2];

    /// Elements of scratch that a patch of these rows and columns of pixels needs.
    fn scratch(&self, rows: usize, cols: usize) -> usize;

    /// Where to write the pixels of `patch`: a pointer to the first and the elements between rows.
    ///
    /// # Safety
    /// As for [`Source::patch`], and no other task writes this patch of this block.
    unsafe fn place(
        &self,
        patch: &Patch,
        tile: usize,
        block: usize,
        scratch: &mut [f32],
    ) -> (*mut f32, usize);

    /// Called when the patch of this block is written.
    ///
    /// # Safety
    /// As for [`Sink::place`].
    unsafe fn finish<S: Simd>(&self, simd: S, patch: &Patch, tile: usize, block: usize, scratch: &[f32]);
}

impl Source for BlockedView<'_> {
    fn scratch(&self, _: usize, _: usize) -> usize {
        0
    }
    #[inline(always)]
    unsafe fn patch<S: Simd>(
        &self,
        _: S,
        patch: &Patch,
        [tile, pad]: [usize; 2],
        block: usize,
        _: &mut [f32],
    ) -> (*const f32, usize) {
        let first = self.place.at(block, patch.rows.start * tile, patch.cols.start * tile);
        let first = first + patch.image * self.place.image;
        let corner = first - pad * (self.place.pitch + LANES);
        (self.data[corner..].as_ptr(), self.place.pitch)
    }
}

impl Sink for BlockedViewMut<'_> {
    fn size(&self) -> [usize; 2] {
        [self.place.height, self.place.width]
    }
    fn scratch(&self, _: usize, _: usize) -> usize {
        0
    }
    #[inline(always)]
    unsafe fn place(&self, patch: &Patch, tile: usize, block: usize, _: &mut [f32]) -> (*mut f32, usize) {
        let [row, col] = [patch.rows.start * tile, patch.cols.start * tile];
        let last_row = self.place.height.min(patch.rows.end * tile) - 1;
        let last_col = self.place.width.min(patch.cols.end * tile) - 1;
        let first = self.place.at(block, row, col);
        let reach = self.place.at(block, last_row, last_col) + LANES - 1 - first;
        let first = first + patch.image * self.place.image;
        // SAFETY: the caller's promise.
        (unsafe { self.data.at(first, reach) }, self.place.pitch)
    }
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, _: S, _: &Patch, _: usize, _: usize, _: &[f32]) {}
}

/// A map that outputs are added to.
struct Adding<'a>(BlockedViewMut<'a>);

impl Sink for Adding<'_> {
    const ADDS: bool = true;

    fn size(&self) -> [usize; 2] {
        Sink::size(&self.0)
    }
    fn scratch(&self, rows: usize, cols: usize) -> usize {
        Sink::scratch(&self.0, rows, cols)
    }
    #[inline(always)]
    unsafe fn place(
        &self,
        patch: &Patch,
        tile: usize,
        block: usize,
        scratch: &mut [f32],
    ) -> (*mut f32, usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.place(patch, tile, block, scratch) }
    }
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, _: S, _: &Patch, _: usize, _: usize, _: &[f32]) {}
}

/// A 3x3 convolution's weights, transformed and packed, with its bias.
pub(crate) struct Winograd {
    isa: Isa,
    tile: Tile,
    inputs: InputBlocks,
    outputs: usize,
    /// `[SIDE * SIDE]` packed matrices of `inputs` rows and `outputs` columns.
    weights: AlignedBuffer,
    bias: AlignedBuffer,
    floor: f32,
}

impl Winograd {
    /// `weight(o, c)` are the nine taps of output `o` and input `c`, row-major; `memory` is what the packed weights may
    /// lie in.
    #[allow(clippy::too_many_arguments)] // a layer's own parts
    pub(crate) fn new(
        isa: Isa,
        tile: Tile,
        inputs: InputBlocks,
        outputs: usize,
        weight: impl Fn(usize, usize) -> [f32; 9] + Sync,
        bias: &[f32],
        relu: bool,
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
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        Self { isa, tile, inputs, outputs, weights, bias: pack_bias(bias), floor }
    }

    /// Convolves `images` images.
    pub(crate) fn run(&self, images: usize, x: &impl Source, y: &impl Sink) {
        match self.tile {
            Tile::Two => self.isa.run(Run { transform: PhantomData::<F2>, layer: self, images, x, y }),
            Tile::Four => self.isa.run(Run { transform: PhantomData::<F4>, layer: self, images, x, y }),
        }
    }
}

/// A 3x3 convolution by Winograd's algorithm, with bias and ReLU, between blocked maps.
///
/// `y[o, i, j] = max(0, bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[c, i + ky - 1, j + kx - 1])`; the halo of `x`
/// is its zero padding. The multiplications that [`Tile`] says, exact up to rounding: relative errors of 3e-7 (2x2)
/// and 1e-6 (4x4) in f32.
pub struct WinogradConv2d(Winograd);

impl WinogradConv2d {
    /// Transforms and packs `weight` (`[out, in, 3, 3]`). `parts` are the channels of the maps that the input is a
    /// concatenation of, each of which starts a block; without concatenation, the input channels alone.
    ///
    /// # Panics
    /// Where the lengths of `weight` and `bias` do not fit the channels.
    pub fn new(isa: Isa, tile: Tile, parts: &[usize], weight: &[f32], bias: &[f32], relu: bool) -> Self {
        let inputs = checked_inputs(parts, weight, bias);
        let total = inputs.total();
        let taps = |o: usize, c: usize| std::array::from_fn(|tap| weight[(o * total + c) * 9 + tap]);
        Self(Winograd::new(isa, tile, inputs, bias.len(), taps, bias, relu, AlignedBuffer::zeroed(0)))
    }

    /// Without bias and ReLU, packed into `memory` where that suffices.
    pub(crate) fn packed(
        isa: Isa,
        tile: Tile,
        inputs: InputBlocks,
        outputs: usize,
        taps: impl Fn(usize, usize) -> [f32; 9] + Sync,
        memory: AlignedBuffer,
    ) -> Self {
        let bias = vec![0.0; outputs];
        Self(Winograd::new(isa, tile, inputs, outputs, taps, &bias, false, memory))
    }

    pub(crate) fn into_memory(self) -> AlignedBuffer {
        self.0.weights
    }

    /// Convolves `x` into `y`: rows, columns and the convolution's channels of both must agree.
    ///
    /// # Panics
    /// Where they do not.
    pub fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
        self.apply(x, y, Write::Replace);
    }

    pub(crate) fn apply(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, write: Write) {
        let ([inputs, height, width], [outputs, rows, cols]) = (x.size(), y.size());
        assert!(inputs == self.0.inputs.len() && outputs == self.0.outputs.div_ceil(LANES), "channels");
        assert!(height == rows && width == cols, "{height}x{width} to {rows}x{cols}");
        let tile = if self.0.tile == Tile::Two { 2 } else { 4 };
        let over = |side: usize| side.next_multiple_of(tile) - side + 1;
        debug_assert!(over(1) <= AFTER && BEFORE == 1);
        x.check_reach(over(height), over(width));
        let images = x.place.images;
        assert_eq!(images, y.place.images, "images");
        match write {
            Write::Replace => self.0.run(images, &x, &y),
            Write::Add => self.0.run(images, &x, &Adding(y)),
        }
    }

    /// Multiply-adds for a map of this size.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let (tile, side) = if self.0.tile == Tile::Two { (2, 4) } else { (4, 6) };
        let places = height.div_ceil(tile) * width.div_ceil(tile) * side * side;
        [places, self.0.inputs.total(), self.0.outputs].iter().map(|&n| n as u64).product()
    }
}

/// Transforms and packs weights.
struct Pack<'a, T, W> {
    transform: PhantomData<T>,
    inputs: &'a InputBlocks,
    outputs: usize,
    weight: W,
    memory: AlignedBuffer,
}

impl<T: Transform, W: Fn(usize, usize) -> [f32; 9] + Sync> Task for Pack<'_, T, W> {
    type Output = AlignedBuffer;

    #[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
    fn run<S: Simd>(self, simd: S) -> AlignedBuffer {
        let Self { inputs, outputs, weight, memory, .. } = self;
        let places = T::SIDE * T::SIDE;
        let depth = inputs.len() * inputs.segment;
        let groups = ColumnGroups::new(simd, outputs, depth);
        let mut packed = inputs.weights_memory(memory, places * groups.elements());
        let out = Shared::new(&mut packed);
        let kernel = T::kernel();
        (0..groups.blocks).into_par_iter().for_each(|block| {
            for (input_block, channels) in inputs.channels.iter().enumerate() {
                for (lane, channel) in channels.clone().enumerate() {
                    let taps = taps_of_block(&weight, outputs, block, channel);
                    let taps = taps.map(|lanes| lanes.map(f64::from));
                    let k = input_block * inputs.segment + lane;
                    simd.vectorize(
                        #[inline(always)]
                        || {
                            for i in 0..T::SIDE {
                                let mut row = [[0.0f64; LANES]; 3];
                                for kx in 0..3 {
                                    for ky in 0..3 {
                                        for lane in 0..LANES {
                                            row[kx][lane] += kernel[i][ky] * taps[3 * ky + kx][lane];
                                        }
                                    }
                                }
                                for j in 0..T::SIDE {
                                    let g = kernel[j];
                                    let at = (i * T::SIDE + j) * groups.elements() + groups.place(k, block);
                                    // SAFETY: this column block is this task's alone.
                                    let to = unsafe { out.slice(at, LANES) };
                                    for lane in 0..to.len() {
                                        let sum = g[0] * row[0][lane] + g[1] * row[1][lane];
                                        to[lane] = (sum + g[2] * row[2][lane]) as f32;
                                    }
                                }
                            }
                        },
                    );
                }
            }
        });
        packed
    }
}

struct Run<'a, T, X, Y> {
    transform: PhantomData<T>,
    layer: &'a Winograd,
    images: usize,
    x: &'a X,
    y: &'a Y,
}

impl<T: Transform, X: Source, Y: Sink> Task for Run<'_, T, X, Y> {
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
            Step::<S, T, X, Y> {
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

/// Most tiles that go through the phases together.
const MOST_TOGETHER: usize = 448;
/// Elements between the places of a transformed block, beyond its own: keeps them off the same cache sets.
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
struct Step<'a, S, T, X, Y> {
    simd: S,
    transform: PhantomData<T>,
    layer: &'a Winograd,
    x: &'a X,
    y: &'a Y,
    groups: ColumnGroups,
    patches: Vec<Patch>,
    tiles: usize,
}

impl<S: Simd, T: Transform, X: Source, Y: Sink> Step<'_, S, T, X, Y> {
    const PLACES: usize = T::SIDE * T::SIDE;

    /// Elements between places of the transformed inputs, `[place][panel][channel block][row][lane]`.
    fn input_stride(&self) -> usize {
        self.tiles * self.layer.inputs.len() * LANES + SKEW
    }

    /// Elements between places of the products, `[place][channel block][tile][lane]`.
    fn product_stride(&self) -> usize {
        self.tiles * self.groups.blocks * LANES + SKEW
    }

    fn memory(&self) -> usize {
        Self::PLACES * (self.input_stride() + self.product_stride())
    }

    fn patch_memory(&self) -> usize {
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
    fn all(&self, memory: &mut [f32], patch: &mut [f32]) {
        let memory = Shared::new(memory);
        for block in 0..self.layer.inputs.len() {
            self.transform_inputs(block, memory, patch);
        }
        for place in 0..Self::PLACES {
            self.multiply(place, memory);
        }
        for block in 0..self.groups.blocks {
            self.transform_outputs(block, memory, patch);
        }
    }

    /// Each phase by all threads.
    fn phases(&self, memory: &mut [f32]) {
        let memory = Shared::new(memory);
        let scratch = self.patch_memory();
        let blocks = 0..self.layer.inputs.len();
        blocks.into_par_iter().for_each(|block| {
            with_scratch(scratch, |patch| self.transform_inputs(block, memory, patch));
        });
        (0..Self::PLACES).into_par_iter().for_each(|place| self.multiply(place, memory));
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
                        let to = unsafe { memory.at(to, (Self::PLACES - 1) * stride + LANES - 1) };
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

    fn multiply(&self, place: usize, memory: Shared<'_, f32>) {
        let (inputs, groups) = (&self.layer.inputs, self.groups);
        let (a_start, c_start) =
            (place * self.input_stride(), Self::PLACES * self.input_stride() + place * self.product_stride());
        let weights = &self.layer.weights[place * groups.elements()..][..groups.elements()];
        let mut segments = Vec::new();
        let mut product = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            segments.clear();
            segments.extend((0..inputs.len()).map(|block| block * rows.len() * LANES));
            let a_reach = rows.len() * inputs.len() * LANES - 1;
            let c_reach = ((columns.len() - 1) * self.tiles + rows.len()) * LANES - 1;
            // SAFETY: inputs are read, and products written, at this place alone, which is this task's; the weights'
            // group is `columns` wide and as deep as the segments.
            unsafe {
                let panel = Panel {
                    a: memory.at(a_start + rows.start * inputs.len() * LANES, a_reach),
                    segments: &segments,
                    segment: inputs.segment,
                    b: weights[groups.start(columns.start)..].as_ptr(),
                    b_strides: PACKED,
                    c: memory.at(c_start + (columns.start * self.tiles + rows.start) * LANES, c_reach),
                    block_stride: self.tiles * LANES,
                    start: Start::Zero,
                    floor: f32::NEG_INFINITY,
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
        let (s, stride, floor) = (self.simd, self.product_stride(), self.layer.floor);
        let start = Self::PLACES * self.input_stride() + block * self.tiles * LANES;
        let bias = &self.layer.bias[block * LANES..].as_chunks::<LANES>().0[0];
        let [height, width] = self.y.size();
        let mut done = 0;
        for patch in &self.patches {
            // SAFETY: patches and blocks are disjoint, and this one is this task's.
            let (to, pitch) = unsafe { self.y.place(patch, T::TILE, block, scratch) };
            let cols = patch.cols.len();
            s.vectorize(
                #[inline(always)]
                || {
                    let (bias, floor) = (s.load(bias), s.splat(floor));
                    for (i, [row, col]) in patch.iter().enumerate() {
                        let from = start + (done + i) * LANES;
                        // SAFETY: the products of this block, which nobody writes any more.
                        let from = unsafe { memory.at(from, (Self::PLACES - 1) * stride + LANES - 1) };
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
                                    let (value, to) = (s.at_least(s.add(value, bias), floor), store(y, x));
                                    s.store(if Y::ADDS { s.add(s.load(to), value) } else { value }, to);
                                }
                            },
                        );
                    }
                },
            );
            done += patch.tiles();
            // SAFETY: as for its place.
            unsafe { self.y.finish(s, patch, T::TILE, block, scratch) };
        }
    }
}
