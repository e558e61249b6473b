//! Convolution with a kernel that reaches further than a map's halo, above all the 7x7 one at the start of a residual network.
//!
//! The input is copied with its channels side by side and zeros around it: then what a row of the kernel reads for one
//! output is one run of values, and few channels fill the lanes.

use rayon::prelude::*;

use super::{BlockedConv2d, Kernel};
use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedShape, BlockedView, BlockedViewMut};
use crate::convolution::channels::InputBlocks;
use crate::convolution::pointwise::Pointwise;
use crate::convolution::product::Operands;
use crate::panel::{Panel, SEGMENT_STEP, Start};
use crate::shared::Shared;
use crate::simd::{Block, LANES, Simd, Task};
use crate::sizes::elements;
use crate::write::Write;

/// Rows of the output whose products are summed in one go; their sums are added up, so that rounding grows with neither.
const ROWS: usize = 16;

/// A batch as `[images, height + side - 1, width + side - 1, channels]`, with zeros around each image and behind the last.
struct Padded<'a> {
    data: &'a [f32],
    /// Elements between images, rows and pixels.
    strides: [usize; 3],
}

impl<'a> Padded<'a> {
    /// Of `x`, in `memory`, which grows as needed.
    fn new(
        x: &BlockedView<'_>,
        inputs: &InputBlocks,
        Kernel { side, stride }: Kernel,
        memory: &'a mut AlignedBuffer,
    ) -> Self {
        assert!(x.layout.has_all_rows(), "x: some rows of a map, where all of them fit");
        let ([images, _, height, width], channels, pad) = (x.layout.dims(), inputs.total(), side / 2);
        let rows = height.saturating_add(side - 1);
        let sides = [images, rows, width.saturating_add(side - 1), channels];
        // read with a weight or a gradient of 0: the rest of a segment or of a panel, for pixels that fill a step
        let behind = (SEGMENT_STEP - 1) * stride * channels + LANES;
        let len = elements("x", &sides).saturating_add(behind);
        let data = memory.at_least(len);
        let line = sides[2] * channels;
        let (maps, rest) = data.split_at_mut(len - behind);
        rest.fill(0.0);
        maps.par_chunks_mut(line).enumerate().for_each(|(i, line)| {
            let (image, row) = (i / rows, i % rows);
            let Some(row) = row.checked_sub(pad).filter(|&row| row < height) else {
                return line.fill(0.0);
            };
            let (before, inside) = line.split_at_mut(pad * channels);
            let (inside, after) = inside.split_at_mut(width * channels);
            before.fill(0.0);
            after.fill(0.0);
            for (block, range) in inputs.channels.iter().enumerate() {
                let from = &x.data[image * x.layout.image + x.layout.at(block, row, 0)..][..width * LANES];
                for (from, to) in from.as_chunks::<LANES>().0.iter().zip(inside.chunks_exact_mut(channels)) {
                    to[range.clone()].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        });
        Self { data, strides: [rows * line, line, channels] }
    }

    /// Asserts that `depth` values of each row of each window, for outputs of `images` images of `rows` and `cols`, lie within
    /// the data.
    fn check_reach(&self, Kernel { side, stride }: Kernel, [images, rows, cols]: [usize; 3], depth: usize) {
        let [image, line, channels] = self.strides;
        let last = (images - 1) * image + ((rows - 1) * stride + side - 1) * line;
        let last = last + (cols - 1) * stride * channels + depth;
        assert!(last <= self.data.len(), "no zeros behind the padded input: {last}");
    }
}

impl BlockedConv2d<'_> {
    /// [`BlockedConv2d::run`].
    pub(super) fn run_wide(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, memory: &mut AlignedBuffer) {
        let Self { isa, ref inputs, outputs, kernel: kernel @ Kernel { side, stride }, weight } = *self;
        let padded = Padded::new(&x, inputs, kernel, memory);
        let [image, line, channels] = padded.strides;
        let weight = |ky: usize, lane: usize| {
            let (kx, c) = (lane / channels, lane % channels);
            move |o: usize| weight[((o * channels + c) * side + ky) * side + kx]
        };
        let layer = Pointwise::new(isa, side, side * channels, outputs, weight);
        let depth = (side * channels).next_multiple_of(SEGMENT_STEP);
        padded.check_reach(kernel, [y.layout.images, y.layout.height, y.layout.width], depth);
        let strides = [image, stride * line, stride * channels];
        let segments: Vec<usize> = (0..side).map(|ky| ky * line).collect();
        layer.gather(Operands { data: padded.data, start: 0, strides }, &segments, y, 1, Write::Replace);
    }

    /// [`BlockedConv2d::input_gradient`], image by image: what each tap passes back, then the sum over taps.
    pub(super) fn input_gradient_wide(
        &self,
        grad_y: BlockedView<'_>,
        mut grad_x: BlockedViewMut<'_>,
        write: Write,
        memory: &mut AlignedBuffer,
    ) {
        let Self { isa, ref inputs, outputs, kernel, weight } = *self;
        let (count, channels) = (kernel.side * kernel.side, inputs.total());
        let [images, blocks, height, width] = grad_y.layout.dims();
        let shape = BlockedShape { channels: count * channels, height, width };
        let memory = memory.at_least(shape.elements());
        let weight = |block: usize, lane: usize| {
            let o = block * LANES + lane;
            move |column: usize| {
                let (tap, c) = (column / channels, column % channels);
                if o < outputs { weight[(o * channels + c) * count + tap] } else { 0.0 }
            }
        };
        let layer = Pointwise::new(isa, blocks, outputs.min(LANES), shape.channels, weight);
        for image in 0..images {
            layer.run(grad_y.image(image), shape.view_mut(memory), Write::Replace);
            fold(inputs, kernel, shape.view(memory), grad_x.reborrow().image(image), write);
        }
    }

    /// [`BlockedConv2d::weight_gradient`].
    pub(super) fn weight_gradient_wide(
        &self,
        x: BlockedView<'_>,
        grad_y: BlockedView<'_>,
        grad_w: &mut [f32],
        memory: &mut AlignedBuffer,
    ) {
        let Self { isa, ref inputs, outputs, kernel, .. } = *self;
        let x = Padded::new(&x, inputs, kernel, memory);
        grad_y.check_reach(0, SEGMENT_STEP - 1);
        isa.run(WeightGradient { x, grad: grad_y, kernel, outputs, grad_w });
    }
}

/// One image's gradient of the input: what its taps, channels `tap * inputs + c` of `taps`, pass back to each pixel.
fn fold(
    inputs: &InputBlocks,
    Kernel { side, stride }: Kernel,
    taps: BlockedView<'_>,
    to: BlockedViewMut<'_>,
    write: Write,
) {
    let ([_, height, width], [_, rows, cols]) = (taps.size(), to.size());
    let (total, pad) = (inputs.total(), side / 2);
    (0..inputs.len() * rows).into_par_iter().for_each(|task| {
        let (block, row) = (task / rows, task % rows);
        // SAFETY: this row of this block is this task's alone.
        let line = unsafe { to.data.slice(to.layout.at(block, row, 0), cols * LANES) };
        let line = line.as_chunks_mut::<LANES>().0;
        if write == Write::Replace {
            line.fill([0.0; LANES]);
        }
        // the rows of the output that read this one, with their tap
        let readers = (0..side).filter_map(|ky| {
            let behind = (row + pad).checked_sub(ky).filter(|behind| behind.is_multiple_of(stride))?;
            Some((ky, behind / stride)).filter(|&(_, row)| row < height)
        });
        for (ky, from) in readers {
            for (kx, (lane, c)) in
                (0..side).flat_map(|kx| inputs.channels[block].clone().enumerate().map(move |c| (kx, c)))
            {
                let column = (ky * side + kx) * total + c;
                let from = &taps.data[taps.layout.at(column / LANES, from, 0)..][..width * LANES];
                for (j, from) in from.as_chunks::<LANES>().0.iter().enumerate() {
                    if let Some(to) = (j * stride + kx).checked_sub(pad).and_then(|j| line.get_mut(j)) {
                        to[lane] += from[column % LANES];
                    }
                }
            }
        }
    });
}

struct WeightGradient<'a> {
    x: Padded<'a>,
    /// Zero in its halo.
    grad: BlockedView<'a>,
    kernel: Kernel,
    outputs: usize,
    grad_w: &'a mut [f32],
}

