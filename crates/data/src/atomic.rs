//! Files appear whole or not at all: written under a temporary name in the same folder, then renamed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes `path` through `write`; the file exists under its name only when everything was written.
///
/// An existing file is replaced. Missing parent folders are an error, not made.
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
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |source| Error::io(path, "write", source);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unet3p-").suffix(".tmp");
    // Temporary files are private by default; these become ordinary files, subject to the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder).map_err(failed)?;
    let mut writer = BufWriter::new(file.as_file());
    write(&mut writer).and_then(|()| writer.flush()).map_err(failed)?;
    drop(writer);
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Makes a folder and its parents where they are missing.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|source| Error::io(path, "create the folder", source))
}
