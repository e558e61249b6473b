//! A matrix product over pixels: what direct and 1x1 convolutions are.

use rayon::prelude::*;

use crate::blocked::{BlockedView, BlockedViewMut};
use crate::convolution::channels::ColumnGroups;
use crate::convolution::epilogue::Epilogue;
use crate::panel::{PACKED, Panel, Panels, Start};
use crate::simd::{LANES, Simd, Task};
use crate::write::Write;

/// Weights of more elements than this exceed a core's cache: all pixels are multiplied by some columns before the next
/// columns are read.
const CACHED_WEIGHTS: usize = 1 << 17;

/// Where the operands of each pixel of a product start.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub(crate) data: &'a [f32],
    /// Element where those of the first pixel start.
    pub(crate) start: usize,
    /// Elements between images, rows and columns of the product.
    pub(crate) strides: [usize; 3],
}

impl<'a> Operands<'a> {
    /// Every `step`-th pixel of a map, less `corner` elements.
    pub(crate) fn of(x: &BlockedView<'a>, corner: usize, step: usize) -> Self {
        let strides = [x.layout.image, step * x.layout.pitch, step * LANES];
        Self { data: x.data, start: x.layout.at(0, 0, 0) - corner, strides }
    }
}

/// `y = max(lower_bound, bias + W x)` at each pixel, or `y = max(lower_bound, y + W x)`.
pub(crate) struct Product<'a> {
    /// Checked to hold `segments` for each pixel.
    pub(crate) x: Operands<'a>,
    pub(crate) y: BlockedViewMut<'a>,
    /// The product's pixels are every `y_step`-th of `y`, in rows and in columns.
    pub(crate) y_step: usize,
    /// Where the operands of a pixel lie, in elements behind their start.
    pub(crate) segments: &'a [usize],
    /// Values of each segment.
    pub(crate) segment: usize,
    /// Packed, as deep as the segments.
    pub(crate) weights: &'a [f32],
    pub(crate) epilogue: &'a Epilogue,
    pub(crate) outputs: usize,
    pub(crate) write: Write,
}

impl Task for Product<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { x, ref y, y_step, segments, segment, weights, epilogue, outputs, write } = self;
        let [height, width] = [y.layout.height, y.layout.width].map(|side| side.div_ceil(y_step));
        let [x_image, x_row, x_pixel] = x.strides;
        let groups = ColumnGroups::new(simd, outputs, segments.len() * segment);
        let (lines, count) = (y.layout.images * height, groups.count());
        let by_columns = groups.elements() > CACHED_WEIGHTS;
        let tasks = (0..lines * count).into_par_iter();
        tasks.with_min_len(if by_columns { 1 } else { count }).for_each(|task| {
            let (line, group) =
                if by_columns { (task % lines, task / lines) } else { (task / count, task % count) };
            let (image, row, columns) = (line / height, line % height, groups.at(group));
            let weights = &weights[groups.start(columns.start)..];
            let bias = &epilogue.bias[columns.start * LANES..columns.end * LANES];
            let start = match write {
                Write::Replace => Start::Columns(bias.as_ptr()),
                Write::Add => Start::Output,
            };
            for pixels in Panels::new(width, S::ROWS).iter() {
                let from = x.start + image * x_image + row * x_row + pixels.start * x_pixel;
                let to = y.layout.at(columns.start, row * y_step, pixels.start * y_step);
                let to = image * y.layout.image + to;
                let reach =
                    (columns.len() - 1) * y.layout.plane + ((pixels.len() - 1) * y_step + 1) * LANES - 1;
                // SAFETY: `x` holds the operands of its pixels (see the field); weights and bias are those of the columns;
                // this row of these columns is this task's alone.
                unsafe {
                    let panel = Panel {
                        a: x.data[from..].as_ptr(),
                        a_stride: x_pixel,
                        segments,
                        segment,
                        b: weights.as_ptr(),
                        b_strides: PACKED,
                        c: y.data.at(to, reach),
                        c_stride: y_step * LANES,
                        block_stride: y.layout.plane,
                        start,
                        lower_bound: epilogue.lower_bound,
                    };
                    simd.panel(pixels.len(), columns.len(), &panel);
                }
            }
        });
    }
}