impl Task for WeightGradient<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { x, grad, kernel, outputs, grad_w } = self;
        let Kernel { side, stride } = kernel;
        let [image_stride, line, channels] = x.strides;
        let [images, blocks, height, width] = grad.layout.dims();
        let groups = blocks.div_ceil(S::BLOCKS);
        // a row of the kernel, padded to whole panels
        let depth = (side * channels).next_multiple_of(S::OUTER_ROWS);
        let pixels = width.next_multiple_of(SEGMENT_STEP);
        x.check_reach(kernel, [images, height, pixels], depth);
        let out = Shared::new(grad_w);
        (0..side * groups).into_par_iter().for_each(|task| {
            let (ky, first) = (task % side, task / side * S::BLOCKS);
            let count = S::BLOCKS.min(blocks - first);
            let mut total: Vec<Block> = vec![[0.0; LANES]; count * depth];
            let mut part = total.clone();
            for (image, top) in
                (0..images).flat_map(|image| (0..height).step_by(ROWS).map(move |top| (image, top)))
            {
                for row in top..height.min(top + ROWS) {
                    let a = &x.data[image * image_stride + (row * stride + ky) * line..];
                    let b = &grad.data[image * grad.layout.image + grad.layout.at(first, row, 0)..];
                    for k in (0..depth).step_by(S::OUTER_ROWS) {
                        // SAFETY: the padded input holds what the windows of a row read, filled up (checked above); the
                        // gradient, in every block, the pixels of its halo that fill a step; the sums are this task's own.
                        unsafe {
                            let panel = Panel {
                                a: a[k..].as_ptr(),
                                a_stride: stride * channels,
                                segments: &[0],
                                segment: pixels,
                                b: b.as_ptr(),
                                b_strides: [LANES, grad.layout.plane],
                                c: part.as_flattened_mut()[k * LANES..].as_mut_ptr(),
                                c_stride: LANES,
                                block_stride: depth * LANES,
                                start: if row == top { Start::Zero } else { Start::Output },
                                lower_bound: f32::NEG_INFINITY,
                            };
                            simd.outer_panel(count, &panel);
                        }
                    }
                }
                total
                    .as_flattened_mut()
                    .iter_mut()
                    .zip(part.as_flattened())
                    .for_each(|(to, part)| *to += part);
            }
            for (o, k) in (first * LANES..outputs.min((first + count) * LANES))
                .flat_map(|o| (0..side * channels).map(move |k| (o, k)))
            {
                let at = ((o * channels + k % channels) * side + ky) * side + k / channels;
                let sums = &total[(o / LANES - first) * depth + k];
                // SAFETY: this row of the kernel of these outputs is this task's alone.
                unsafe { *out.at(at, 0) = sums[o % LANES] };
            }
        });
    }
}
