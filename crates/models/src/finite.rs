//! Weights have to be numbers.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use safetensors::Dtype;

use crate::error::{Error, Result};

/// Bytes that are looked through at once, by one thread.
const BLOCK: usize = 1 << 20;

/// What the names of variances end with.
const VARIANCE: &str = "running_var";

/// Why the network could not compute with the tensor `name`: NaN, infinite values (also those that f32, in which the network
/// computes, cannot hold), or a running variance below 0.
///
/// # Errors
/// Where the tensor cannot be read.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use unet3p_models::weight_problem;
///
/// let problem = |name, value: f32| weight_problem(name, &Tensor::new(&[1.0, value], &Device::Cpu)?);
/// assert_eq!(problem("encoder.1.bn1.weight", -1.0)?, None);
/// let variance = problem("encoder.1.bn1.running_var", -1.0)?;
/// assert_eq!(variance.as_deref(), Some("1 of its 2 values is a variance below 0"));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn weight_problem(name: &str, tensor: &Tensor) -> candle_core::Result<Option<String>> {
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    let block = |block: &[f32]| block.iter().fold(true, |so_far, value| so_far & value.is_finite());
    let sound = values.par_chunks(BLOCK / size_of::<f32>()).all(block);
    Ok(describe(name, sound, || values))
}

/// Checks the tensor `name` as it is stored.
pub(crate) fn check(name: &str, dtype: Dtype, bytes: &[u8]) -> Result<()> {
    let half = |exponent: u16| all(bytes, move |value| u16::from_le_bytes(value) & exponent != exponent);
    let sound = match dtype {
        Dtype::F32 => all(bytes, |value| f32::from_le_bytes(value).is_finite()),
        Dtype::F64 => all(bytes, |value| (f64::from_le_bytes(value) as f32).is_finite()),
        Dtype::F16 => half(0x7c00),
        Dtype::BF16 => half(0x7f80),
        // No type of weights: whoever makes a tensor of it says so.
        _ => return Ok(()),
    };
    match describe(name, sound, || values(dtype, bytes)) {
        None => Ok(()),
        Some(problem) => Err(Error::NotFinite { tensor: name.to_owned(), problem }),
    }
}

/// Whether all values are `good`, which is asked of each without a branch.
fn all<const N: usize>(bytes: &[u8], good: impl Fn([u8; N]) -> bool + Sync) -> bool {
    let block = |block: &[u8]| block.as_chunks().0.iter().fold(true, |so_far, &value| so_far & good(value));
    bytes.par_chunks(BLOCK).all(block)
}

fn values(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|&bytes| value(bytes)).collect()
    }
    match dtype {
        Dtype::F64 => each(bytes, |value| f64::from_le_bytes(value) as f32),
        Dtype::F16 => each(bytes, |value| half::f16::from_le_bytes(value).to_f32()),
        Dtype::BF16 => each(bytes, |value| half::bf16::from_le_bytes(value).to_f32()),
        _ => each(bytes, f32::from_le_bytes),
    }
}

/// What is wrong with a tensor, whose values are looked at one by one only where something is or may be.
fn describe(name: &str, is_finite: bool, values: impl FnOnce() -> Vec<f32>) -> Option<String> {
    let is_variance = name.ends_with(VARIANCE);
    if is_finite && !is_variance {
        return None;
    }
    let values = values();
    let count = |wrong: fn(&f32) -> bool| values.iter().filter(|value| wrong(value)).count();
    let negative = if is_variance { count(|value| *value < 0.0 && value.is_finite()) } else { 0 };
    let kinds = [
        (count(|value| value.is_nan()), "NaN"),
        (count(|value| value.is_infinite()), "infinite"),
        (negative, "a variance below 0"),
    ];
    let found = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| {
        let verb = if *count == 1 { "is" } else { "are" };
        format!("{count} of its {} values {verb} {what}", values.len())
    });
    Some(found.collect::<Vec<_>>().join(", ")).filter(|problem| !problem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_looked_through_to_its_last_value() {
        let message = |dtype, bytes: &[u8]| check("w", dtype, bytes).unwrap_err().to_string();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let what = if value.is_nan() { "NaN" } else { "infinite" };
            // Beyond one block, and in one that is not full.
            for length in [1, 3, 17, BLOCK / 4, BLOCK / 4 + 3] {
                let mut values = vec![-0.5f32; length];
                values[length - 1] = value;
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                let expected = format!("w: 1 of its {length} values is {what}");
                assert!(message(Dtype::F32, &bytes).starts_with(&expected));
                assert!(check("w", Dtype::F32, &bytes[..bytes.len() - 4]).is_ok());
            }
            let wide = f64::from(value).to_le_bytes();
            assert!(message(Dtype::F64, &wide).contains(what));
            assert!(message(Dtype::F16, &half::f16::from_f32(value).to_le_bytes()).contains(what));
            assert!(message(Dtype::BF16, &half::bf16::from_f32(value).to_le_bytes()).contains(what));
        }
        // Finite as f64, and more than f32 can hold.
        assert!(message(Dtype::F64, &1e39f64.to_le_bytes()).contains("infinite"));
        for largest in [half::f16::MAX, half::f16::MIN, half::f16::MIN_POSITIVE] {
            assert!(check("w", Dtype::F16, &largest.to_le_bytes()).is_ok());
        }
        assert!(check("w", Dtype::BF16, &half::bf16::MAX.to_le_bytes()).is_ok());
        assert!(check("w", Dtype::F32, &f32::MAX.to_le_bytes()).is_ok());
    }

    #[test]
    fn only_variances_must_not_be_negative() {
        let bytes = [-1.0f32, 1.0, f32::NAN, -0.0].map(f32::to_le_bytes).concat();
        let error = check("a.running_var", Dtype::F32, &bytes).unwrap_err().to_string();
        assert!(
            error.contains("1 of its 4 values is NaN, 1 of its 4 values is a variance below 0"),
            "{error}"
        );
        assert!(check("a.running_mean", Dtype::F32, &bytes[..4]).is_ok());
        assert!(check("a.running_var", Dtype::BF16, &half::bf16::from_f32(-1e-30).to_le_bytes()).is_err());
        assert!(check("a.running_var", Dtype::F32, &bytes[12..]).is_ok());
    }
}
