//! UNet 3+ segmentation of medical images in ten lines: a bundled model, a model folder, an image in, a mask out.
//!
//! ```no_run
//! use unet3p::Segmenter;
//!
//! fn main() -> unet3p::Result<()> {
//!     let segmenter = Segmenter::from_pretrained("liver-ct")?;
//!     let found = segmenter.segment("slice.png")?;
//!     for class in &found.classes {
//!         println!("{}: {:.1} % of the image", class.label, 100.0 * class.fraction);
//!     }
//!     found.write_mask("slice_mask.png")?;
//!     Ok(())
//! }
//! ```
//!
//! [`Segmenter::from_pretrained`] takes the name of a model that is compiled into this crate (see
//! [`BUNDLED_MODELS`]), a model folder, a single safetensors file, or, with the feature `hub`, the id of a model on the
//! Hugging Face Hub (`"org/name"` or `"org/name@revision"`). [`Segmenter::segment`] takes an image file,
//! [`Segmenter::segment_volume_file`] a NIfTI volume, whose mask comes back on the volume's own grid, and
//! [`Segmenter::segment_npy`] arrays; [`Segmenter::segment_image`] and [`Segmenter::segment_volume`] take what is in memory.
//! The parts are re-exported: [`models`] for the network itself, [`data`] for
//! images and volumes.
//!
//! What the command line does with whole folders is here as well: [`plan`] names the outputs of a run and keeps its journal,
//! [`record`] reads and writes `predictions.json`, and [`evaluate`] scores predictions against references.
//!
//! The bundled models are for research; they are not medical devices.
//!
//! # A program
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/segment.rs")]
#![doc = "```"]
#![forbid(unsafe_code)]

mod bundled;
mod describe;
mod digest;
mod error;
pub mod evaluate;
mod memory;
mod npy;
pub mod plan;
mod publish;
pub mod record;
mod segmentation;
mod segmenter;
mod source;

pub use bundled::{BUNDLED_MODELS, BundledModel, DEFAULT_MODEL};
pub use describe::describe;
pub use error::{Error, Result};
pub use npy::{read_npy, read_npy_from, read_npy_shape, write_npy};
pub use publish::save_pretrained;
pub use segmentation::{ClassArea, Segmentation, VolumeSegmentation};
pub use segmenter::Segmenter;
pub use source::ModelSource;

pub use candle_core::{DType, Device};
pub use unet3p_data as data;
pub use unet3p_data::{Image, LabelMap, Picture, Preprocessor, Volume};
#[cfg(feature = "hub")]
pub use unet3p_hub as hub;
pub use unet3p_models as models;
pub use unet3p_models::{CardResult, ModelCard, UNet3Plus, UNet3PlusConfig};
