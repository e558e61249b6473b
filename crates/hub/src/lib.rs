//! Weights from elsewhere for UNet 3+: models of the Hugging Face Hub, and the authors' PyTorch state dicts.
//!
//! [`Hub::pull`] turns the id of a model on the Hub into a model folder in the cache that Python's huggingface_hub shares.
//!
//! [`convert`] turns a checkpoint file into a model folder that [`unet3p_models::UNet3Plus::load`]
//! opens. Below it, each useful alone: [`pytorch`] reads state dicts without Python and without
//! executing anything of theirs, and [`names`] maps tensor names and reads the architecture out of
//! the shapes.
//!
//! ```no_run
//! use unet3p_hub::{ConvertOptions, convert};
//!
//! convert("unet3plus.pth".as_ref(), "model".as_ref(), &ConvertOptions::default())?;
//! # Ok::<(), unet3p_hub::Error>(())
//! ```
#![forbid(unsafe_code)]

mod card;
mod convert;
mod error;
mod hub;
pub mod names;
pub mod pytorch;

pub use convert::{ConvertOptions, ConvertReport, SourceKind, convert, source_kind};
pub use error::Error;
pub use hub::{DEFAULT_ENDPOINT, Hub, HubError, ModelId, Progress};
