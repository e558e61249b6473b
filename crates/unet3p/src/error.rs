//! What can go wrong between a path and its mask.

use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate: names the file, what is wrong with it, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a bundled model nor a path, and no id of the Hub.
    #[error(
        "{name}: no such model; name a bundled model ({}), a folder with config.json, preprocessor_config.json and \
         model.safetensors, a single .safetensors file, or a model of the Hub as org/name or org/name@revision",
        bundled.join(", ")
    )]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The bundled models.
        bundled: Vec<&'static str>,
    },
    /// No bundled model and no path, but an id of the Hub, which gives no model.
    #[cfg(feature = "hub")]
    #[error("no bundled model, file or folder is called {name}, and as a model of the Hub: {source}")]
    Hub {
        /// What was asked for.
        name: String,
        /// Why the Hub gives none.
        source: Box<unet3p_hub::HubError>,
    },
    /// What may be an id of the Hub, which this build does not know.
    #[cfg(not(feature = "hub"))]
    #[error(
        "{name}: no such file or folder; if it is a model of the Hugging Face Hub, build the crate unet3p with its \
         feature `hub`"
    )]
    NoHub {
        /// What was asked for.
        name: String,
    },
    /// A model folder's files cannot be read, or do not fit together; the message names the file.
    #[error(transparent)]
    Model(unet3p_models::Error),
    /// A bundled model cannot be read.
    #[error("{name}: {source}")]
    Bundled {
        /// The model.
        name: &'static str,
        /// What is wrong with it.
        source: unet3p_models::Error,
    },
    /// A network and a preprocessor that do not fit together.
    #[error("{name}: {problem}")]
    Mismatch {
        /// The bundled model or the folder.
        name: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An input or an output that the data crate has something to say about.
    #[error(transparent)]
    Data(#[from] unet3p_data::Error),
    /// A file that cannot be segmented as it is.
    #[error("{}: {problem}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An image for which the network would take more memory than is reasonable.
    #[error(
        "{height}x{width} pixels (height x width) in tiles of {tile_height}x{tile_width} need about \
         {needed_gib:.0} GiB of memory, and the limit is {limit_gib:.0} GiB; use smaller tiles, a smaller image, \
         or a model whose preprocessor_config.json has a size"
    )]
    TooLarge {
        /// Height of the network's input.
        height: usize,
        /// Width of the network's input.
        width: usize,
        /// Height of its tiles, or its own where it is whole.
        tile_height: usize,
        /// Width of its tiles, or its own.
        tile_width: usize,
        /// The estimate.
        needed_gib: f64,
        /// What is allowed.
        limit_gib: f64,
    },
    /// Values of an image of which no mask can be made.
    #[error("the network's input holds {value}: the values of the file or the preprocessing are at fault")]
    NotFinite {
        /// The first such value.
        value: f32,
    },
    /// A model that does not say how images become its input.
    #[error("{problem}")]
    Unprepared {
        /// What is missing, and what can be segmented nevertheless.
        problem: String,
    },
    /// The operating system could not read or write a path.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried: "read", "write".
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The network failed: out of memory on a device, for example.
    #[error("the network failed: {0}")]
    Network(#[from] unet3p_models::Error),
    /// A tensor operation around the network failed.
    #[error("the network failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), action, source }
    }

    /// What an image's size or values bring about, as an error of its file; other errors as they are.
    pub(crate) fn in_input(self, path: &Path) -> Self {
        match self {
            Self::TooLarge { .. }
            | Self::NotFinite { .. }
            | Self::Network(unet3p_models::Error::Probabilities { .. }) => {
                Self::input(path, self.to_string())
            }
            error => error,
        }
    }

    pub(crate) fn input(path: &Path, problem: impl Into<String>) -> Self {
        Self::Input { path: path.to_path_buf(), problem: problem.into() }
    }
}
