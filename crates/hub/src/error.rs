//! Errors of the conversion.

use std::path::{Path, PathBuf};

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
}

impl Error {
    pub(crate) fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), cause }
    }
}
