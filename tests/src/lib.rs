//! Shared helpers of the golden and end-to-end tests.

use candle_core::{DType, Tensor};

/// Relative L2 error allowed for an output of the whole network in f32 against the original implementations'.
pub const OUTPUT_BUDGET: f64 = 1e-5;

/// `||got - want|| / ||want||`, 0 where the two are equal; infinite where the shapes differ or anything is NaN.
pub fn relative_error(got: &Tensor, want: &Tensor) -> f64 {
    let compute = || -> candle_core::Result<f64> {
        let (got, want) = (got.to_dtype(DType::F64)?, want.to_dtype(DType::F64)?);
        let error = (got.contiguous()? - &want)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
        let scale = want.sqr()?.sum_all()?.to_scalar::<f64>()?;
        Ok(if error == 0.0 { 0.0 } else { (error / scale).sqrt() })
    };
    compute().ok().filter(|error| !error.is_nan()).unwrap_or(f64::INFINITY)
}

/// `1 / (1 + exp(-x))`.
///
/// # Panics
/// Where the tensor is not floating point.
pub fn sigmoid(x: &Tensor) -> Tensor {
    let compute = || (x.neg()?.exp()? + 1.0)?.recip();
    compute().expect("a floating-point tensor")
}

/// The README's examples, so that they compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The guide's Rust snippets, compiled as doc-tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
pub struct Guide;

/// The snippets about the Hub.
#[cfg(doctest)]
#[doc = include_str!("../../docs/hub.md")]
pub struct HubPage;
