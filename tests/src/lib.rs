//! Shared helpers of the golden and end-to-end tests.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};
use unet3p_core::Backend;

/// Relative L2 error allowed for an output of the whole network in f32 against the original implementations'.
pub const OUTPUT_BUDGET: f64 = 1e-5;

/// Names the device that the backend of Candle's operations is tested on: `cpu` (the default), `cuda` or `metal`.
pub const DEVICE_VARIABLE: &str = "UNET3P_TEST_DEVICE";

/// The device that [`DEVICE_VARIABLE`] names, one for the whole process.
///
/// # Panics
/// For another name, and for a device that does not answer: a test that was meant for a GPU must not pass without one.
pub fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || {
        let name = std::env::var(DEVICE_VARIABLE).unwrap_or_else(|_| "cpu".into());
        let opened = match name.as_str() {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Device::new_cuda(0),
            "metal" => Device::new_metal(0),
            _ => panic!("{DEVICE_VARIABLE}={name}: use cpu, cuda or metal"),
        };
        opened.unwrap_or_else(|error| panic!("{DEVICE_VARIABLE}={name}: {error}"))
    };
    DEVICE.get_or_init(open).clone()
}

/// Where a backend is tested: the kernels on the CPU, Candle's operations on [`device`].
pub fn device_of(backend: Backend) -> Device {
    match backend {
        Backend::Kernels => Device::Cpu,
        Backend::Candle => device(),
    }
}

/// The tensors of a golden file on a device, in a precision.
///
/// # Panics
/// Where the file cannot be read.
pub fn load_golden(path: impl AsRef<Path>, dtype: DType, device: &Device) -> HashMap<String, Tensor> {
    let convert = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(dtype)?));
    let tensors = candle_core::safetensors::load(path, device);
    let tensors = tensors.and_then(|tensors| tensors.into_iter().map(convert).collect());
    tensors.unwrap_or_else(|error: candle_core::Error| panic!("{error}"))
}

/// `||got - want|| / ||want||`, 0 where the two are equal; infinite where the shapes differ or anything is NaN. The two may be on
/// different devices.
pub fn relative_error(got: &Tensor, want: &Tensor) -> f64 {
    let compute = || -> candle_core::Result<f64> {
        let here = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F64);
        let (got, want) = (here(got)?, here(want)?);
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
