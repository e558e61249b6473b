//! What is lost where weights are stored in 16 bits.

use candle_core::{DType, Tensor};
use unet3p_models::UNet3Plus;

/// The difference between the weights and what is stored of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounding {
    /// `||stored - weights|| / ||weights||` over all weights together.
    pub relative_l2: f64,
    /// The largest `|stored - weight| / |weight|` of a single weight. Below the smallest number of the format, where
    /// a weight becomes 0, it is 1.
    pub largest_relative: f64,
    /// The tensor that has it; empty where nothing is lost.
    pub tensor: String,
}

/// A weight beyond the largest number of the format.
pub(crate) struct Overflow {
    pub(crate) tensor: String,
    pub(crate) value: f32,
}

/// Measures what storing the weights of `model` as `dtype` loses.
pub(crate) fn measure(model: &UNet3Plus, dtype: DType) -> candle_core::Result<Result<Rounding, Overflow>> {
    let (mut error, mut norm) = (0.0, 0.0);
    let mut rounding = Rounding { relative_l2: 0.0, largest_relative: 0.0, tensor: String::new() };
    for (tensor, variable) in model.parameters().all() {
        let weights = flat(variable.as_tensor())?;
        let stored = flat(&variable.as_tensor().to_dtype(dtype)?)?;
        for (&weight, &stored) in weights.iter().zip(&stored) {
            if weight.is_finite() && !stored.is_finite() {
                return Ok(Err(Overflow { tensor, value: weight }));
            }
            let (weight, difference) = (f64::from(weight), f64::from(stored) - f64::from(weight));
            error += difference * difference;
            norm += weight * weight;
            let relative = (difference / weight).abs();
            if relative > rounding.largest_relative {
                rounding.largest_relative = relative;
                rounding.tensor.clone_from(&tensor);
            }
        }
    }
    if norm > 0.0 {
        rounding.relative_l2 = (error / norm).sqrt();
    }
    Ok(Ok(rounding))
}

fn flat(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}
