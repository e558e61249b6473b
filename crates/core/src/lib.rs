//! Building blocks of UNet 3+ on Candle, with gradients that are right.
//!
//! - [`ConvBlock`]: convolution, batch normalisation and ReLU, repeated;
//! - [`FullScaleSkip`]: the aggregation that gives the network its name, one node of the decoder;
//! - [`ResidualStem`] and [`ResidualBlock`]: what residual encoders are made of;
//! - [`SegmentationHead`] and [`ClassificationGuide`]: what reads the decoder and what gates it;
//! - [`ops`]: the differentiable operations below them;
//! - [`Parameters`]: named weights, drawn from a seed or taken from tensors.
//!
//! Every operation exists twice: on the CPU kernels of `unet3p-kernels`, and as a composition of Candle ops
//! for the other devices. [`Execution`] says which one runs.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use unet3p_core::{BatchNormOptions, ConvBlock, Execution, Mode, Parameters};
//!
//! # fn main() -> candle_core::Result<()> {
//! let device = Device::Cpu;
//! let parameters = Parameters::init(7, DType::F32, &device);
//! let execution = Execution::for_device(&device);
//! let block = ConvBlock::new(3, 8, 2, BatchNormOptions::default(), execution, parameters.builder())?;
//! let x = Tensor::zeros((1, 3, 16, 16), DType::F32, &device)?;
//! assert_eq!(block.forward(&x, Mode::Evaluation)?.dims(), &[1, 8, 16, 16]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod blocks;
mod execution;
pub mod ops;
mod parameters;
pub mod training;

pub use blocks::{
    BatchNormOptions, ClassificationGuide, ConvBlock, FullScaleSkip, ResidualBlock, ResidualShape,
    ResidualStem, SegmentationHead,
};
pub use candle_core::{Error, Result};
pub use execution::{Execution, Mode};
pub use parameters::Parameters;
