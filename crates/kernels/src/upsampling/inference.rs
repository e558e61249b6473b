//! 3x3 convolution of an upsampled map without upsampling it.
//!
//! Upsampling `U` acts on each channel alone, so it commutes with mixing channels: the convolution is
//! `b + sum over taps of shift_tap(U(W_tap x))`, where the shift fills with zeros outside. One matrix product at low
//! resolution gives the nine `z_tap = W_tap x`; for an output row a vertical pass adds, for each of the three column
//! taps, the three row taps of the upsampled rows; a horizontal pass adds the three column taps. About six multiply-
//! adds an output value replace `9 * in_channels`, and the sum is exact, borders included.

use std::ops::Range;

use rayon::prelude::*;

use crate::aligned::{AlignedBuffer, with_scratch};
use crate::blocked::{BlockedView, BlockedViewMut};
use crate::convolution::channels::{ColumnGroups, InputBlocks, checked_channels, nine_taps, pack_weights};
use crate::convolution::epilogue::Epilogue;
use crate::panel::{PACKED, Panel, Panels, Start};
use crate::shared::Shared;
use crate::simd::{Block, Isa, LANES, Simd, Task};
use crate::sizes::{check_range, check_scale, check_size, elements, scaled};
use crate::upsampling::bilinear::{Neighbours, sources};

/// `y = bias + conv3x3(U x)`, with bias and ReLU where asked, between blocked maps, where `U` is bilinear upsampling by a
/// whole factor (half-pixel centres, edges clamped) and the convolution pads with zeros.
pub struct UpsampledConv2d {
    isa: Isa,
    scale: usize,
    inputs: InputBlocks,
    outputs: usize,
    /// One packed matrix, columns `[tap][output]`, each tap from a new block on.
    weights: AlignedBuffer,
    epilogue: Epilogue,
}

/// Rows of `z` that are at hand, in a ring buffer: what one strip of output rows leaves for the next.
#[derive(Debug)]
pub struct TapRows {
    memory: AlignedBuffer,
    /// Rows that it holds.
    capacity: usize,
    present: Range<usize>,
}

impl UpsampledConv2d {
    /// Packs `weight` (`[out, in, 3, 3]`); `parts` as for [`crate::WinogradConv2d::new`].
    ///
    /// # Panics
    /// Where the parts, the length of `weight` or the scale do not fit: `parts: ...`, `weight: ...`, `scale: ...`.
    pub fn new(isa: Isa, scale: usize, parts: &[usize], weight: &[f32]) -> Self {
        let (inputs, outputs) = checked_channels(parts, 3, weight);
        check_scale(scale);
        let columns = outputs.next_multiple_of(LANES);
        let matrix = [inputs.len() * inputs.segment, 9 * columns];
        let weights = pack_weights(isa, &inputs, weight, matrix, |block, lane, tap, o| {
            [block * inputs.segment + lane, tap * columns + o]
        });
        Self { isa, scale, inputs, outputs, weights, epilogue: Epilogue::new(outputs) }
    }

