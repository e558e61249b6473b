//! Means over the pixels that count.

use candle_core::{Result, Tensor};

use crate::numerics;
use crate::target::Target;

/// The mean of maps `[batch, channels, height, width]` over batch, channels and valid pixels, 0 if there are none.
pub(crate) struct PixelMean {
    /// The pixels that count, and the reciprocal of the number of values.
    valid: Option<(Tensor, Tensor)>,
    values: usize,
}

impl PixelMean {
    /// For maps of `channels` channels; `target` is [`Target::matching`] the prediction.
    pub(crate) fn new(target: &Target, channels: usize) -> Result<Self> {
        let (batch, _, height, width) = target.classes.dims4()?;
        let valid = match &target.valid {
            None => None,
            Some(valid) => {
                let count = (numerics::sum_all(valid)? * channels as f64)?.maximum(1.0)?;
                Some((valid.clone(), count.recip()?))
            }
        };
        Ok(Self { valid, values: (batch * channels * height * width).max(1) })
    }

    /// The mean of `map`, a scalar.
    pub(crate) fn mean(&self, map: &Tensor) -> Result<Tensor> {
        match &self.valid {
            None => numerics::sum_all(map)? / self.values as f64,
            Some((valid, reciprocal)) => numerics::sum_all(&map.broadcast_mul(valid)?)? * reciprocal,
        }
    }

    /// The mean's gradient where `derivative` is that of the map: `upstream` (a scalar) times derivative over count.
    pub(crate) fn backward(&self, derivative: &Tensor, upstream: &Tensor) -> Result<Tensor> {
        match &self.valid {
            None => derivative.broadcast_mul(&(upstream / self.values as f64)?),
            Some((valid, reciprocal)) => {
                derivative.broadcast_mul(&valid.broadcast_mul(&(upstream * reciprocal)?)?)
            }
        }
    }
}
