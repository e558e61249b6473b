//! A gradient of our own for a result that Candle ops computed.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, MetalStorage, Result, Shape, Tensor};

/// Gradients of two operands from the gradient of the result; `None` where not needed.
pub(crate) type Backward = fn(&Tensor, &Tensor, &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)>;

struct Attach {
    name: &'static str,
    backward: Backward,
}

/// `result`, as if it had been computed from `a` and `b` by an operation whose gradients are
/// `backward(a, b, grad)`. `result` itself must not be part of a graph. Works on every device, at the price of
/// one copy of the result.
pub(crate) fn attach(
    name: &'static str,
    result: &Tensor,
    a: &Tensor,
    b: &Tensor,
    backward: Backward,
) -> Result<Tensor> {
    if !(a.track_op() || b.track_op()) {
        return Ok(result.clone());
    }
    a.apply_op3(b, &result.contiguous()?, Attach { name, backward })
}

impl CustomOp3 for Attach {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        result: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((result.try_clone(layout)?, layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        result: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        Ok((result.try_clone(layout)?, layout.shape().clone()))
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        result: &MetalStorage,
        layout: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        Ok((result.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (a, b) = (self.backward)(a, b, grad)?;
        Ok((a, b, None))
    }
}
