//! What can go wrong while reading, preparing and writing images.

use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate: names the file or the setting, what is wrong with it, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system could not read or write a path.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The path that was touched.
        path: PathBuf,
        /// What was tried, as an infinitive: "read", "create the folder".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file was read, and its content is not what is needed.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },
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
    /// Arrays whose sizes do not fit together.
    #[error("{0}")]
    Shape(String),
}

impl Error {
    /// An [`Error::Io`] for `path`, where `action` is what was tried ("read", "write").
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), action, source }
    }

    /// An [`Error::File`] for `path`.
    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), problem: problem.into() }
    }

    /// An [`Error::Setting`] for `key`.
    pub fn setting(key: impl Into<String>, value: impl ToString, allowed: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), value: value.to_string(), allowed: allowed.into() }
    }
}
