//! Errors of the conversion.

use std::path::{Path, PathBuf};

use crate::keras::KerasError;
use crate::names::NameMismatch;
use crate::pytorch::CheckpointError;

/// Why a checkpoint could not be read or converted. Every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened, read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },

    /// A PyTorch file that is not a state dict, or not one that can be trusted.
    #[error("{}: {cause}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: CheckpointError,
    },

    /// A Keras file that is damaged, or does not tell what is what.
    #[error("{}: {cause}", path.display())]
    Keras {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: KerasError,
    },

    /// A safetensors file that is damaged.
    #[error("{}: not a sound safetensors file: {cause}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: candle_core::Error,
    },

    /// A safetensors file whose header is not sound, or tells of more or less than is there: mostly one that is cut short.
    #[error("{0}")]
    SafetensorsHeader(unet3p_models::Error),

    /// A file of a kind that cannot be converted.
    #[error(
        "{}: {found}; expected a PyTorch state dict (torch.save(model.state_dict(), path)), weights or a model of \
         Keras (.keras, .h5, .hdf5) or a safetensors file", path.display()
    )]
    UnknownSource {
        /// The file.
        path: PathBuf,
        /// What its first bytes look like.
        found: &'static str,
    },

    /// What no encoder can start from.
    #[error(
        "{}: {found}; an encoder starts from a classifier of timm or torchvision: a safetensors file, a PyTorch state dict \
         (torch.save(model.state_dict(), path)), or a folder with model.safetensors", path.display()
    )]
    NoClassifier {
        /// The file or folder.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },

    /// A checkpoint with weights that are no numbers to compute with.
    #[error(
        "{}: NaN, infinite numbers or variances below 0 in {} of its tensors, so that the network could not predict \
         anything: {}; take a checkpoint from before the training went wrong", path.display(), tensors.len(), few(tensors)
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// All such tensors, under the file's names, each with what is wrong.
        tensors: Vec<String>,
    },

    /// A configuration that was to count against what the checkpoint tells.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A checkpoint of another network.
    #[error("{}: {cause}", path.display())]
    Names {
        /// The file.
        path: PathBuf,
        /// Which tensors differ.
        cause: NameMismatch,
    },

    /// A Keras file without a word on the activation.
    #[error(
        "{}: it does not tell whether the classes come from a softmax (one class a pixel) or a sigmoid (classes that may \
         overlap): say which (--activation), or convert the whole model (.keras)", path.display()
    )]
    Activation {
        /// The file.
        path: PathBuf,
    },

    /// A weight beyond the largest number of the format it is to be stored in.
    #[error(
        "{}: nothing is written: {tensor} holds {value:e}, which is infinite as {dtype}; take f32 or bf16", path.display()
    )]
    Overflow {
        /// The model folder.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The weight.
        value: f32,
        /// The format.
        dtype: &'static str,
    },

    /// The model folder exists and must not be written over.
    #[error("{} exists; choose another folder or allow it to be overwritten", path.display())]
    DestinationExists {
        /// The file that would be replaced.
        path: PathBuf,
    },

    /// The network could not be built or saved.
    #[error("{}: {cause}", path.display())]
    Model {
        /// The checkpoint, or the model folder while it is written.
        path: PathBuf,
        /// What the model says.
        cause: unet3p_models::Error,
    },

    /// The preprocessor or the model card could not be written.
    #[error(transparent)]
    Data(#[from] unet3p_data::Error),
}

impl Error {
    pub(crate) fn model(path: &Path, cause: unet3p_models::Error) -> Self {
        Self::Model { path: path.to_owned(), cause }
    }

    pub(crate) fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), cause }
    }
}

/// The first of many names.
fn few(names: &[String]) -> String {
    const MOST: usize = 3;
    let more = if names.len() > MOST { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(MOST)].join(", "))
}
