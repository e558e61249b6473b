//! Max pooling.

use candle_core::{Result, Shape, Tensor, bail};
use unet3p_kernels::Window;

use super::kernel::{Element, Kernel, Operand, apply, compute, dims4, vector};
use super::unfold::taps;
use crate::backend::Backend;

/// Max pooling: `[batch, channels, height, width]` to `[batch, channels, rows, cols]` of [`Window::pooled`]. A number
/// `k` stands for windows of `k` x `k` side by side; rows and columns that fill no window are dropped.
///
/// # Errors
/// Where a side is shorter than the window, or `x` is empty.
pub fn max_pool2d(backend: Backend, x: &Tensor, window: impl Into<Window>) -> Result<Tensor> {
    let window = window.into();
    match backend {
        Backend::Kernels => apply(Forward(window), &[x]),
        Backend::Candle => {
            let [batch, channels, rows, cols] = pooled(x.dims(), window)?;
            let k = window.side;
            if window != Window::from(k) {
                return maximum_of_last(&Tensor::stack(&taps(x, window, f64::NEG_INFINITY)?, 4)?);
            }
            let windows = x
                .narrow(2, 0, rows * k)?
                .narrow(3, 0, cols * k)?
                .contiguous()?
                .reshape(&[batch, channels, rows, k, cols, k][..])?
                .permute([0, 1, 2, 4, 3, 5])?
                .contiguous()?
                .reshape((batch, channels, rows, cols, k * k))?;
            maximum_of_last(&windows)
        }
    }
}

/// The maximum over height and width: `[batch, channels, height, width]` to `[batch, channels]`.
///
/// # Errors
/// Where `x` has other than four dimensions or is empty.
pub fn global_max_pool(x: &Tensor) -> Result<Tensor> {
    let dims = dims4("global_max_pool", x.dims())?;
    if dims.contains(&0) {
        bail!("global_max_pool: an empty input {dims:?}");
    }
    maximum_of_last(&x.flatten_from(2)?)
}

/// Maximum over the last dimension, whose gradient goes to the first maximum.
fn maximum_of_last(x: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    let values = x.detach();
    let is_maximum = values.broadcast_eq(&values.max_keepdim(last)?)?;
    // ranks fall from n to 1, so the first maximum has the largest rank and no other equals it
    let n = x.dim(last)?;
    let ranks = vector((0..n).map(|i| (n - i) as f64).collect(), &values)?;
    let first = is_maximum.to_dtype(x.dtype())?.broadcast_mul(&ranks)?.argmax_keepdim(last)?;
    x.contiguous()?.gather(&first, last)?.squeeze(last)
}

fn pooled(dims: &[usize], window: Window) -> Result<[usize; 4]> {
    let [batch, channels, height, width] = dims4("max_pool2d", dims)?;
    if dims.contains(&0) {
        bail!("max_pool2d: an empty input {dims:?}");
    }
    match window.pooled([height, width]) {
        Some([rows, cols]) => Ok([batch, channels, rows, cols]),
        None => bail!("max_pool2d: {window:?} on a map of {height}x{width}"),
    }
}

struct Forward(Window);

impl Kernel for Forward {
    const NAME: &'static str = "max_pool2d";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        Ok(pooled(dims[0], self.0)?.to_vec().into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let x = operands[0];
        unet3p_kernels::max_pool2d([x.dims[2], x.dims[3]], self.0, x.data, out);
    }

    fn backward(&self, operands: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(compute(Backward(self.0), &[operands[0], grad])?)])
    }
}

struct Backward(Window);

impl Kernel for Backward {
    const NAME: &'static str = "max_pool2d-backward";

    fn output(&self, dims: &[&[usize]]) -> Result<Shape> {
        Ok(dims[0].to_vec().into())
    }

    fn run<T: Element>(&self, operands: &[Operand<'_, T>], out: &mut [T]) {
        let x = operands[0];
        unet3p_kernels::max_pool2d_backward([x.dims[2], x.dims[3]], self.0, x.data, operands[1].data, out);
    }
}
