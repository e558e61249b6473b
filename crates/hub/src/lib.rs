//! Weights from and to elsewhere for UNet 3+: models of the Hugging Face Hub, checkpoints of PyTorch and Keras, ImageNet
//! weights for encoders, ONNX files.
//!
//! [`Hub::pull`] turns the id of a model on the Hub into a model folder in the cache that Python's huggingface_hub shares.
//! [`encoder::read`] reads the classifiers that encoders start from, and [`onnx::export`] writes networks for other runtimes.
//!
//! [`convert`] turns a checkpoint file into a model folder that [`unet3p_models::UNet3Plus::load`]
//! opens, and [`compare`] holds the network against the original's predictions. Below it, each useful alone:
//! [`pytorch`] reads state dicts and [`keras`] weights, without Python and without executing anything of theirs, and
//! [`names`] maps tensor names and reads the architecture out of the shapes.
//!
//! ```no_run
//! use unet3p_hub::{ConvertOptions, convert};
//!
//! convert("unet3plus.pth".as_ref(), "model".as_ref(), &ConvertOptions::default())?;
//! # Ok::<(), unet3p_hub::Error>(())
//! ```
#![forbid(unsafe_code)]

mod archive;
mod assumed;
mod card;
mod check;
mod convert;
pub mod encoder;
mod error;
mod hub;
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
pub use hub::{DEFAULT_ENDPOINT, Hub, HubError, ModelId, Progress};
pub use rounding::Rounding;
pub use source::{SourceKind, source_kind};
