//! Gradient of a 3x3 convolution with respect to its weight: the adjoint of the algorithm in its weights.
//!
//! The convolution is `y = A^T [U * V] A` with `U = G g G^T` and `V = B^T d B`, so that
//! `grad g = G^T [sum over tiles of V * (A grad_y A^T)] G`: as many multiplications as forward.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::source::TileInput;
use super::step::{at, at_mut};
use super::tiles::{Patch, blocks};
use super::transform::{F4, Transform, two_dimensional};
use crate::aligned::{AlignedBuffer, with_scratch};
use crate::convolution::channels::{ColumnGroups, InputBlocks};
use crate::panel::{Panel, SEGMENT_STEP, Start};
use crate::shared::Shared;
use crate::simd::{Isa, LANES, Simd, Task};

/// Elements of transformed inputs and gradients that are held at once: 16 MB, which a shared cache keeps.
const HELD: usize = 1 << 22;
/// Fewest tiles that are summed before the sums go back to memory.
const FEWEST_TILES: usize = 64;
/// Tiles that one task transforms.
const PATCH_TILES: usize = 32;

/// `grad_w[o, c, ky, kx] = sum over images and pixels of grad_y[o, i, j] x[c, i + ky - 1, j + kx - 1]`, by F(4x4, 3x3), in
/// `memory`, which grows as needed and is best used again.
pub(crate) fn weight_gradient<X: TileInput, Y: TileInput>(
    isa: Isa,
    images: usize,
    size: [usize; 2],
    (x, inputs): (&X, &InputBlocks),
    (grad_y, outputs): (&Y, usize),
    grad_w: &mut [f32],
    memory: &mut AlignedBuffer,
) {
    let transform = PhantomData::<F4>;
    isa.run(WeightGradient { transform, images, size, x, inputs, grad_y, outputs, grad_w, memory });
}

struct WeightGradient<'a, T, X, Y> {
    transform: PhantomData<T>,
    images: usize,
    /// Rows and columns.
    size: [usize; 2],
    x: &'a X,
    inputs: &'a InputBlocks,
    grad_y: &'a Y,
    outputs: usize,
    grad_w: &'a mut [f32],
    memory: &'a mut AlignedBuffer,
}

/// Transformed tiles: at each position a matrix of tiles and channels.
#[derive(Clone, Copy)]
struct Transformed {
    matrix: ColumnGroups,
    /// Elements between positions.
    stride: usize,
}

impl Transformed {
    fn new(matrix: ColumnGroups) -> Self {
        // off the same cache sets
        Self { matrix, stride: matrix.elements() + LANES }
    }
}

impl<T: Transform, X: TileInput, Y: TileInput> Task for WeightGradient<'_, T, X, Y> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { images, size: [height, width], x, inputs, grad_y, outputs, grad_w, memory, .. } = self;
        let positions = T::SIDE * T::SIDE;
        let (rows, cols) = (height.div_ceil(T::TILE), width.div_ceil(T::TILE));
        let depth = inputs.len() * LANES;
        let lanes = (depth + outputs.next_multiple_of(LANES)) * positions;
        let most = (HELD / lanes).max(FEWEST_TILES);
        let patches: Vec<Patch> = blocks(images, rows, cols, PATCH_TILES).into_iter().flatten().collect();
        // sums of the products: at each position a matrix of inputs and outputs
        let sums_of = Transformed::new(ColumnGroups::single(outputs, depth));
        // the most tiles that are held, and what they take
        let held = [images * rows * cols, most.max(PATCH_TILES)];
        let held = held.into_iter().min().unwrap_or(0).next_multiple_of(SEGMENT_STEP);
        let of_tiles = [ColumnGroups::single(depth, held), ColumnGroups::new(simd, outputs, held)];
        let elements =
            positions * of_tiles.map(|matrix| Transformed::new(matrix).stride).iter().sum::<usize>();
        let of_sums = positions * sums_of.stride;
        let (sums, memory) = memory.at_least(of_sums + elements).split_at_mut(of_sums);
        let mut rest = &patches[..];
        let mut first = true;
        while !rest.is_empty() {
            let mut tiles = 0;
            let count = rest.iter().take_while(|patch| {
                let fits = tiles == 0 || tiles + patch.tiles() <= most;
                tiles += if fits { patch.tiles() } else { 0 };
                fits
            });
            let (now, later) = rest.split_at(count.count());
            rest = later;
            // the sum runs over whole steps of the micro-kernel: tiles beyond the last are zero
            let filled = tiles.next_multiple_of(SEGMENT_STEP);
            let of_x = Transformed::new(ColumnGroups::single(depth, filled));
            let of_y = Transformed::new(ColumnGroups::new(simd, outputs, filled));
            let needed = positions * (of_x.stride + of_y.stride);
            let (for_x, for_y) = memory[..needed].split_at_mut(positions * of_x.stride);
            transform::<S, T, _, false>(simd, now, x, of_x, for_x);
            transform::<S, T, _, true>(simd, now, grad_y, of_y, for_y);
            for (of, data) in [(of_x, &mut *for_x), (of_y, &mut *for_y)] {
                clear_tiles(of, data, tiles..filled);
            }
            multiply(simd, [of_x, of_y], [for_x, for_y], filled, first, sums_of, sums);
            first = false;
        }
        gather::<S, T>(simd, inputs, outputs, sums_of, sums, grad_w);
    }
}

