//! From probabilities to class ids.

use candle_core::{DType, Device, Tensor};
use unet3p_kernels::ClassRule;

use crate::Activation;
use crate::error::{Error, Result};

/// The class of each pixel: `[batch, classes, height, width]` to u8 `[batch, height, width]`, on the CPU.
///
/// Softmax: the index of the largest probability; 0 is the background. Sigmoid: ids 1..n, the most probable class
/// where it exceeds `threshold` (exclusive), else 0. Of equal ones the first wins.
///
/// # Errors
/// Where the tensor has other than four dimensions or more than 255 classes, and those of [`check_probabilities`].
pub fn class_map(probabilities: &Tensor, activation: Activation, threshold: f32) -> Result<Tensor> {
    let (batch, classes, height, width) = probabilities.dims4()?;
    if !(1..=255).contains(&classes) {
        return Err(Error::Input(format!("{classes} classes do not fit into a mask of 8 bits")));
    }
    let values =
        probabilities.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    check_probabilities(&values)?;
    let rule = match activation {
        Activation::Softmax => ClassRule::Argmax,
        Activation::Sigmoid => ClassRule::Threshold(threshold),
    };
    let images = values.chunks_exact((classes * height * width).max(1));
    let ids: Vec<u8> = images.flat_map(|image| rule.classes(image, classes)).collect();
    Ok(Tensor::from_vec(ids, (batch, height, width), &Device::Cpu)?)
}

/// Checks that probabilities are numbers: compared with a threshold, NaN would be background.
///
/// # Errors
/// [`Error::Probabilities`] with how many are NaN or infinite.
pub fn check_probabilities(values: &[f32]) -> Result<()> {
    let wrong = values.iter().map(|value| usize::from(!value.is_finite())).sum();
    if wrong == 0 { Ok(()) } else { Err(Error::Probabilities { wrong, total: values.len() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(values: &[f32], classes: usize, activation: Activation) -> Vec<u8> {
        let shape = (1, classes, 1, values.len() / classes);
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        class_map(&tensor, activation, 0.5).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn ids_by_activation() {
        // the threshold is exclusive
        assert_eq!(ids(&[0.5, 0.51, 0.0], 1, Activation::Sigmoid), [0, 1, 0]);
        assert_eq!(ids(&[0.6, 0.2, 0.6, 0.7, 0.3, 0.6], 2, Activation::Sigmoid), [2, 0, 1]);
        assert_eq!(ids(&[0.9, 0.2, 0.1, 0.8], 2, Activation::Softmax), [0, 1]);
    }

    #[test]
    fn what_is_no_number_is_no_background() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let tensor = Tensor::from_slice(&[0.9, value], (1, 2, 1, 1), &Device::Cpu).unwrap();
            for activation in [Activation::Sigmoid, Activation::Softmax] {
                let error = class_map(&tensor, activation, 0.5).unwrap_err();
                assert!(matches!(error, Error::Probabilities { wrong: 1, total: 2 }), "{error}");
            }
        }
    }
}
