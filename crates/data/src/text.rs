//! Configurations, indices and lists as text.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Reads a text file: of at most 64 MiB, with or without a byte order mark.
///
/// # Errors
/// [`Error::Io`] naming the file: it cannot be read, is longer, no file, no text, or a pointer of Git LFS.
pub fn read_text(path: &Path) -> Result<String> {
    unet3p_files::read_text(path).map_err(|source| Error::io(path, "read", source))
}

/// Reads a JSON file as [`read_text`] does. `what` is what the file should be, as "index of slices".
///
/// # Errors
/// Those of [`read_text`], and [`Error::File`] where the file holds something else.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("sizes.json");
/// std::fs::write(&path, "\u{feff}[1, 2]").unwrap();
/// assert_eq!(unet3p_data::read_json::<Vec<u8>>(&path, "list of sizes")?, [1, 2]);
/// let error = unet3p_data::read_json::<String>(&path, "name").unwrap_err().to_string();
/// assert!(error.contains("sizes.json: is no name: invalid type"));
/// # Ok::<(), unet3p_data::Error>(())
/// ```
pub fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|error| Error::file(path, format!("is no {what}: {error}")))
}