/// Transforms the tiles of `patches`: inputs by `B^T d B`, gradients (`ADJOINT`) by `A y A^T`.
fn transform<S: Simd, T: Transform, P: TileInput, const ADJOINT: bool>(
    s: S,
    patches: &[Patch],
    source: &P,
    of: Transformed,
    data: &mut [f32],
) {
    let pad = if ADJOINT { 0 } else { 1 };
    let side = if ADJOINT { T::TILE } else { T::SIDE };
    let out = Shared::new(data);
    let starts = patches.iter().scan(0, |next, patch| {
        let start = *next;
        *next += patch.tiles();
        Some(start)
    });
    let tasks: Vec<_> = patches.iter().zip(starts).collect();
    let blocks = of.matrix.blocks;
    (0..tasks.len() * blocks).into_par_iter().for_each(|task| {
        let ((patch, start), block) = (tasks[task / blocks], task % blocks);
        let pixels = |tiles: usize| tiles * T::TILE + 2 * pad;
        let scratch = source.scratch(pixels(patch.rows.len()), pixels(patch.cols.len()));
        with_scratch(scratch, |scratch| {
            // SAFETY: the scratch is as long as asked for.
            let (from, pitch) = unsafe { source.patch(s, patch, [T::TILE, pad], block, scratch) };
            let cols = patch.cols.len();
            s.vectorize(
                #[inline(always)]
                || {
                    for i in 0..patch.tiles() {
                        // SAFETY: the source gives `side` rows and columns from each tile's corner.
                        let tile = unsafe { from.add((i / cols * pitch + i % cols * LANES) * T::TILE) };
                        let to = of.matrix.layout(start + i, block);
                        // SAFETY: these tiles of this block are this task's alone.
                        let to = unsafe { out.at(to, (T::SIDE * T::SIDE - 1) * of.stride + LANES - 1) };
                        // SAFETY: the tile's pixels, and the reach asked for above.
                        let (load, store) =
                            unsafe { (at(tile, pitch, LANES), at_mut(to, T::SIDE * of.stride, of.stride)) };
                        two_dimensional(
                            s,
                            [side, T::SIDE],
                            #[inline(always)]
                            |s, line| if ADJOINT { T::output_adjoint(s, line) } else { T::input(s, line) },
                            #[inline(always)]
                            |y, x| s.load(load(y, x)),
                            #[inline(always)]
                            |y, x, value| s.store(value, store(y, x)),
                        );
                    }
                },
            );
        });
    });
}

fn clear_tiles(of: Transformed, data: &mut [f32], tiles: std::ops::Range<usize>) {
    for position in data.chunks_exact_mut(of.stride) {
        for block in 0..of.matrix.blocks {
            for tile in tiles.clone() {
                position[of.matrix.layout(tile, block)..][..LANES].fill(0.0);
            }
        }
    }
}

