//! 3x3 convolution without transforms: the micro-kernel with one segment for each tap and block of channels.
//!
//! For few input channels (an image's one to four), where a Winograd transform would cost more than it saves.

use rayon::prelude::*;

use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedView, BlockedViewMut};
use crate::convolution::channels::{ColumnGroups, InputBlocks, checked_channels, nine_taps, taps_of_block};
use crate::convolution::epilogue::Epilogue;
use crate::convolution::product::{Operands, Product};
use crate::shared::Shared;
use crate::simd::{Isa, LANES, Simd, Task};
use crate::sizes::check_layer;
use crate::write::Write;

/// A 3x3 convolution computed as it is written, with bias and ReLU where asked, between blocked maps:
/// `y[o, i, j] = bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[c, i + ky - 1, j + kx - 1]`.
pub struct DirectConv2d {
    isa: Isa,
    inputs: InputBlocks,
    outputs: usize,
    /// One packed matrix, rows `[block][tap][lane]`.
    weights: AlignedBuffer,
    epilogue: Epilogue,
}

impl DirectConv2d {
    /// Packs `weight` (`[out, in, 3, 3]`); `parts` as for [`crate::WinogradConv2d::new`].
    ///
    /// # Panics
    /// Where the parts, or the length of `weight`, do not fit: `parts: ...`, `weight: ...`.
    pub fn new(isa: Isa, parts: &[usize], weight: &[f32]) -> Self {
        let (inputs, outputs) = checked_channels(parts, 3, weight);
        let total = inputs.total();
        let taps = |o: usize, c: usize| std::array::from_fn(|tap| weight[(o * total + c) * 9 + tap]);
        Self::packed(isa, inputs, outputs, taps, AlignedBuffer::zeroed(0))
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

    /// [`DirectConv2d::new`], packed into `memory` where that suffices; `taps(o, c)` are the weights of output `o` and
    /// input `c`.
    pub(crate) fn packed(
        isa: Isa,
        inputs: InputBlocks,
        outputs: usize,
        taps: impl Fn(usize, usize) -> [f32; 9] + Sync,
        memory: AlignedBuffer,
    ) -> Self {
        let weights = isa.run(Pack { inputs: &inputs, outputs, taps, memory });
        Self { isa, inputs, outputs, weights, epilogue: Epilogue::new(outputs) }
    }

    pub(crate) fn into_memory(self) -> AlignedBuffer {
        self.weights
    }

    /// Convolves `x` into `y`: rows, columns and the convolution's channels of both must agree.
    ///
    /// # Panics
    /// Where they do not: `x: ...`, `y: ...`.
    pub fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
        self.apply(x, y, Write::Replace);
    }

    pub(crate) fn apply(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, write: Write) {
        let (inputs, outputs) = (self.inputs.len(), self.outputs.div_ceil(LANES));
        check_layer([("x", x.layout.dims()), ("y", y.layout.dims())], [inputs, outputs]);
        x.check_reach(1, 1);
        let segments: Vec<usize> = (0..inputs)
            .flat_map(|block| (0..9).map(move |tap| (block, tap)))
            .map(|(block, tap)| block * x.layout.plane + tap / 3 * x.layout.pitch + tap % 3 * LANES)
            .collect();
        self.isa.run(Product {
            x: Operands::of(&x, x.layout.pitch + LANES, 1),
            y,
            y_step: 1,
            segments: &segments,
            segment: self.inputs.segment,
            weights: &self.weights,
            epilogue: &self.epilogue,
            outputs: self.outputs,
            write,
        });
    }

    /// Multiply-adds for a map of this size, at most `u64::MAX`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        nine_taps(&self.inputs, self.outputs, height, width)
    }
}

/// Packs weights, `[block of inputs][tap][lane]` by outputs.
struct Pack<'a, W> {
    inputs: &'a InputBlocks,
    outputs: usize,
    taps: W,
    memory: AlignedBuffer,
}

impl<W: Fn(usize, usize) -> [f32; 9] + Sync> Task for Pack<'_, W> {
    type Output = AlignedBuffer;

    fn run<S: Simd>(self, simd: S) -> AlignedBuffer {
        let Self { inputs, outputs, taps, memory } = self;
        let groups = ColumnGroups::new(simd, outputs, inputs.len() * 9 * inputs.segment);
        let mut packed = inputs.weights_memory(memory, groups.elements());
        let out = Shared::new(&mut packed);
        (0..groups.blocks).into_par_iter().for_each(|block| {
            for (input_block, channels) in inputs.channels.iter().enumerate() {
                for (lane, channel) in channels.clone().enumerate() {
                    let taps = taps_of_block(&taps, outputs, block, channel);
                    for (tap, taps) in taps.iter().enumerate() {
                        let at = groups.layout((input_block * 9 + tap) * inputs.segment + lane, block);
                        // SAFETY: this column block is this task's alone.
                        unsafe { out.slice(at, LANES) }.copy_from_slice(taps);
                    }
                }
            }
        });
        packed
    }
}
