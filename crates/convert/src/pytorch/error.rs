//! What can be wrong with a PyTorch checkpoint.

use crate::archive::ArchiveError;

/// Why a file is not a state dict that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The bytes could not be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),

    /// A file of PyTorch 1.5 or older, which is not a zip archive.
    #[error(
        "this is the file format of PyTorch before 1.6; save it again with a newer PyTorch: \
         torch.save(torch.load(OLD, map_location=\"cpu\", weights_only=True), NEW)"
    )]
    Legacy,

    /// Not a zip archive as `torch.save` writes it.
    #[error("not a PyTorch archive: {0}")]
    Archive(String),

    /// The pickle names a function that no checkpoint needs.
    #[error(
        "the pickle asks for `{module}.{name}`, which no checkpoint needs. Nothing of it was executed here, but \
         do not load this file in Python"
    )]
    ForbiddenGlobal {
        /// Python module of the function.
        module: String,
        /// Name of the function in its module.
        name: String,
    },

    /// An object of a Python class lies where the state dict should be, as where a whole module was pickled.
    #[error(
        "it holds a whole object of the Python class `{module}.{name}`, which cannot be read without that code; \
         save the weights alone: torch.save(model.state_dict(), path)"
    )]
    WholeObject {
        /// Python module of the class.
        module: String,
        /// Name of the class in its module.
        name: String,
    },

    /// The pickle has an instruction outside the allow-list.
    #[error(
        "the pickle has the opcode 0x{opcode:02x} at byte {offset}, which weights do not need; no code in a checkpoint is ever executed. Save the \
         weights alone: torch.save(model.state_dict(), path)"
    )]
    ForbiddenOpcode {
        /// The instruction's byte.
        opcode: u8,
        /// Where it is in `data.pkl`.
        offset: usize,
    },

    /// The pickle has a protocol that no Python writes today.
    #[error(
        "its pickle has the protocol {found}; 2 to 5 are read: \
         torch.save(model.state_dict(), path), with the default protocol"
    )]
    Protocol {
        /// The file's protocol.
        found: u8,
    },

    /// The pickle is truncated or contradicts itself.
    #[error("the pickle is damaged at byte {offset}: {reason}")]
    Pickle {
        /// Where in `data.pkl` the reader stood.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },

    /// The pickle is sound but does not hold a dictionary from names to tensors.
    #[error("{0}; expected a state dict, as torch.save(model.state_dict(), path) writes it")]
    NotAStateDict(String),

    /// A tensor's description does not fit the data.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// The tensor's name, or its storage's key where the name is not known yet.
        name: String,
        /// What does not fit.
        reason: String,
    },

    /// A count or size beyond what is accepted.
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

impl CheckpointError {
    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { name: name.to_owned(), reason: reason.into() }
    }
}

impl From<ArchiveError> for CheckpointError {
    fn from(cause: ArchiveError) -> Self {
        match cause {
            ArchiveError::Io(cause) => Self::Io(cause),
            ArchiveError::Unsound(reason) => Self::Archive(reason),
            ArchiveError::TooLarge { what, claimed, limit } => Self::TooLarge { what, claimed, limit },
        }
    }
}
