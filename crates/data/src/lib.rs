//! Medical images for segmentation: image and NIfTI reading, preprocessing, 2.5D slices, datasets and augmentation.
#![forbid(unsafe_code)]

mod atomic;
mod augment;
mod case_list;
mod channels;
mod class_names;
mod dataset;
mod decode;
mod error;
mod guard;
mod listing;
mod mask;
mod open;
mod picture;
mod planes;
pub mod prepare;
mod preprocess;
mod resample;
mod text;
mod volume;

pub use atomic::write_atomically;
pub use augment::{
    Augmentation, Blur, Brightness, Contrast, Elastic, Flip, Gamma, Noise, RegionIntensity, Rotation, Scale,
    Shift, SingleSlice,
};
pub use case_list::ListedCase;
pub use channels::{MAX_CHANNELS, channel_of};
pub use class_names::check_class_names;
pub use dataset::{
    DatasetOptions, Findings, Inspection, MaskName, Parts, Sample, Slice, SliceDataset, Source, Split,
};
pub use decode::MAX_PIXELS;
pub use error::{Error, Result};
pub use guard::{guard, is_guarded};
pub use listing::{FolderListing, ListedFile, OUTPUT_RECORD, Wanted, list_files};
pub use mask::{
    IGNORED, Mask, MaskColors, MaskOptions, MaskReader, MaskValues, default_color, read_mask, write_mask,
};
pub use open::open_file;
pub use picture::Picture;
pub use planes::{Image, LabelMap};
pub use preprocess::{Layout, Loaded, Normalize, PreparedVolume, Preprocessor, Size, Window};
pub use resample::{Resample, resize, resize_labels};
pub use text::{read_json, read_text};
pub use unet3p_kernels::ClassRule;
pub use volume::{MAX_VOXELS, Nifti, Orientation, Volume, VolumeReader, VolumeWriter, Voxel};
