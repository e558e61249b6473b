//! Checkpoints from elsewhere for UNet 3+: the authors' PyTorch state dicts to model folders.
#![forbid(unsafe_code)]

mod error;
pub mod pytorch;

pub use error::Error;
