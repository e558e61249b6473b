//! From files to the network's input, by one description that training and prediction share.

mod config;
mod hints;
mod image;
mod volume;
mod window;

pub use config::{Layout, Normalize, Preprocessor, Size};
pub use image::Loaded;
pub use volume::PreparedVolume;
pub use window::Window;

pub(crate) use image::{luma, unit_planes};
pub(crate) use volume::displayed;
