//! How an operation runs.

use candle_core::Device;

/// Which implementation of an operation runs. Both compute the same function and the same gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// The CPU kernels of `unet3p-kernels`, on f32 or f64.
    Kernels,
    /// A composition of Candle ops, for any device.
    Composition,
}

impl Execution {
    /// The kernels on a CPU, the composition elsewhere.
    pub fn for_device(device: &Device) -> Self {
        if device.is_cpu() { Self::Kernels } else { Self::Composition }
    }
}

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Running statistics; no graph is recorded for the parameters, so nothing is kept for a backward pass.
    Evaluation,
    /// Batch statistics, which also update the running ones; the graph is recorded.
    Training,
}
