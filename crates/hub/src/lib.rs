//! Checkpoints from elsewhere for UNet 3+: the authors' PyTorch state dicts to model folders.
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

mod archive;
mod card;
mod convert;
mod error;
pub mod names;
pub mod pytorch;

pub use convert::{ConvertOptions, ConvertReport, SourceKind, convert, source_kind};
pub use error::Error;
