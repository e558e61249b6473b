//! Convolution with a kernel of 1x1 or 3x3 and a stride, as written: the micro-kernel with one segment for each tap and
//! block of channels, which leaves out the pixels between the windows.

use super::{BlockedConv2d, Kernel};
use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedView, BlockedViewMut, Layout};
use crate::convolution::direct_weight_gradient::Products;
use crate::convolution::pointwise::Pointwise;
use crate::convolution::product::Operands;
use crate::shared::Shared;
use crate::simd::LANES;
use crate::write::Write;

/// Where the segments of `taps`, rows and columns behind a corner, lie in each block of a map.
fn segments(layout: &Layout, taps: &[[usize; 2]]) -> Vec<usize> {
    let of_block =
        |block: usize| taps.iter().map(move |[y, x]| block * layout.plane + y * layout.pitch + x * LANES);
    (0..layout.blocks).flat_map(of_block).collect()
}

/// `[tap, offset + 1]` for each tap of one side of a kernel that reads the input's pixels `phase`, `phase + stride`, ...: the
/// n-th of them for the output's pixel n + offset.
fn readers(Kernel { side, stride }: Kernel, phase: usize) -> Vec<[usize; 2]> {
    // row a stride + phase is read as row i stride + tap - side / 2
    let reader = |tap: usize| {
        let behind = phase + side / 2 + stride - tap;
        behind.is_multiple_of(stride).then_some([tap, behind / stride])
    };
    (0..side).filter_map(reader).collect()
}

impl BlockedConv2d<'_> {
    /// [`BlockedConv2d::run`].
    pub(super) fn run_taps(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, memory: &mut AlignedBuffer) {
        let Self { ref inputs, kernel: Kernel { side, stride }, .. } = *self;
        let (pad, count, total) = (side / 2, side * side, inputs.total());
        // the last window's middle lies within the map
        x.check_reach(pad, pad);
        let taps: Vec<_> = (0..count).map(|tap| [tap / side, tap % side]).collect();
        let weight = |segment: usize, lane: usize| {
            let (block, tap) = (segment / count, segment % count);
            let channel = inputs.channel(block * LANES + lane);
            move |o: usize| channel.map_or(0.0, |c| self.weight[(o * total + c) * count + tap])
        };
        let taken = std::mem::replace(memory, AlignedBuffer::zeroed(0));
        let layer =
            Pointwise::packed(self.isa, inputs.len() * count, inputs.segment, self.outputs, weight, taken);
        let operands = Operands::of(&x, pad * (x.layout.pitch + LANES), stride);
        layer.gather(operands, &segments(&x.layout, &taps), y, 1, Write::Replace);
        *memory = layer.into_memory();
    }

    /// [`BlockedConv2d::input_gradient`]: the pixels of a phase, whose rows and columns leave the same remainders when
    /// divided by the stride, are read by the same taps.
    pub(super) fn input_gradient_taps(
        &self,
        grad_y: BlockedView<'_>,
        mut grad_x: BlockedViewMut<'_>,
        write: Write,
        memory: &mut AlignedBuffer,
    ) {
        let Self { ref inputs, kernel, outputs, .. } = *self;
        let (count, total) = (kernel.side * kernel.side, inputs.total());
        // readers lie at most one pixel before and behind those of the output
        grad_y.check_reach(1, 1);
        if kernel.side < kernel.stride && write == Write::Replace {
            grad_x.reborrow().clear(); // most pixels are read by no tap
        }
        let phases = (0..kernel.stride).flat_map(|row| (0..kernel.stride).map(move |col| [row, col]));
        let Layout { height, width, .. } = grad_x.layout;
        let channels: Vec<Option<usize>> =
            (0..inputs.len() * LANES).map(|lane| inputs.channel(lane)).collect();
        for [row, col] in phases.filter(|&[row, col]| row < height && col < width) {
            let (rows, cols) = (readers(kernel, row), readers(kernel, col));
            let pairs = || rows.iter().flat_map(|y| cols.iter().map(move |x| [*y, *x]));
            let taps: Vec<usize> = pairs().map(|[[ky, _], [kx, _]]| ky * kernel.side + kx).collect();
            if taps.is_empty() {
                continue;
            }
            let behind: Vec<_> = pairs().map(|[[_, y], [_, x]]| [y, x]).collect();
            let weight = |segment: usize, lane: usize| {
                let channels = &channels;
                let (o, tap) = (segment / taps.len() * LANES + lane, taps[segment % taps.len()]);
                move |column: usize| match channels[column] {
                    Some(c) if o < outputs => self.weight[(o * total + c) * count + tap],
                    _ => 0.0,
                }
            };
            let taken = std::mem::replace(memory, AlignedBuffer::zeroed(0));
            let depth = grad_y.layout.blocks * taps.len();
            let layer = Pointwise::packed(self.isa, depth, outputs.min(LANES), channels.len(), weight, taken);
            let operands = Operands::of(&grad_y, grad_y.layout.pitch + LANES, 1);
            let to = grad_x.reborrow();
            let to = BlockedViewMut { layout: to.layout.starting_at(row, col), ..to };
            layer.gather(operands, &segments(&grad_y.layout, &behind), to, kernel.stride, write);
            *memory = layer.into_memory();
        }
    }

    /// [`BlockedConv2d::weight_gradient`].
    pub(super) fn weight_gradient_taps(
        &self,
        x: BlockedView<'_>,
        grad_y: BlockedView<'_>,
        grad_w: &mut [f32],
    ) {
        let (total, count) = (self.inputs.total(), self.kernel.side * self.kernel.side);
        let out = Shared::new(grad_w);
        Products { x, grad: grad_y, kernel: self.kernel }.run(self.isa, |block, of_grad, sums| {
            let channels = &self.inputs.channels[block];
            for (lane, o) in (of_grad * LANES..self.outputs).take(LANES).enumerate() {
                // SAFETY: these channels of this output are this pair of blocks' alone.
                let to = unsafe { out.slice((o * total + channels.start) * count, channels.len() * count) };
                for (c, to) in to.chunks_exact_mut(count).enumerate() {
                    to.iter_mut().zip(sums).for_each(|(to, sums)| *to = sums[c][lane]);
                }
            }
        });
    }
}
