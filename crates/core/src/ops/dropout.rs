//! Dropout.

use candle_core::{Device, Result, Tensor, bail};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Dropout: each element is zero with probability `p`, else scaled by `1 / (1 - p)` (Srivastava et al. 2014,
/// inverted). The mask is drawn from `rng`, so that a seed repeats it on every device.
///
/// # Errors
/// Where `p` is outside `[0, 1)`.
pub fn dropout(x: &Tensor, p: f64, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        bail!("dropout: a probability of {p}, where 0 <= p < 1 is needed");
    }
    let scale = (1.0 / (1.0 - p)) as f32;
    let mask: Vec<f32> = (0..x.elem_count()).map(|_| if rng.random_bool(p) { 0.0 } else { scale }).collect();
    let mask = Tensor::from_vec(mask, x.shape().clone(), &Device::Cpu)?;
    x * mask.to_dtype(x.dtype())?.to_device(x.device())?
}
