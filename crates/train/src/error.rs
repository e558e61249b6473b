//! What can go wrong while training.

use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate: names the key, the file or the step, what is wrong, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that cannot be parsed: syntax, an unknown key, a value of another type.
    #[error("{0}")]
    Syntax(String),
    /// A setting has a value that is not allowed.
    #[error("{key} = {value}: {allowed}")]
    Setting {
        /// The key as the configuration spells it.
        key: String,
        /// The value found.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The run folder holds a run already.
    #[error("{}: holds a run already (a model, metrics or a checkpoint); go on with it by --resume, or choose another folder", .0.display())]
    RunExists(PathBuf),
    /// The folder to resume holds no run.
    #[error("{}: holds no run to resume (no {file})", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
        /// The file that is missing.
        file: &'static str,
    },
    /// Another process is training in the run folder.
    #[error("{}: another process is training in this folder; wait for it, or stop it first", .0.display())]
    RunInUse(PathBuf),
    /// A checkpoint that cannot be gone on from.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The checkpoint's file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A log that cannot be gone on with.
    #[error("{}: {problem}", path.display())]
    Log {
        /// The log's file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The system could not read or write a path.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The path that was touched.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something that must be a number is not: the weights of this step are not saved.
    #[error("the {what} is {value} at step {step} (learning rate {learning_rate:e}); the batch was {}", files.join(", "))]
    NotFinite {
        /// "loss" or "norm of the gradients".
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step, from 1.
        step: usize,
        /// The learning rate of the step.
        learning_rate: f64,
        /// Names of the batch's slices.
        files: Vec<String>,
    },
    /// A prediction that is no number, on a slice that the model is validated on.
    #[error("validation slice {slice}: {source}")]
    Prediction {
        /// The slice.
        slice: String,
        /// What is wrong with it.
        source: unet3p_models::Error,
    },
    /// Weights or statistics that a step has made infinite or NaN: they are not saved.
    #[error(
        "{name} is not finite after step {step} (learning rate {learning_rate:e}): nothing of it is saved, what was saved before is as it was; a lower train.learning_rate or a train.clip_norm above 0 keeps weights in bounds"
    )]
    NotFiniteWeights {
        /// The tensor.
        name: String,
        /// The step, from 1.
        step: usize,
        /// The learning rate of the step.
        learning_rate: f64,
    },
    /// A validation was left, as the run is to stop.
    #[error("the run was asked to stop")]
    Stopped,
    /// A loading thread ended without a batch.
    #[error("a loading thread ended early")]
    Loader,
    /// Data that cannot be read.
    #[error(transparent)]
    Data(#[from] unet3p_data::Error),
    /// A model that cannot be built, saved or read.
    #[error(transparent)]
    Model(#[from] unet3p_models::Error),
    /// A loss that cannot be computed.
    #[error(transparent)]
    Loss(#[from] unet3p_losses::Error),
    /// An operation that failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// An [`Error::Io`] for `path`, where `action` is what was tried.
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io { path, action, source }
    }

    /// An [`Error::Setting`] for `key`.
    pub(crate) fn setting(key: impl Into<String>, value: impl ToString, allowed: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), value: value.to_string(), allowed: allowed.into() }
    }
}
