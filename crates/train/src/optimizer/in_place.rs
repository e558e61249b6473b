//! Updates of a variable through its slice, on the CPU in f32.

use candle_core::{CpuStorage, DType, Layout, Result, Var};

/// Values per piece of a parallel update.
pub(crate) const CHUNK: usize = 1 << 14;

/// Whether a variable is updated through its slice.
pub(crate) fn is_fused(variable: &Var) -> bool {
    variable.device().is_cpu() && variable.dtype() == DType::F32 && variable.is_contiguous()
}

/// The contiguous f32 values of a CPU storage.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("expected contiguous f32 values"),
    }
}

/// The contiguous f32 values of a CPU storage, to be changed in place.
pub(crate) fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => candle_core::bail!("expected contiguous f32 values"),
    }
}
