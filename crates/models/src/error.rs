//! What can go wrong, by who can mend it.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that cannot be built.
    #[error("{key} = {value}: {allowed}")]
    Config {
        /// The key at fault.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        allowed: String,
    },
    /// Text that is not a configuration.
    #[error("not a UNet 3+ configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// Weights that do not fit the configuration.
    #[error("the weights do not fit the configuration: {}", list(.missing, .left_over, .misshapen))]
    Weights {
        /// Tensors that the network needs and the weights lack.
        missing: Vec<String>,
        /// Tensors that the network has no use for.
        left_over: Vec<String>,
        /// Tensors of another shape, each with what it is and what it should be.
        misshapen: Vec<String>,
    },
    /// A file that is not a safetensors file, or a damaged one.
    #[error("not a sound safetensors file: {0}")]
    Safetensors(String),
    /// A safetensors file by itself that does not say what network its weights are of.
    #[error(
        "its metadata has no entry `config`, so it cannot be read by itself; name the model folder that it belongs to, \
         or make one with `unet3p convert`"
    )]
    NoConfig,
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A model folder that is not there or lacks a file.
    #[error("{}: no such file; a model folder holds config.json, model.safetensors and, for images, \
             preprocessor_config.json", path.display())]
    Missing {
        /// The file that is not there.
        path: PathBuf,
    },
    /// A file that is there but does not let itself be read.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// An argument that does not fit the model or the operation.
    #[error("{0}")]
    Input(String),
    /// Any of the above, in a file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A tensor operation that failed, as on a shape that does not fit.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the system says on opening a file of a model folder.
    pub(crate) fn open(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io { path, source },
        }
    }

    /// This error, as one of the file at `path`.
    pub(crate) fn in_file(self, path: impl Into<PathBuf>) -> Self {
        Self::File { path: path.into(), source: Box::new(self) }
    }
}

fn list(missing: &[String], left_over: &[String], misshapen: &[String]) -> String {
    let part =
        |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")));
    let parts = [("missing", missing), ("left over", left_over), ("of another shape", misshapen)];
    parts.into_iter().filter_map(|(what, names)| part(what, names)).collect::<Vec<_>>().join("; ")
}
