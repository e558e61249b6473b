//! Opening files that are about to be read.

use std::fs::{self, File};
use std::path::Path;

use crate::{Error, Result};

/// Opens a file for reading. Other things that have a path are refused before they are opened: a pipe would wait for a
/// writer for ever, a device has no end.
///
/// # Errors
/// [`Error::File`] for a folder, pipe, socket or device, [`Error::Io`] where the system cannot open the path.
pub fn open_file(path: &Path) -> Result<File> {
    let failed = |source| Error::io(path, "open", source);
    let kind = fs::metadata(path).map_err(failed)?.file_type();
    if kind.is_dir() {
        return Err(Error::file(path, "is a folder; a file is needed"));
    }
    if !kind.is_file() {
        return Err(Error::file(path, "is a pipe, socket or device; a file is needed"));
    }
    File::open(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn only_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        assert!(matches!(open_file(&path), Err(Error::Io { .. })));
        fs::write(&path, "x").unwrap();
        let mut text = String::new();
        open_file(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        assert!(open_file(dir.path()).unwrap_err().to_string().contains("is a folder"));
        #[cfg(unix)]
        assert!(open_file(Path::new("/dev/zero")).unwrap_err().to_string().contains("device"));
    }
}