/// `sums = x^T y` at every position, or `sums += x^T y` where they are not the first.
fn multiply<S: Simd>(
    simd: S,
    [of_x, of_y]: [Transformed; 2],
    [x, y]: [&mut [f32]; 2],
    tiles: usize,
    first: bool,
    sums_of: Transformed,
    sums: &mut [f32],
) {
    let (positions, groups) = (x.len() / of_x.stride, of_y.matrix.count());
    let segments: Vec<usize> = (0..tiles).step_by(SEGMENT_STEP).map(|tile| tile * LANES).collect();
    let out = Shared::new(sums);
    (0..positions * groups).into_par_iter().for_each(|task| {
        let (position, group) = (task / groups, of_y.matrix.at(task % groups));
        let b = &y[position * of_y.stride + of_y.matrix.start(group.start)..][..tiles * group.len() * LANES];
        for block in 0..of_x.matrix.blocks {
            let a = &x[position * of_x.stride + of_x.matrix.start(block)..][..tiles * LANES];
            for row in (0..LANES).step_by(S::OUTER_ROWS) {
                let c = position * sums_of.stride + sums_of.matrix.layout(block * LANES + row, group.start);
                let block_stride = sums_of.matrix.start(1);
                let reach = (group.len() - 1) * block_stride + S::OUTER_ROWS * LANES - 1;
                // SAFETY: `a` holds sixteen rows and `b` the group's columns for every tile; the sums of this position and
                // these columns are this task's alone.
                unsafe {
                    let panel = Panel {
                        a: a[row..].as_ptr(),
                        a_stride: LANES,
                        segments: &segments,
                        segment: SEGMENT_STEP,
                        b: b.as_ptr(),
                        b_strides: [group.len() * LANES, LANES],
                        c: out.at(c, reach),
                        c_stride: LANES,
                        block_stride,
                        start: if first { Start::Zero } else { Start::Output },
                        lower_bound: f32::NEG_INFINITY,
                    };
                    simd.outer_panel(group.len(), &panel);
                }
            }
        }
    });
}

/// `grad_w = G^T sums G`.
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
fn gather<S: Simd, T: Transform>(
    simd: S,
    inputs: &InputBlocks,
    outputs: usize,
    sums_of: Transformed,
    sums: &[f32],
    grad_w: &mut [f32],
) {
    let kernel = T::kernel().map(|row| row.map(|value| value as f32));
    let total = inputs.total();
    assert_eq!(grad_w.len(), outputs * total * 9);
    grad_w.par_chunks_mut(LANES * total * 9).enumerate().for_each(|(block, grad_w)| {
        let lanes = (0..inputs.len() * LANES).filter_map(|lane| Some((lane, inputs.channel(lane)?)));
        for (lane, channel) in lanes {
            let mut taps = [[0.0f32; LANES]; 9];
            simd.vectorize(
                #[inline(always)]
                || {
                    let mut totals = [simd.splat(0.0); 9];
                    for i in 0..T::SIDE {
                        let mut row = [simd.splat(0.0); 3];
                        for j in 0..T::SIDE {
                            let at = (i * T::SIDE + j) * sums_of.stride + sums_of.matrix.layout(lane, block);
                            let sums = simd.load(&sums[at..].as_chunks::<LANES>().0[0]);
                            for kx in 0..3 {
                                row[kx] = simd.mul_add(simd.splat(kernel[j][kx]), sums, row[kx]);
                            }
                        }
                        for tap in 0..9 {
                            let g = simd.splat(kernel[i][tap / 3]);
                            totals[tap] = simd.mul_add(g, row[tap % 3], totals[tap]);
                        }
                    }
                    for tap in 0..9 {
                        simd.store(totals[tap], &mut taps[tap]);
                    }
                },
            );
            for (o, grad_w) in grad_w.chunks_exact_mut(total * 9).enumerate() {
                for (to, taps) in grad_w[channel * 9..][..9].iter_mut().zip(&taps) {
                    *to = taps[o];
                }
            }
        }
    });
}
