//! ReLU.

use candle_core::{Result, Tensor};

/// ReLU whose derivative at 0 is 0; Candle's is 1 there.
///
/// # Errors
/// None that occurs in practice: it takes every floating-point tensor.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    let values = x.detach();
    let mask = values.gt(&values.zeros_like()?)?.to_dtype(x.dtype())?;
    x * mask
}
