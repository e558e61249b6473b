//! Writing a file whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// What the names of unfinished files and folders begin and end with.
pub(crate) const PREFIX: &str = ".unet3p-";
pub(crate) const SUFFIX: &str = ".tmp";

/// Writes a file through `write`: it gets its name once everything is on the disk. A file that is there is replaced. Its
/// mode is that of any new file, as the umask says.
///
/// # Errors
/// What the system or `write` says; the name then holds what it held before.
///
/// ```
/// use std::io::Write;
///
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("hello.txt");
/// unet3p_files::write(&path, |file| file.write_all(b"hello"))?;
/// assert_eq!(std::fs::read(&path)?, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    // Temporary files are private by default; this one becomes an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(parent(path))?;
    let mut writer = BufWriter::new(file.as_file());
    write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The folder in which a path lies.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Brings the names in a folder to the disk, where the system can.
pub(crate) fn sync_folder(folder: &Path) {
    // Not every file system can, and Windows opens no folders: then renames are as safe as they are there.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}
