//! One process at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A lock file. The system takes the lock back when the process ends, however it ends; the file goes with the lock, and
/// what a killed process leaves of it keeps nobody away.
///
/// ```
/// use unet3p_files::Lock;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join(".mask.png.lock");
/// let lock = Lock::take(&path)?;
/// assert_eq!(Lock::take(&path).unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
/// drop(lock);
/// Lock::take(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
    is_held: bool,
}

impl Lock {
    /// Takes the lock at once or not at all. Some network file systems know no locks: then nobody is kept away.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] where another process has it; what the system says.
    pub fn take(path: &Path) -> io::Result<Self> {
        loop {
            let file = File::options().create(true).append(true).open(path)?;
            let is_held = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => {
                    let problem = "another process is writing this folder; wait for it, or stop it first";
                    return Err(io::Error::new(ErrorKind::ResourceBusy, problem));
                }
                Err(TryLockError::Error(_)) => false,
            };
            // The file may be one that its last owner has just removed.
            if is_at(&file, path) {
                return Ok(Self { path: path.to_path_buf(), file, is_held });
            }
        }
    }

    /// Whether others are kept away.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is held: what another process makes in its place is that one's. Elsewhere an open file stays.
        if cfg!(unix) && self.is_held && is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(place).ok() == fs::metadata(path).map(place).ok()
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}
