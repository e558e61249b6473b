//! A matrix product over pixels: what direct and 1x1 convolutions are.

use rayon::prelude::*;

use crate::blocked::{BlockedView, BlockedViewMut};
use crate::channels::ColumnGroups;
use crate::panel::{PACKED, Panel, Start};
use crate::simd::{LANES, Simd, Task};
use crate::training::Write;
use crate::winograd::Panels;

/// Weights of more elements than this exceed a core's cache: all pixels are multiplied by some columns before the next
/// columns are read.
const CACHED_WEIGHTS: usize = 1 << 17;

/// `y = max(floor, bias + W x)` at each pixel, or `y += W x`.
pub(crate) struct Product<'a> {
    /// Checked to hold `segments` and `corner` for each of its pixels.
    pub(crate) x: BlockedView<'a>,
    pub(crate) y: BlockedViewMut<'a>,
    /// Where the operands of a pixel lie, in elements behind the pixel less `corner`.
    pub(crate) segments: &'a [usize],
    pub(crate) corner: usize,
    /// Values of each segment.
    pub(crate) segment: usize,
    /// Packed, as deep as the segments.
    pub(crate) weights: &'a [f32],
    /// Whole blocks.
    pub(crate) bias: &'a [f32],
    pub(crate) floor: f32,
    pub(crate) outputs: usize,
    pub(crate) write: Write,
}

impl Task for Product<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { x, ref y, segments, corner, segment, weights, bias, floor, outputs, write } = self;
        let [_, height, width] = y.size();
        let groups = ColumnGroups::new(simd, outputs, segments.len() * segment);
        let (lines, count) = (x.place.images * height, groups.count());
        let by_columns = groups.elements() > CACHED_WEIGHTS;
        let tasks = (0..lines * count).into_par_iter();
        tasks.with_min_len(if by_columns { 1 } else { count }).for_each(|task| {
            let (line, group) =
                if by_columns { (task % lines, task / lines) } else { (task / count, task % count) };
            let (image, row, columns) = (line / height, line % height, groups.at(group));
            let weights = &weights[groups.start(columns.start)..];
            let bias = &bias[columns.start * LANES..columns.end * LANES];
            let start = match write {
                Write::Replace => Start::Columns(bias.as_ptr()),
                Write::Add => Start::Output,
            };
            for pixels in Panels::new(width, S::ROWS).iter() {
                let from = image * x.place.image + x.place.at(0, row, pixels.start) - corner;
                let to = image * y.place.image + y.place.at(columns.start, row, pixels.start);
                let reach = (columns.len() - 1) * y.place.plane + pixels.len() * LANES - 1;
                // SAFETY: `x` holds the operands of its pixels (see the field); weights and bias are those of the columns;
                // this row of these columns is this task's alone.
                unsafe {
                    let panel = Panel {
                        a: x.data[from..].as_ptr(),
                        segments,
                        segment,
                        b: weights.as_ptr(),
                        b_strides: PACKED,
                        c: y.data.at(to, reach),
                        block_stride: y.place.plane,
                        start,
                        floor,
                    };
                    simd.panel(pixels.len(), columns.len(), &panel);
                }
            }
        });
    }
}
