//! 1x1 convolution between blocked maps.

use rayon::prelude::*;

use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedView, BlockedViewMut};
use crate::convolution::channels::Groups;
use crate::convolution::epilogue::Epilogue;
use crate::convolution::product::{Operands, Product};
use crate::panel::SEGMENT_STEP;
use crate::shared::Shared;
use crate::simd::{Isa, LANES};
use crate::sizes::{check_layer, check_whole, count};
use crate::write::Write;

/// A 1x1 convolution, with bias and ReLU where asked, between blocked maps:
/// `y[o, i, j] = bias[o] + sum over c of w[o, c] x[c, i, j]`.
pub struct PointwiseConv2d {
    inputs: usize,
    layer: Pointwise,
}

impl PointwiseConv2d {
    /// Packs `weight` (`[out, in]`).
    ///
    /// # Panics
    /// Where its length is not a multiple of `inputs`, or 0: `weight: ...`.
    pub fn new(isa: Isa, inputs: usize, weight: &[f32]) -> Self {
        let outputs = check_whole("weight", weight.len(), &[inputs]);
        let at = |block: usize, lane: usize| {
            let channel = block * LANES + lane;
            move |o: usize| if channel < inputs { weight[o * inputs + channel] } else { 0.0 }
        };
        let layer = Pointwise::new(isa, inputs.div_ceil(LANES), inputs.min(LANES), outputs, at);
        Self { inputs, layer }
    }

    /// With a bias for each output, in place of 0.
    ///
    /// # Panics
    /// Where there are not as many: `bias: ...`.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Self {
        self.layer.epilogue.set_bias(bias);
        self
    }

    /// With ReLU behind it.
    #[must_use]
    pub fn with_relu(mut self) -> Self {
        self.layer.epilogue.set_relu();
        self
    }

    /// Convolves `x` into `y`: rows, columns and the convolution's channels of both must agree.
    ///
    /// # Panics
    /// Where they do not: `x: ...`, `y: ...`.
    pub fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
        self.layer.run(x, y, Write::Replace);
    }

    /// Multiply-adds for a map of this size, at most `u64::MAX`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        count(&[self.inputs, self.layer.outputs, height, width])
    }
}

/// A matrix that maps the lanes of `inputs` blocks, the first `segment` of each, to `outputs` channels. A convolution
/// gathers a block for each of its taps ([`Pointwise::gather`]).
pub(crate) struct Pointwise {
    isa: Isa,
    inputs: usize,
    segment: usize,
    outputs: usize,
    weights: AlignedBuffer,
    epilogue: Epilogue,
}

impl Pointwise {
    /// `weight(block, lane)(output)` for the first `lanes` lanes of each block.
    pub(crate) fn new<W: Fn(usize) -> f32>(
        isa: Isa,
        inputs: usize,
        lanes: usize,
        outputs: usize,
        weight: impl Fn(usize, usize) -> W + Sync,
    ) -> Self {
        Self::packed(isa, inputs, lanes, outputs, weight, AlignedBuffer::zeroed(0))
    }

    /// [`Pointwise::new`], packed into `memory` where that suffices.
    pub(crate) fn packed<W: Fn(usize) -> f32>(
        isa: Isa,
        inputs: usize,
        lanes: usize,
        outputs: usize,
        weight: impl Fn(usize, usize) -> W + Sync,
        memory: AlignedBuffer,
    ) -> Self {
        let segment = lanes.next_multiple_of(SEGMENT_STEP);
        let groups = isa.run(Groups { columns: outputs, depth: inputs * segment });
        let mut weights = memory;
        let out = Shared::new(weights.at_least(groups.elements()));
        (0..groups.blocks).into_par_iter().for_each(|column| {
            for block in 0..inputs {
                for lane in 0..segment {
                    // SAFETY: this block of columns is this task's alone.
                    let to = unsafe { out.slice(groups.layout(block * segment + lane, column), LANES) };
                    to.fill(0.0);
                    if lane < lanes {
                        let weight = weight(block, lane);
                        for (o, to) in (column * LANES..outputs).zip(to) {
                            *to = weight(o);
                        }
                    }
                }
            }
        });
        Self { isa, inputs, segment, outputs, weights, epilogue: Epilogue::new(outputs) }
    }

    pub(crate) fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, write: Write) {
        let blocks = [self.inputs, self.outputs.div_ceil(LANES)];
        check_layer([("x", x.layout.dims()), ("y", y.layout.dims())], blocks);
        x.check_reach(0, 0);
        let segments: Vec<usize> = (0..self.inputs).map(|block| block * x.layout.plane).collect();
        self.gather(Operands::of(&x, 0, 1), &segments, y, 1, write);
    }

    pub(crate) fn into_memory(self) -> AlignedBuffer {
        self.weights
    }

    /// The product at every `y_step`-th pixel of `y`, of the `segments`, as many as blocks of inputs, behind each pixel's
    /// operands: the caller checks that `x` holds them, and the channels of `y`.
    pub(crate) fn gather(
        &self,
        x: Operands<'_>,
        segments: &[usize],
        y: BlockedViewMut<'_>,
        y_step: usize,
        write: Write,
    ) {
        assert_eq!(segments.len(), self.inputs);
        self.isa.run(Product {
            x,
            y,
            y_step,
            segments,
            segment: self.segment,
            weights: &self.weights,
            epilogue: &self.epilogue,
            outputs: self.outputs,
            write,
        });
    }
}
