//! Writing a file whole: under a temporary name in the same folder, then renamed.
//!
//! The content is on the disk before the name is, and the name before the function returns. A temporary file is locked
//! while it is written. What a process that was killed has left has no lock: the first write of a later process into the
//! same folder removes it.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

/// The names of unfinished files and folders begin with this.
pub(crate) const PREFIX: &str = ".unet3p-";
/// The names of files that are locked while they are written begin with this.
const LOCKED_PREFIX: &str = ".unet3p-locked-";
/// The names of unfinished files and folders end with this.
pub(crate) const SUFFIX: &str = ".tmp";
/// Temporary files of other kinds are left alone until they are this old.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Folders that this process has looked through for what others left.
static SWEPT: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

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
    let folder = parent(path);
    if SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_path_buf()) {
        remove_stale(folder);
    }
    let file = temporary(folder)?;
    let mut writer = BufWriter::new(file.as_file());
    write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder);
    Ok(())
}

/// The folder in which a path lies.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file that this process holds the lock of.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    loop {
        let mut builder = tempfile::Builder::new();
        builder.prefix(LOCKED_PREFIX).suffix(SUFFIX);
        // Temporary files are private by default; these become ordinary files, subject to the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder)?;
        // Another process may have found the file before it was locked: then it holds the lock, or has removed the
        // file. Where a file system has no locks, nothing is ever removed.
        let taken = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if !taken && file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes temporary files that nobody writes any more. Failures are no matter: the files are in nobody's way.
fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !is_temporary(Path::new(&name)) {
            continue;
        }
        let locked_kind = name.to_str().is_some_and(|name| name.starts_with(LOCKED_PREFIX));
        if locked_kind || entry.metadata().is_ok_and(|meta| is_old(&meta)) {
            let path = entry.path();
            let _ = File::open(&path).map(|file| file.try_lock().is_ok() && fs::remove_file(&path).is_ok());
        }
    }
}

fn is_old(meta: &fs::Metadata) -> bool {
    let age = meta.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age > ABANDONED)
}

/// Whether a path is one of a file that is being written, or was when its process ended.
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// Makes the names in a folder last. Not every system can do that; the files themselves are whole in any case.
pub fn sync_folder(folder: &Path) {
    // Windows opens no folders: then renames are as safe as they are there.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_written_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, "half").unwrap();
            path
        };
        let left = place(".unet3p-locked-a1.tmp");
        let old = place(".unet3p-b2.tmp");
        let hours_ago = SystemTime::now() - 3 * ABANDONED;
        File::options().append(true).open(&old).unwrap().set_modified(hours_ago).unwrap();
        let (recent, mine) = (place(".unet3p-c3.tmp"), place("notes.tmp"));
        let other = temporary(dir.path()).unwrap();
        write(&dir.path().join("a.txt"), |file| file.write_all(b"a")).unwrap();
        for (path, stays) in [(&left, false), (&old, false), (&recent, true), (&mine, true)] {
            assert_eq!(path.exists(), stays, "{path:?}");
        }
        assert!(other.path().exists());
        // A folder is looked through once.
        let late = place(".unet3p-locked-d4.tmp");
        write(&dir.path().join("a.txt"), |file| file.write_all(b"b")).unwrap();
        assert!(late.exists());
    }

    #[cfg(unix)]
    #[test]
    fn modes_are_those_of_ordinary_files() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ordinary, atomic) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&ordinary, "a").unwrap();
        write(&atomic, |file| file.write_all(b"b")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ordinary), mode(&atomic));
    }
}
