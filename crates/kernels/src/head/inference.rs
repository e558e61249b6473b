//! 3x3 convolution to few channels, into dense planes: a segmentation head.

use std::ops::Range;

use rayon::prelude::*;

use crate::aligned::{AlignedBuffer, with_scratch};
use crate::blocked::BlockedView;
use crate::convolution::channels::{ColumnGroups, InputBlocks, checked_channels, nine_taps, pack_weights};
use crate::panel::{PACKED, Panel, Panels, Start};
use crate::shared::Shared;
use crate::simd::{Isa, LANES, Simd, Task};
use crate::sizes::{check_len, check_range, check_size};

/// `y[o, i, j] = bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[c, i + ky - 1, j + kx - 1]` from a blocked map to dense
/// planes, for so few outputs that a block of them would be nearly empty.
///
/// The products with all nine taps are one matrix product whose columns are taps times outputs, and so lie dense in
/// blocks; then nine shifted values are added for each output.
pub struct HeadConv2d {
    isa: Isa,
    inputs: InputBlocks,
    outputs: usize,
    /// One packed matrix, columns `[tap][output]` without gaps.
    weights: AlignedBuffer,
    bias: Vec<f32>,
}

/// Output rows of a task: it computes the products of a row before and one behind as well.
const TASK_ROWS: usize = 8;

impl HeadConv2d {
    /// Packs `weight` (`[out, in, 3, 3]`); `parts` as for [`crate::WinogradConv2d::new`].
    ///
    /// # Panics
    /// Where the parts, or the length of `weight`, do not fit: `parts: ...`, `weight: ...`.
    pub fn new(isa: Isa, parts: &[usize], weight: &[f32]) -> Self {
        let (inputs, outputs) = checked_channels(parts, 3, weight);
        let matrix = [inputs.len() * inputs.segment, 9 * outputs];
        let weights = pack_weights(isa, &inputs, weight, matrix, |block, lane, tap, o| {
            [block * inputs.segment + lane, tap * outputs + o]
        });
        Self { isa, inputs, outputs, weights, bias: vec![0.0; outputs] }
    }

    /// With a bias for each output, in place of 0.
    ///
    /// # Panics
    /// Where there are not as many: `bias: ...`.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Self {
        check_len("bias", bias.len(), &[self.outputs]);
        self.bias.copy_from_slice(bias);
        self
    }

    /// Writes rows of `planes` (`[out, height, width]`): those that `x`, a view of rows, shows, from row `first` on.
    ///
    /// # Panics
    /// Where `x` has other channels or several images (`x: ...`), `planes` is of another length (`planes: ...`), or has no
    /// such rows (`rows: ...`).
    pub fn run(&self, x: BlockedView<'_>, first: usize, height: usize, planes: &mut [f32]) {
        let [_, rows, width] = x.size();
        check_size("x", x.layout.dims(), [1, self.inputs.len(), rows, width]);
        check_len("planes", planes.len(), &[self.outputs, height, width]);
        check_range("rows", &(first..first.saturating_add(rows)), height);
        x.check_reach(1, 0);
        self.isa.run(Run { layer: self, x, first, height, planes });
    }

    /// Multiply-adds for a map of this size, at most `u64::MAX`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        nine_taps(&self.inputs, self.outputs, height, width)
    }
}

struct Run<'a> {
    layer: &'a HeadConv2d,
    x: BlockedView<'a>,
    first: usize,
    height: usize,
    planes: &'a mut [f32],
}

impl Task for Run<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { layer, x, first, height, planes } = self;
        let [blocks, rows, width] = x.size();
        let groups = ColumnGroups::new(simd, 9 * layer.outputs, blocks * layer.inputs.segment);
        let segments: Vec<usize> = (0..blocks).map(|block| block * x.layout.plane).collect();
        let row_elements = groups.blocks * width * LANES;
        let out = Shared::new(planes);
        let tasks: Vec<Range<usize>> =
            (0..rows).step_by(TASK_ROWS).map(|row| row..rows.min(row + TASK_ROWS)).collect();
        tasks.into_par_iter().for_each(|rows| {
            with_scratch((rows.len() + 2) * row_elements, |z| {
                let shared = Shared::new(z);
                // row i of z belongs to row `rows.start + i - 1` of x
                for i in 0..rows.len() + 2 {
                    let row = x.layout.at(0, rows.start + i, 0) - x.layout.pitch;
                    for columns in groups.iter() {
                        for pixels in Panels::new(width, S::ROWS).iter() {
                            let at = i * row_elements + (columns.start * width + pixels.start) * LANES;
                            let reach = ((columns.len() - 1) * width + pixels.len()) * LANES - 1;
                            // SAFETY: `x` holds a row before and one behind its own (`run` checks the reach); the
                            // scratch is this task's alone.
                            unsafe {
                                let panel = Panel {
                                    a: x.data[row + pixels.start * LANES..].as_ptr(),
                                    a_stride: LANES,
                                    segments: &segments,
                                    segment: layer.inputs.segment,
                                    b: layer.weights[groups.start(columns.start)..].as_ptr(),
                                    b_strides: PACKED,
                                    c: shared.at(at, reach),
                                    c_stride: LANES,
                                    block_stride: width * LANES,
                                    start: Start::Zero,
                                    lower_bound: f32::NEG_INFINITY,
                                };
                                simd.panel(pixels.len(), columns.len(), &panel);
                            }
                        }
                    }
                }
                for (o, &bias) in layer.bias.iter().enumerate() {
                    for (i, row) in rows.clone().enumerate() {
                        let at = (o * height + first + row) * width;
                        // SAFETY: this row of the output is this task's alone.
                        let to = unsafe { out.slice(at, width) };
                        to.fill(bias);
                        for tap in 0..9 {
                            let column = tap * layer.outputs + o;
                            let line = (i + tap / 3) * row_elements + column / LANES * width * LANES;
                            let line = &z[line..line + width * LANES];
                            let values = line.iter().skip(column % LANES).step_by(LANES);
                            match tap % 3 {
                                0 => to[1..].iter_mut().zip(values).for_each(|(to, value)| *to += value),
                                1 => to.iter_mut().zip(values).for_each(|(to, value)| *to += value),
                                _ => to.iter_mut().zip(values.skip(1)).for_each(|(to, value)| *to += value),
                            }
                        }
                    }
                }
            });
        });
    }
}
