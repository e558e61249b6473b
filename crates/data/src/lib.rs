//! Medical images for segmentation: image and NIfTI reading, preprocessing, 2.5D slices, datasets and augmentation.
#![forbid(unsafe_code)]

mod augment;
mod dataset;
mod error;
mod planes;

pub use augment::{
    Augmentation, Blur, Brightness, Contrast, Elastic, Flip, Gamma, Noise, RegionIntensity, Rotation,
    Scale, Shift,
};
pub use dataset::{Parts, Sample, Slice, SliceDataset, Split};
pub use error::{Error, Result};
pub use planes::{Image, LabelMap};
