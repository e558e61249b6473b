//! 1x1 convolution between blocked maps.

use rayon::prelude::*;

use super::Write;
use crate::aligned::AlignedBuffer;
use crate::blocked::{BlockedView, BlockedViewMut};
use crate::channels::Groups;
use crate::panel::SEGMENT_STEP;
use crate::product::Product;
use crate::shared::Shared;
use crate::simd::{Isa, LANES};

/// A matrix that maps the lanes of `inputs` blocks, the first `segment` of each, to `outputs` channels.
pub(crate) struct Pointwise {
    isa: Isa,
    inputs: usize,
    segment: usize,
    outputs: usize,
    weights: AlignedBuffer,
}

impl Pointwise {
    /// `weight(block, lane, output)` for the first `lanes` lanes of each block.
    pub(crate) fn new(
        isa: Isa,
        inputs: usize,
        lanes: usize,
        outputs: usize,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let segment = lanes.next_multiple_of(SEGMENT_STEP);
        let groups = isa.run(Groups { columns: outputs, depth: inputs * segment });
        let mut weights = AlignedBuffer::zeroed(groups.elements());
        let out = Shared::new(&mut weights);
        (0..groups.blocks).into_par_iter().for_each(|column| {
            for block in 0..inputs {
                for lane in 0..lanes {
                    // SAFETY: this block of columns is this task's alone.
                    let to = unsafe { out.slice(groups.place(block * segment + lane, column), LANES) };
                    for (o, to) in (column * LANES..outputs).zip(to) {
                        *to = weight(block, lane, o);
                    }
                }
            }
        });
        Self { isa, inputs, segment, outputs, weights }
    }

    pub(crate) fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>, write: Write) {
        let ([inputs, height, width], [outputs, rows, cols]) = (x.size(), y.size());
        assert!(inputs == self.inputs && outputs == self.outputs.div_ceil(LANES), "channels");
        assert!([height, width] == [rows, cols] && x.place.images == y.place.images, "sizes");
        x.check_reach(0, 0);
        let segments: Vec<usize> = (0..inputs).map(|block| block * x.place.plane).collect();
        self.isa.run(Product {
            x,
            y,
            segments: &segments,
            corner: 0,
            segment: self.segment,
            weights: &self.weights,
            bias: &vec![0.0; outputs * LANES],
            floor: f32::NEG_INFINITY,
            outputs: self.outputs,
            write,
        });
    }
}
