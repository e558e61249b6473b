//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use crate::{Error, Result};

/// Writes `path` through `write`; the file exists under its name only when everything was written, and stays there if
/// the machine stops then.
///
/// An existing file is replaced. Missing parent folders are an error, not made. The file's mode is that of any new file
/// under the process's umask.
///
/// # Errors
/// [`Error::Io`] naming `path` when the folder cannot be written to or `write` fails.
///
/// ```
/// use std::io::Write;
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("hello.txt");
/// unet3p_data::write_atomically(&path, |file| file.write_all(b"hello"))?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"hello");
/// # Ok::<(), unet3p_data::Error>(())
/// ```
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    unet3p_files::write(path, write).map_err(|source| Error::io(path, "write", source))
}

/// Makes a folder and its parents where they are missing.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|source| Error::io(path, "create the folder", source))
}