    /// With a bias for each output, in place of 0.
    ///
    /// # Panics
    /// Where there are not as many: `bias: ...`.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Self {
        self.epilogue.set_bias(bias);
        self
    }

    /// With ReLU behind it.
    #[must_use]
    pub fn with_relu(mut self) -> Self {
        self.epilogue.set_relu();
        self
    }

    /// An empty buffer for strips of at most `rows` output rows of a map whose low-resolution rows are `width` long.
    ///
    /// # Panics
    /// Where there are no such rows, or their size exceeds the address space: `tap_rows: ...`.
    pub fn rows_for(&self, rows: usize, width: usize) -> TapRows {
        // a row of neighbours on each side, and the row below each of them
        elements("tap_rows", &[rows, width]);
        let capacity = rows.div_ceil(self.scale).saturating_add(3);
        let sides = [capacity, 9, self.output_blocks(), width, LANES];
        let memory = AlignedBuffer::zeroed(elements("tap_rows", &sides));
        TapRows { memory, capacity, present: 0..0 }
    }

    /// Writes output rows `rows` into `y`, whose first row is the first of them; `x` is the whole low-resolution map.
    /// Strips follow one another downwards; `tap_rows` start again with row 0.
    ///
    /// # Panics
    /// Where `x` or `y` has other channels, several images or another size (`x: ...`, `y: ...`, `scale: ...`), there are no
    /// such rows (`rows: ...`), or the `tap_rows` are for another map or fewer rows, or further down (`tap_rows: ...`).
    pub fn run(&self, x: BlockedView<'_>, rows: Range<usize>, y: BlockedViewMut<'_>, tap_rows: &mut TapRows) {
        let [_, height, width] = x.size();
        check_size("x", x.layout.dims(), [1, self.inputs.len(), height, width]);
        let [full_height, full_width] = scaled([height, width], self.scale);
        check_range("rows", &rows, full_height);
        check_size("y", y.layout.dims(), [1, self.output_blocks(), rows.len(), full_width]);
        x.check_reach(0, 0);
        let vertical = sources::<f32>(height, self.scale);
        let needed =
            vertical[rows.start.saturating_sub(1)].low..vertical[rows.end.min(vertical.len() - 1)].high + 1;
        check_size("tap_rows", tap_rows.memory.len() / tap_rows.capacity, self.row_elements(width));
        check_range("tap_rows", &(0..needed.len()), tap_rows.capacity);
        if rows.start == 0 {
            tap_rows.present = 0..0;
        }
        assert!(needed.start >= tap_rows.present.start, "tap_rows: {needed:?} behind {:?}", tap_rows.present);
        let missing = needed.start.max(tap_rows.present.end)..needed.end;
        tap_rows.present = needed.start..needed.end.max(tap_rows.present.end);
        self.isa.run(Products {
            layer: self,
            x,
            rows: missing,
            capacity: tap_rows.capacity,
            z: &mut tap_rows.memory,
        });
        self.isa.run(Sums {
            layer: self,
            rows,
            width,
            y,
            capacity: tap_rows.capacity,
            z: &tap_rows.memory,
            vertical: &vertical,
        });
    }

    /// Multiply-adds for a low-resolution map of this size, at most `u64::MAX`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        nine_taps(&self.inputs, self.outputs, height, width)
    }

    fn output_blocks(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    fn depth(&self) -> usize {
        self.inputs.len() * self.inputs.segment
    }

    /// Elements of a row of `z`: `[tap][output block][column][lane]`.
    fn row_elements(&self, width: usize) -> usize {
        9 * self.output_blocks() * width * LANES
    }
}

/// `z = W x` for some rows.
struct Products<'a> {
    layer: &'a UpsampledConv2d,
    x: BlockedView<'a>,
    rows: Range<usize>,
    capacity: usize,
    z: &'a mut [f32],
}

impl Task for Products<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { layer, x, rows, capacity, z } = self;
        let [blocks, _, width] = x.size();
        let groups = ColumnGroups::new(simd, 9 * layer.output_blocks() * LANES, layer.depth());
        let segments: Vec<usize> = (0..blocks).map(|block| block * x.layout.plane).collect();
        let row_elements = layer.row_elements(width);
        let z = Shared::new(z);
        // a task is some columns of all rows, so that its weights stay in the cache
        (0..groups.count()).into_par_iter().for_each(|group| {
            let columns = groups.at(group);
            let weights = &layer.weights[groups.start(columns.start)..];
            for row in rows.clone() {
                for pixels in Panels::new(width, S::ROWS).iter() {
                    let at = row % capacity * row_elements + (columns.start * width + pixels.start) * LANES;
                    let reach = ((columns.len() - 1) * width + pixels.len()) * LANES - 1;
                    // SAFETY: `x` was checked to hold its pixels; these columns of `z` are this task's alone.
                    unsafe {
                        let panel = Panel {
                            a: x.data[x.layout.at(0, row, pixels.start)..].as_ptr(),
                            a_stride: LANES,
                            segments: &segments,
                            segment: layer.inputs.segment,
                            b: weights.as_ptr(),
                            b_strides: PACKED,
                            c: z.at(at, reach),
                            c_stride: LANES,
                            block_stride: width * LANES,
                            start: Start::Zero,
                            lower_bound: f32::NEG_INFINITY,
                        };
                        simd.panel(pixels.len(), columns.len(), &panel);
                    }
                }
            }
        });
    }
}

/// The passes over `z`.
struct Sums<'a> {
    layer: &'a UpsampledConv2d,
    rows: Range<usize>,
    width: usize,
    y: BlockedViewMut<'a>,
    capacity: usize,
    z: &'a [f32],
    vertical: &'a [Neighbours<f32>],
}

