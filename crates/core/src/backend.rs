//! How an operation runs.

use candle_core::Device;

/// Which implementation of an operation runs. Both compute the same function and the same gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The CPU kernels of `unet3p-kernels`, on f32 or f64.
    Kernels,
    /// Candle's operations, on any device.
    Candle,
}

impl Backend {
    /// The kernels on a CPU, Candle's operations elsewhere.
    pub fn for_device(device: &Device) -> Self {
        if device.is_cpu() { Self::Kernels } else { Self::Candle }
    }
}
