//! Opening files that are about to be read.

use std::fs::File;
use std::path::Path;

use unet3p_files::{Content, open};

use crate::{Error, Result};

/// Opens a file for reading. Other things that have a path are refused before they are opened: a pipe would wait for a
/// writer for ever, a device has no end.
///
/// # Errors
/// [`Error::Io`] where the path is no file, a pointer of Git LFS, or cannot be opened.
pub fn open_file(path: &Path) -> Result<File> {
    open(path, Content::Other).map(|(file, _)| file).map_err(|source| Error::io(path, "open", source))
}
