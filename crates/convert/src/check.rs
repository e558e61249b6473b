//! A converted network held against what the original makes of the same input.

use candle_core::{DType, Device, Tensor};
use unet3p_models::{Predictor, UNet3Plus};

/// Relative L2 error up to which a converted network predicts what the original does. Two implementations in f32
/// differ by some 1e-6; a wrong eps, activation or order of layers by 1e-2 and more.
pub const CHECK_TOLERANCE: f64 = 1e-4;

/// How far a prediction is from the expected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// `||predicted - expected|| / ||expected||`; 0 where both are 0 everywhere, infinite where only `expected` is.
    pub relative_l2: f64,
    /// The largest `|predicted - expected|`.
    pub largest: f64,
}

impl Comparison {
    /// Whether the error is within [`CHECK_TOLERANCE`].
    pub fn passes(&self) -> bool {
        self.relative_l2 <= CHECK_TOLERANCE
    }
}

/// Why a prediction cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The input is none of the network's.
    #[error(
        "its shape is {found:?}; the network takes [images, {channels}, height, width]{}",
        channels_last(found, *channels)
    )]
    Input {
        /// The input's shape.
        found: Vec<usize>,
        /// Channels that the network takes.
        channels: usize,
    },
    /// The expected probabilities have another shape than the network's for this input.
    #[error(
        "its shape is {found:?}; the probabilities of head 1 for this input are {wanted:?}{}",
        channels_last(found, wanted[1])
    )]
    Expected {
        /// The expected probabilities' shape.
        found: Vec<usize>,
        /// That of the network's.
        wanted: Vec<usize>,
    },
    /// The network failed on the input.
    #[error("the network fails on it: {0}")]
    Network(#[from] unet3p_models::Error),
}

impl From<candle_core::Error> for CheckError {
    fn from(cause: candle_core::Error) -> Self {
        Self::Network(cause.into())
    }
}

/// What to do about an array as Keras has it.
fn channels_last(shape: &[usize], channels: usize) -> &'static str {
    match shape {
        [_, first, _, last] if *last == channels && *first != channels => {
            ". It looks as if the channels were last: numpy.moveaxis(x, -1, 1) puts them where they belong"
        }
        _ => "",
    }
}

/// Predicts on `input` `[images, channels, height, width]`, the network's input as it is, and compares head 1's
/// probabilities with those that the original has for it.
///
/// # Errors
///
/// [`CheckError`] where a shape does not fit, or the network fails.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use unet3p_convert::compare;
/// use unet3p_models::{Predictor, UNet3Plus, UNet3PlusConfig};
///
/// let config = UNet3PlusConfig::builder().base_filters(2).build()?;
/// let model = UNet3Plus::init(&config, 7, DType::F32, &Device::Cpu)?;
/// let input = Tensor::ones((1, 3, 16, 16), DType::F32, &Device::Cpu)?;
/// let expected = model.predict(&input)?.probabilities;
/// assert!(compare(&model, &input, &expected)?.passes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn compare(model: &UNet3Plus, input: &Tensor, expected: &Tensor) -> Result<Comparison, CheckError> {
    let config = model.config();
    let &[images, channels, height, width] = input.dims() else {
        return Err(CheckError::Input { found: input.dims().to_vec(), channels: config.in_channels });
    };
    if channels != config.in_channels || input.elem_count() == 0 {
        return Err(CheckError::Input { found: input.dims().to_vec(), channels: config.in_channels });
    }
    let wanted = vec![images, config.num_classes, height, width];
    if expected.dims() != wanted {
        return Err(CheckError::Expected { found: expected.dims().to_vec(), wanted });
    }
    let wide = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64);
    let expected = wide(expected)?;
    let difference = (wide(&model.predict(input)?.probabilities)? - &expected)?;
    let norm = |tensor: &Tensor| tensor.sqr()?.sum_all()?.to_scalar::<f64>();
    Ok(Comparison {
        relative_l2: relative(norm(&difference)?, norm(&expected)?),
        largest: difference.abs()?.max_all()?.to_scalar::<f64>()?,
    })
}

/// The relative error of squared norms. Equal predictions are no error, also where all of them are 0.
fn relative(difference: f64, expected: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { (difference / expected).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_expected_and_nothing_predicted_passes() {
        let passes = |difference, expected| {
            Comparison { relative_l2: relative(difference, expected), largest: 0.0 }.passes()
        };
        assert!(passes(0.0, 0.0) && passes(1e-10, 1.0));
        assert!(!passes(1e-30, 0.0) && !passes(1.0, 1.0) && !passes(f64::NAN, 1.0) && !passes(1.0, f64::NAN));
        assert_eq!(relative(1e-30, 0.0), f64::INFINITY);
    }
}
