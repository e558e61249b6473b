//! Medical images for segmentation: image and NIfTI reading, preprocessing, 2.5D slices, datasets and augmentation.
#![forbid(unsafe_code)]

mod error;
mod planes;

pub use error::{Error, Result};
pub use planes::{Image, LabelMap};
