//! 3x3 convolution without transforms: the micro-kernel with one segment for each tap and block of channels.
//!
//! For few input channels (an image's one to four), where a Winograd transform would cost more than it saves.

use rayon::prelude::*;

use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedView, BlockedViewMut};
use crate::channels::{ColumnGroups, InputBlocks, checked_inputs, nine_taps, pack_bias, pack_weights};
use crate::panel::{Panel, Start};
use crate::simd::{Isa, LANES, Simd, Task};
use crate::winograd::Panels;

/// A 3x3 convolution computed as it is written, with bias and ReLU, between blocked maps:
/// `y[o, i, j] = max(0, bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[c, i + ky - 1, j + kx - 1])`.
pub struct DirectConv2d {
    isa: Isa,
    inputs: InputBlocks,
    outputs: usize,
    /// One packed matrix, rows `[block][tap][lane]`.
    weights: AlignedBuffer,
    bias: AlignedBuffer,
    floor: f32,
}

impl DirectConv2d {
    /// Packs `weight` (`[out, in, 3, 3]`); `parts` as for [`crate::WinogradConv2d::new`].
    ///
    /// # Panics
    /// Where the lengths of `weight` and `bias` do not fit the channels.
    pub fn new(isa: Isa, parts: &[usize], weight: &[f32], bias: &[f32], relu: bool) -> Self {
        let inputs = checked_inputs(parts, weight, bias);
        let outputs = bias.len();
        let matrix = [inputs.len() * 9 * inputs.segment, outputs];
        let weights = pack_weights(isa, &inputs, weight, matrix, |block, lane, tap, o| {
            [(block * 9 + tap) * inputs.segment + lane, o]
        });
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        Self { isa, inputs, outputs, weights, bias: pack_bias(bias), floor }
    }

    /// Convolves `x` into `y`: rows, columns and the convolution's channels of both must agree.
    ///
    /// # Panics
    /// Where they do not.
    pub fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
        let ([inputs, height, width], [outputs, rows, cols]) = (x.size(), y.size());
        assert!(inputs == self.inputs.len() && outputs == self.outputs.div_ceil(LANES), "channels");
        assert!(height == rows && width == cols, "{height}x{width} to {rows}x{cols}");
        x.check_reach(1, 1);
        self.isa.run(Run { layer: self, x, y });
    }

    /// Multiply-adds for a map of this size.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        nine_taps(&self.inputs, self.outputs, height, width)
    }
}

struct Run<'a> {
    layer: &'a DirectConv2d,
    x: BlockedView<'a>,
    y: BlockedViewMut<'a>,
}

impl Task for Run<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { layer, x, y } = self;
        let [_, height, width] = y.size();
        let groups = ColumnGroups::new(simd, layer.outputs, layer.inputs.len() * 9 * layer.inputs.segment);
        let segments: Vec<usize> = (0..layer.inputs.len())
            .flat_map(|block| (0..9).map(move |tap| (block, tap)))
            .map(|(block, tap)| block * x.place.plane + tap / 3 * x.place.pitch + tap % 3 * LANES)
            .collect();
        (0..height).into_par_iter().for_each(|row| {
            for columns in groups.iter() {
                let weights = &layer.weights[groups.start(columns.start)..];
                let bias = &layer.bias[columns.start * LANES..columns.end * LANES];
                for pixels in Panels::new(width, S::ROWS).iter() {
                    let first = y.place.at(columns.start, row, pixels.start);
                    let reach = (columns.len() - 1) * y.place.plane + pixels.len() * LANES - 1;
                    // SAFETY: the windows lie within `x` (`run` checks the reach); weights and bias are those of the
                    // columns; this row of the output is this task's alone.
                    unsafe {
                        let panel = Panel {
                            a: x.data[x.place.at(0, row, pixels.start) - x.place.pitch - LANES..].as_ptr(),
                            segments: &segments,
                            segment: layer.inputs.segment,
                            b: weights.as_ptr(),
                            c: y.data.at(first, reach),
                            block_stride: y.place.plane,
                            start: Start::Columns(bias.as_ptr()),
                            floor: layer.floor,
                        };
                        simd.panel(pixels.len(), columns.len(), &panel);
                    }
                }
            }
        });
    }
}
