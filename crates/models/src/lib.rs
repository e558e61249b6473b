//! UNet 3+ (Huang et al. 2020, arXiv:2004.08790) in its three variants on Candle: configuration, network and
//! model folders.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use unet3p_models::{Predictor, UNet3Plus, UNet3PlusConfig, Variant, class_map};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = UNet3PlusConfig::builder().variant(Variant::DeepSupervision).base_filters(8).build()?;
//! let model = UNet3Plus::init(&config, 42, DType::F32, &Device::Cpu)?;
//! let image = Tensor::zeros((1, 3, 50, 70), DType::F32, &Device::Cpu)?; // any size
//! let output = model.predict(&image)?;
//! assert_eq!(output.probabilities.dims(), &[1, 1, 50, 70]);
//! let mask = class_map(&output.probabilities, config.activation, 0.5)?;
//! assert_eq!(mask.dims(), &[1, 50, 70]);
//! # Ok(())
//! # }
//! ```
//!
//! # A training loop in Candle's idiom
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/train_candle.rs")]
#![doc = "```"]
#![forbid(unsafe_code)]

mod architecture;
mod card;
mod class_map;
mod config;
mod cost;
mod encoder;
mod engine;
mod error;
mod finite;
mod folder;
mod gate;
mod header;
mod network;
mod padding;
mod predictor;
mod tiles;

pub use architecture::Architecture;
pub use card::{CardResult, ModelCard};
pub use class_map::{check_probabilities, class_map};
pub use config::{CgmGate, MAX_IN_CHANNELS, UNet3PlusConfig, UNet3PlusConfigBuilder, Variant};
pub use cost::{Part, parts, tensor_shapes};
pub use encoder::Encoder;
pub use engine::{Algorithm, CompileOptions, Engine, LayerReport};
pub use error::{Error, Result};
pub use finite::weight_problem;
pub use folder::MODEL_FILES;
pub use gate::{BeforeGate, BeforeGateValues};
pub use header::check_safetensors;
pub use network::UNet3Plus;
pub use padding::pad_to_multiple;
pub use predictor::{AllOutputs, Logits, Output, Predictor};
pub use tiles::{SIZE_MULTIPLE, Tiling, check_tile};
pub use unet3p_kernels::{ISA_VARIABLE, Isa};
pub use unet3p_losses::Activation;
