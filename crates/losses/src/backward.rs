//! Attaching a hand-written gradient to a value.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Storage, Tensor, bail,
};

/// A function of one tensor whose value is known already and whose vector-Jacobian product is a closure.
///
/// Both are made of plain Candle operations on detached tensors, so one definition serves every backend, in every
/// dtype, and Candle's own gradients are not involved.
struct WithBackward<F> {
    value: Tensor,
    backward: F,
}

impl<F> CustomOp1 for WithBackward<F>
where
    F: Fn(&Tensor) -> Result<Tensor>,
{
    fn name(&self) -> &'static str {
        "with-backward"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        match &*self.value.storage_and_layout().0 {
            Storage::Cpu(storage) => Ok((storage.clone(), self.value.shape().clone())),
            _ => bail!("with-backward: argument on the CPU, value on another device"),
        }
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        match self.value.storage_and_layout().0.try_clone(self.value.layout())? {
            Storage::Cuda(storage) => Ok((storage, self.value.shape().clone())),
            _ => bail!("with-backward: argument on CUDA, value on another device"),
        }
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        match self.value.storage_and_layout().0.try_clone(self.value.layout())? {
            Storage::Metal(storage) => Ok((storage, self.value.shape().clone())),
            _ => bail!("with-backward: argument on Metal, value on another device"),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(upstream).map(Some)
    }
}

/// `value` as a function of `x`: `backward` maps the gradient of the value to the gradient of `x`.
///
/// The closure must capture detached tensors only; it runs once, in the backward pass, so work that only the gradient
/// needs belongs into it.
pub(crate) fn with_backward<F>(x: &Tensor, value: Tensor, backward: F) -> Result<Tensor>
where
    F: Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
{
    if !x.track_op() {
        return Ok(value);
    }
    // The storage is cloned whole: it must hold the value and nothing else.
    let whole = value.is_contiguous() && value.layout().start_offset() == 0;
    let value = if whole { value.detach() } else { value.detach().force_contiguous()? };
    x.apply_op1(WithBackward { value, backward })
}
