//! From a kernel on slices to a Candle operation that records its gradient.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, WithDType, bail,
};
use unet3p_kernels::Scalar;

/// An element type that both Candle and the kernels know.
pub(crate) trait Element: Scalar + WithDType {}
impl Element for f32 {}
impl Element for f64 {}

/// A dense operand: its elements and its dimensions.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) dims: &'a [usize],
}

/// A kernel of one to three operands.
pub(crate) trait Kernel: Send + Sync {
    const NAME: &'static str;

    /// The shape of the result, after checking the operands'.
    fn output(&self, dims: &[&[usize]]) -> Result<Shape>;

    /// Computes the result; writes every element of `out`.
    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]);

    /// Gradients of the operands, `None` where not needed: the result must not be part of a graph.
    fn backward(
        &self,
        _operands: &[&Tensor],
        _result: &Tensor,
        _grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        Err(Error::BackwardNotSupported { op: Self::NAME })
    }
}

/// Applies a kernel and records it, so that gradients flow through it.
pub(crate) fn apply<K: Kernel + 'static>(kernel: K, operands: &[&Tensor]) -> Result<Tensor> {
    let dense = dense(operands)?;
    match &dense[..] {
        [a] => a.apply_op1(Op(kernel)),
        [a, b] => a.apply_op2(b, Op(kernel)),
        [a, b, c] => a.apply_op3(b, c, Op(kernel)),
        _ => bail!("{} takes one to three operands", K::NAME),
    }
}

/// Applies a kernel without recording it.
pub(crate) fn compute<K: Kernel>(kernel: K, operands: &[&Tensor]) -> Result<Tensor> {
    let dense = dense(operands)?;
    match &dense[..] {
        [a] => a.apply_op1_no_bwd(&Op(kernel)),
        [a, b] => a.apply_op2_no_bwd(b, &Op(kernel)),
        [a, b, c] => a.apply_op3_no_bwd(b, c, &Op(kernel)),
        _ => bail!("{} takes one to three operands", K::NAME),
    }
}

fn dense(operands: &[&Tensor]) -> Result<Vec<Tensor>> {
    operands.iter().map(|operand| operand.contiguous()).collect()
}

/// Whether anything needs this tensor's gradient.
pub(crate) fn needs_gradient(tensor: &Tensor) -> bool {
    tensor.track_op()
}

struct Op<K>(K);

impl<K: Kernel> Op<K> {
    fn forward(&self, operands: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let dims: Vec<&[usize]> = operands.iter().map(|(_, layout)| layout.dims()).collect();
        let shape = self.0.output(&dims)?;
        let storage = match operands[0].0 {
            CpuStorage::F32(_) => self.typed::<f32>(operands, &shape)?,
            CpuStorage::F64(_) => self.typed::<f64>(operands, &shape)?,
            _ => bail!("{} computes in f32 and f64: convert its input", K::NAME),
        };
        Ok((storage, shape))
    }

    fn typed<T: Element>(&self, operands: &[(&CpuStorage, &Layout)], shape: &Shape) -> Result<CpuStorage> {
        let mut views = Vec::with_capacity(operands.len());
        for (storage, layout) in operands {
            let (start, end) =
                layout.contiguous_offsets().ok_or(Error::RequiresContiguous { op: K::NAME })?;
            let data = &T::cpu_storage_as_slice(storage)?[start..end];
            views.push(Operand { data, dims: layout.dims() });
        }
        let mut out = vec![<T as Scalar>::ZERO; shape.elem_count()];
        self.0.run(&views, &mut out);
        Ok(T::to_cpu_storage_owned(out))
    }
}

impl<K: Kernel> CustomOp1 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(storage, layout)])
    }
    fn bwd(&self, a: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [a] = gradients(self.0.backward(&[a], result, grad)?)?;
        Ok(a)
    }
}

impl<K: Kernel> CustomOp2 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(s1, l1), (s2, l2)])
    }
    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = gradients(self.0.backward(&[a, b], result, grad)?)?;
        Ok((a, b))
    }
}

impl<K: Kernel> CustomOp3 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(s1, l1), (s2, l2), (s3, l3)])
    }
    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = gradients(self.0.backward(&[a, b, c], result, grad)?)?;
        Ok((a, b, c))
    }
}

fn gradients<const N: usize>(gradients: Vec<Option<Tensor>>) -> Result<[Option<Tensor>; N]> {
    gradients
        .try_into()
        .map_err(|got: Vec<_>| Error::Msg(format!("{} gradients for {N} operands", got.len())))
}

/// The dimensions of a `[batch, channels, height, width]` operand.
pub(crate) fn dims4(op: &'static str, dims: &[usize]) -> Result<[usize; 4]> {
    dims.try_into()
        .map_err(|_| Error::Msg(format!("{op} takes [batch, channels, height, width], not {dims:?}")))
}

/// A small vector in the type and on the device of `like`.
pub(crate) fn vector(values: Vec<f64>, like: &Tensor) -> Result<Tensor> {
    let len = values.len();
    let host = Tensor::from_vec(values, len, &candle_core::Device::Cpu)?;
    // Metal has no f64: convert before moving
    let dtype = if like.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    host.to_dtype(dtype)?.to_device(like.device())?.to_dtype(like.dtype())
}

/// `[channels]` spread over `dims`, one dimension after the other: the backward pass then sums one dimension
/// after the other too. Candle sums sequentially, and a single sum over a whole map in f32 loses three digits.
pub(crate) fn spread(channels: &Tensor, dims: [usize; 4]) -> Result<Tensor> {
    let [batch, count, height, width] = dims;
    let wide = channels.reshape((1, count, 1, 1))?.broadcast_as((1, count, 1, width))?;
    wide.broadcast_as((1, count, height, width))?.broadcast_as((batch, count, height, width))
}
