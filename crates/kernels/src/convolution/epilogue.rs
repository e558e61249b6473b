//! What follows the sums of a convolution.

use crate::aligned::AlignedBuffer;
use crate::simd::LANES;
use crate::sizes::check_len;

/// `max(lower_bound, bias + sum)` for each output: by default the sum itself.
pub(crate) struct Epilogue {
    outputs: usize,
    /// Filled with zeros to whole blocks.
    pub(crate) bias: AlignedBuffer,
    pub(crate) lower_bound: f32,
}

impl Epilogue {
    /// Without bias and ReLU.
    pub(crate) fn new(outputs: usize) -> Self {
        let bias = AlignedBuffer::zeroed(outputs.next_multiple_of(LANES));
        Self { outputs, bias, lower_bound: f32::NEG_INFINITY }
    }

    #[track_caller]
    pub(crate) fn set_bias(&mut self, bias: &[f32]) {
        check_len("bias", bias.len(), &[self.outputs]);
        self.bias[..self.outputs].copy_from_slice(bias);
    }

    pub(crate) fn set_relu(&mut self) {
        self.lower_bound = 0.0;
    }
}
