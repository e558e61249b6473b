//! One process writes into a folder, or a mask of its own name.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use unet3p_files::Lock;

use super::error::PlanError;
use super::target::Target;

/// Keeps other processes away until it is dropped, or the process ends.
#[derive(Debug)]
pub struct Held {
    _folder: Option<File>,
    _file: Option<Lock>,
}

/// Keeps other processes from writing `target`. A folder is locked itself, so that nothing is left behind. For a mask of
/// its own name there is a lock file while the run lasts: beside it others may be written.
///
/// Nothing is locked where that cannot be done: a folder that is not there, or a system whose folders cannot be opened or
/// locked.
///
/// # Errors
/// [`PlanError`]: another process writes there.
pub fn lock(target: &Target) -> Result<Option<Held>, PlanError> {
    match target {
        Target::Folder(folder) => lock_folder(folder),
        // x.png and x.nii.gz have one record.
        Target::File(mask) => {
            let lock = lock_file(mask, &target.record())?;
            Ok(lock.map(|lock| Held { _folder: None, _file: Some(lock) }))
        }
    }
}

fn lock_folder(folder: &Path) -> Result<Option<Held>, PlanError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(file) = File::open(folder) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(Held { _folder: Some(file), _file: None })),
        Err(TryLockError::WouldBlock) => Err(PlanError::FolderInUse { path: folder.to_path_buf() }),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Keeps other processes from writing `file`, by a lock file that is named after `with`.
///
/// # Errors
/// [`PlanError`]: another process writes it.
pub(crate) fn lock_file(file: &Path, with: &Path) -> Result<Option<Lock>, PlanError> {
    let mut name = std::ffi::OsString::from(".unet3p-");
    name.push(with.file_name().unwrap_or_default());
    name.push(".lock");
    match Lock::take(&with.with_file_name(name)) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == ErrorKind::ResourceBusy => {
            Err(PlanError::FileInUse { path: file.to_path_buf() })
        }
        Err(_) => Ok(None),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_and_the_lock_ends_with_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let (mask, other) = (dir.path().join("x.png"), dir.path().join("y.png"));
        for (target, same) in [
            (Target::Folder(dir.path().to_path_buf()), Target::Folder(dir.path().join("."))),
            (Target::File(mask.clone()), Target::File(mask)),
            (Target::File(dir.path().join("x.png")), Target::File(dir.path().join("x.nii.gz"))),
        ] {
            let first = lock(&target).unwrap();
            assert!(first.is_some());
            let error = lock(&same).unwrap_err();
            assert!(!error.is_failure() && error.to_string().contains("another process"), "{error}");
            // Another mask in the same folder is nobody's matter.
            assert!(lock(&Target::File(other.clone())).unwrap().is_some());
            drop(first);
            assert!(lock(&same).unwrap().is_some());
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
        for target in ["none/x.png", "none"].map(|name| dir.path().join(name)) {
            let target = if target.ends_with("none") { Target::Folder(target) } else { Target::File(target) };
            assert!(lock(&target).unwrap().is_none());
        }
    }
}
