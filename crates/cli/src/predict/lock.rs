//! One process writes into a folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::target::Target;
use crate::failure::Failure;

/// Keeps other processes from writing into the folder of `target`, until the file is dropped or the process ends, however
/// it ends. The folder itself is locked, so that nothing is left behind.
///
/// Nothing is locked where that cannot be done: a folder that is not there, a system whose folders cannot be opened or
/// locked, and a single file, beside which others may be written.
///
/// # Errors
/// Wrong usage: another process writes there.
pub(super) fn lock(target: &Target) -> Result<Option<File>, Failure> {
    let Target::Folder(folder) = target else { return Ok(None) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(file) = File::open(folder) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Failure::usage(format!(
            "{}: another process writes its outputs there; wait for it, or choose another output folder",
            folder.display()
        ))),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_and_the_lock_ends_with_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::Folder(dir.path().to_path_buf());
        let first = lock(&target).unwrap();
        assert!(first.is_some());
        let error = lock(&target).unwrap_err();
        assert!(
            matches!(error, Failure::Usage(_)) && error.to_string().contains("another process"),
            "{error}"
        );
        drop(first);
        assert!(lock(&target).unwrap().is_some());
        assert!(lock(&Target::File(dir.path().join("x.png"))).unwrap().is_none());
        assert!(lock(&Target::Folder(dir.path().join("none"))).unwrap().is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