/// A row of `z` and the weight with which it enters; none where the weight is 0.
type Term<'a> = (&'a [Block], f32);

impl Task for Sums<'_> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        #![allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
        let Self { layer, ref rows, width, ref y, .. } = self;
        let horizontal = sources::<f32>(width, layer.scale);
        let blocks = layer.output_blocks();
        (0..rows.len() * blocks).into_par_iter().with_min_len(blocks).for_each(|task| {
            let (row, block) = (task / blocks, task % blocks);
            let terms: [Vec<Term>; 3] = std::array::from_fn(|kx| self.terms(rows.start + row, kx, block));
            // SAFETY: this row of this block is this task's alone.
            let to = unsafe { y.data.slice(y.layout.at(block, row, 0), horizontal.len() * LANES) };
            let to = to.as_chunks_mut::<LANES>().0;
            let bias = &layer.epilogue.bias[block * LANES..].as_chunks::<LANES>().0[0];
            with_scratch(3 * width * LANES, |lines| {
                let lines = lines.as_chunks_mut::<LANES>().0;
                s.vectorize(
                    #[inline(always)]
                    || {
                        for kx in 0..3 {
                            weighted_sum(s, &terms[kx], &mut lines[kx * width..][..width]);
                        }
                        let (bias, lower_bound) = (s.load(bias), s.splat(layer.epilogue.lower_bound));
                        for j in 0..to.len() {
                            let mut sum = bias;
                            for kx in 0..3 {
                                // a column outside adds nothing
                                if let Some(source) = horizontal.get((j + kx).wrapping_sub(1)) {
                                    let line = &lines[kx * width..][..width];
                                    let (low, high) = (s.load(&line[source.low]), s.load(&line[source.high]));
                                    sum = s.mul_add(s.splat(1.0 - source.fraction), low, sum);
                                    sum = s.mul_add(s.splat(source.fraction), high, sum);
                                }
                            }
                            s.store(s.at_least(sum, lower_bound), &mut to[j]);
                        }
                    },
                );
            });
        });
    }
}

impl<'a> Sums<'a> {
    /// The rows of `z` that enter output row `row` for column tap `kx`.
    fn terms(&self, row: usize, kx: usize, block: usize) -> Vec<Term<'a>> {
        let elements = self.layer.row_elements(self.width);
        let line = |ky: usize, source: usize| {
            let column = ((3 * ky + kx) * self.layer.output_blocks() + block) * self.width * LANES;
            let start = source % self.capacity * elements + column;
            self.z[start..start + self.width * LANES].as_chunks::<LANES>().0
        };
        (0..3)
            // a row outside adds nothing
            .filter_map(|ky| Some((ky, self.vertical.get((row + ky).checked_sub(1)?)?)))
            .flat_map(|(ky, source)| {
                let low = (line(ky, source.low), 1.0 - source.fraction);
                [low, (line(ky, source.high), source.fraction)]
            })
            .filter(|&(_, weight)| weight != 0.0)
            .collect()
    }
}

/// `to = sum of weight * row`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
fn weighted_sum<S: Simd>(s: S, terms: &[Term], to: &mut [Block]) {
    if let [a, b, c, d, e, f] = terms {
        // away from the borders
        let [wa, wb, wc, wd, we, wf] = [a, b, c, d, e, f].map(|term| s.splat(term.1));
        let [a, b, c, d, e, f] = [a, b, c, d, e, f].map(|term| &term.0[..to.len()]);
        for i in 0..to.len() {
            let first = s.mul_add(wa, s.load(&a[i]), s.mul(wb, s.load(&b[i])));
            let second = s.mul_add(wc, s.load(&c[i]), s.mul(wd, s.load(&d[i])));
            let third = s.mul_add(we, s.load(&e[i]), s.mul(wf, s.load(&f[i])));
            s.store(s.add(s.add(first, second), third), &mut to[i]);
        }
        return;
    }
    for (i, to) in to.iter_mut().enumerate() {
        let mut sum = s.splat(0.0);
        for (row, weight) in terms {
            sum = s.mul_add(s.splat(*weight), s.load(&row[i]), sum);
        }
        s.store(sum, to);
    }
}
