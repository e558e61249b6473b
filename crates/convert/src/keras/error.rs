//! What can be wrong with a Keras file.

use crate::archive::ArchiveError;

/// Why a Keras file does not give weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KerasError {
    /// A `.keras` file that is not a sound zip archive, or holds no `model.weights.h5`.
    #[error("not a sound Keras archive: {0}")]
    Archive(String),

    /// An HDF5 file that is damaged, or has features that the reader lacks.
    #[error(
        "its HDF5 part is damaged or has features that are not read here: {0}; if Keras opens it, save it again \
         with model.save_weights(\"NEW.weights.h5\")"
    )]
    Hdf5(String),

    /// The description of the model is not the JSON that Keras writes.
    #[error("the description of the model is damaged: {0}")]
    Config(#[from] serde_json::Error),

    /// No layer has weights.
    #[error("it has no layers with weights; expected what model.save_weights or model.save of Keras writes")]
    NoLayers,

    /// Weights without the layers' names, which tell what is what.
    #[error(
        "its layers are numbered in the order of the graph and their names are not in the file, so nobody can tell \
         one convolution from another; save the model as a .keras file, or the weights with Keras 3.6 or newer"
    )]
    Nameless,

    /// Batch normalisations that differ, where the network has one setting for all.
    #[error("its batch normalisations have the {key}s {one} and {other}; a UNet 3+ has one for all")]
    MixedNorms {
        /// The setting.
        key: &'static str,
        /// A value.
        one: f64,
        /// Another one.
        other: f64,
    },

    /// Weights that are not f32 or f64.
    #[error("{name} holds numbers of type {found}; f32 or f64 is expected: save the model in float32")]
    NumberFormat {
        /// The weights.
        name: String,
        /// What the file says of its numbers.
        found: String,
    },

    /// A count or size beyond what a file of this length can hold.
    #[error("{what}: {claimed} claimed, at most {limit} accepted")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The file's claim.
        claimed: u64,
        /// The most that is accepted.
        limit: u64,
    },
}

impl From<hdf5_reader::error::Error> for KerasError {
    fn from(cause: hdf5_reader::error::Error) -> Self {
        Self::Hdf5(cause.to_string())
    }
}

impl From<ArchiveError> for KerasError {
    fn from(cause: ArchiveError) -> Self {
        match cause {
            ArchiveError::TooLarge { what, claimed, limit } => Self::TooLarge { what, claimed, limit },
            other => Self::Archive(other.to_string()),
        }
    }
}
