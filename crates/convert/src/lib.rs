//! Weights from and to elsewhere for UNet 3+: checkpoints of PyTorch and Keras, ImageNet weights for encoders, ONNX files.
//!
//! [`encoder::read`] reads the classifiers that encoders start from, and [`onnx::export`] writes networks for other runtimes.
//!
//! [`convert`] turns a checkpoint file into a model folder that [`unet3p_models::UNet3Plus::load`]
//! opens, and [`compare`] holds the network against the original's predictions. Below it, each useful alone:
//! [`pytorch`] reads state dicts and [`keras`] weights, without Python and without executing anything of theirs, and
//! [`names`] maps tensor names and reads the architecture out of the shapes.
//!
//! ```no_run
//! use unet3p_convert::{ConvertOptions, convert};
//!
//! convert("unet3plus.pth".as_ref(), "model".as_ref(), &ConvertOptions::default())?;
//! # Ok::<(), unet3p_convert::Error>(())
//! ```
#![forbid(unsafe_code)]

mod archive;
mod assumed;
mod card;
mod check;
mod convert;
pub mod encoder;
mod error;
pub mod keras;
pub mod names;
pub mod onnx;
mod preprocessor;
pub mod pytorch;
mod rounding;
mod source;

pub use assumed::Assumption;
pub use check::{CHECK_TOLERANCE, CheckError, Comparison, compare};
pub use convert::{ConvertOptions, ConvertReport, Converted, check_destination, convert};
pub use error::Error;
pub use rounding::Rounding;
pub use source::{SourceKind, source_kind};
