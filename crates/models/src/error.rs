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
    /// Weights that nothing can be computed with.
    #[error(
        "{tensor}: {problem}, so that nothing can be predicted; take weights from before the training went wrong, or \
         convert them anew, as f32 where a smaller format could not hold them"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// What its values are.
        problem: String,
    },
    /// Predictions that are no numbers.
    #[error(
        "{wrong} of {total} probabilities are NaN or infinite; the values of the input are too large for the network, or \
         its weights are damaged"
    )]
    Probabilities {
        /// How many are not finite.
        wrong: usize,
        /// How many there are.
        total: usize,
    },
    /// A `config.json` that is not the one which the weights were written with.
    #[error(
        "{}: {key} = {}, and {} was written with {key} = {}: a file of another model, or a change by hand; copy both \
         files from the same model, or, where {0} is right, write the folder anew: \
         unet3p convert {2} {folder} --config {0} --overwrite",
        folder.join("config.json").display(), values[0], folder.join("model.safetensors").display(), values[1],
        folder = folder.display()
    )]
    ConfigDiffers {
        /// The model folder.
        folder: PathBuf,
        /// The first key that differs.
        key: String,
        /// Its values in `config.json`, and in the metadata of `model.safetensors`.
        values: Box<[String; 2]>,
    },
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
