//! Building blocks of UNet 3+ on Candle, with gradients that are right.
//!
//! - [`ConvBlock`]: convolution, batch normalisation and ReLU, repeated;
//! - [`FullScaleSkip`]: the aggregation that gives the network its name, one node of the decoder;
//! - [`ResidualStem`] and [`ResidualBlock`]: the parts of residual encoders;
//! - [`SegmentationHead`] and [`ClassificationGuidedModule`]: the outputs;
//! - [`graph`]: networks as data, and [`graph::GraphModule`], which computes and trains them;
//! - [`ops`]: the differentiable operations below them;
//! - [`Parameters`]: named weights, drawn from a seed or taken from tensors.
//!
//! Blocks are modules in Candle's sense: they take their parameters from a `VarBuilder` and implement
//! [`candle_core::ModuleT`]. Every operation exists twice: on the CPU kernels of `unet3p-kernels`, and in Candle's
//! operations for the other devices. [`Backend`] says which one runs.
//!
//! ```
//! use candle_core::{DType, Device, ModuleT, Tensor};
//! use unet3p_core::{ConvBlock, Parameters};
//!
//! # fn main() -> candle_core::Result<()> {
//! let parameters = Parameters::init(7, DType::F32, &Device::Cpu);
//! let block = ConvBlock::new(3, 8, 2, parameters.builder())?;
//! let x = Tensor::zeros((1, 3, 16, 16), DType::F32, &Device::Cpu)?;
//! assert_eq!(block.forward_t(&x, false)?.dims(), &[1, 8, 16, 16]);
//! # Ok(())
//! # }
//! ```
//!
//! # A network of one's own
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/custom_network.rs")]
#![doc = "```"]
#![forbid(unsafe_code)]

mod backend;
mod blocks;
pub mod graph;
pub mod ops;
mod parameters;
mod training;

pub use backend::Backend;
pub use blocks::{
    ClassificationGuidedModule, ConvBlock, FullScaleSkip, ResidualBlock, ResidualShape, ResidualStem,
    SegmentationHead, classification_guided_module, conv_block, decoder, full_scale_skip, residual_block,
    residual_stem, segmentation_head,
};
pub use candle_core::{Error, Result};
pub use graph::BatchNormOptions;
pub use parameters::Parameters;
