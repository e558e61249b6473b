//! Folders replaced as a whole.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::lock::Lock;
use crate::write::{PREFIX, SUFFIX, is_temporary, parent, sync_folder};

/// Random letters in the name of an unfinished folder.
const LETTERS: usize = 6;
/// Bytes of a folder's name that go into the names of its lock and of what replaces it: names have 255 at most.
const LABEL_BYTES: usize = 200;

/// A folder that is filled and then takes the place of another, or of none.
///
/// It lies beside the one that it replaces, under a name that begins with `.unet3p-` and ends with `.tmp`. On Linux the
/// two change places in one step. Elsewhere the old one is moved aside first; [`recover_folder`] brings it back where a
/// process was killed in between. What a killed process left is removed by the next that replaces the same folder.
///
/// A folder that cannot be moved, as a mount point, the working directory or one whose parent lets nothing be written,
/// gets the new files one after the other, each whole.
///
/// ```
/// use unet3p_files::NewFolder;
///
/// # let place = tempfile::tempdir()?;
/// let folder = place.path().join("model");
/// for content in ["one", "two"] {
///     let new = NewFolder::of(&folder)?;
///     std::fs::write(new.path().join("config.json"), content)?;
///     new.replace(&["config.json"])?;
///     assert_eq!(std::fs::read_to_string(folder.join("config.json"))?, content);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFolder {
    /// The folder to replace, without links.
    target: PathBuf,
    /// Removed at the end, whichever of the two folders it is then.
    staged: TempDir,
    in_place: bool,
    _lock: Lock,
}

impl NewFolder {
    /// Makes the folder that will replace `folder`, and the parents of it that are missing. Until it is dropped no other
    /// process can do the same.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] where another process is at it, [`ErrorKind::PermissionDenied`] where `folder` is there
    /// and nobody may write to it; what the system says.
    pub fn of(folder: &Path) -> io::Result<Self> {
        recover_folder(folder)?;
        let target = match folder.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => folder.to_path_buf(),
            Err(error) => return Err(error),
        };
        fs::create_dir_all(parent(&target))?;
        let existing = fs::metadata(&target).ok();
        if existing.as_ref().is_some_and(|existing| existing.is_dir() && existing.permissions().readonly()) {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "nobody may write to this folder"));
        }
        let label = label(&target);
        let beside = if existing.is_some() && is_fixed(&target) {
            None
        } else {
            match stage(parent(&target), &label) {
                Err(error) if existing.is_some() && denies(&error) => None,
                staged => Some(staged?),
            }
        };
        let in_place = beside.is_none();
        let (lock, staged) = match beside {
            Some(staged) => staged,
            None => stage(&target, &label)?,
        };
        Ok(Self { target, staged, in_place, _lock: lock })
    }

    /// Where the files are to be written.
    pub fn path(&self) -> &Path {
        self.staged.path()
    }

    /// Puts the folder in its place. Of the former one everything is kept but its `parts`, of which only those are there
    /// afterwards that have been written anew.
    ///
    /// # Errors
    /// What the system says: the former folder is then as it was.
    pub fn replace(self, parts: &[&str]) -> io::Result<()> {
        if self.in_place {
            return self.move_files(parts);
        }
        if !self.target.exists() {
            sync_folder(self.path());
            fs::rename(self.path(), &self.target)?;
        } else {
            carry_over(&self.target, self.path(), parts)?;
            fs::set_permissions(self.path(), fs::metadata(&self.target)?.permissions())?;
            sync_folder(self.path());
            match self.swap() {
                // A mount of the same file system looks like any folder.
                Err(error) if denies(&error) || error.kind() == ErrorKind::CrossesDevices => {
                    return self.move_files(parts);
                }
                swapped => swapped?,
            }
        }
        sync_folder(parent(&self.target));
        Ok(())
    }

    /// Lets the two folders change places.
    fn swap(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            use rustix::io::Errno;
            match renameat_with(CWD, self.path(), CWD, &self.target, RenameFlags::EXCHANGE) {
                // An old kernel, or a file system that cannot.
                Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {}
                exchanged => return Ok(exchanged?),
            }
        }
        let aside = aside(&self.target);
        remove(&aside)?;
        fs::rename(&self.target, &aside)?;
        if let Err(error) = fs::rename(self.path(), &self.target) {
            // The first error is the one to tell.
            let _ = fs::rename(&aside, &self.target);
            return Err(error);
        }
        remove(&aside)
    }

    /// Brings the files into the folder one after the other, once all of them are on its disk.
    fn move_files(self, parts: &[&str]) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let name = entry?.file_name();
            // What was carried over lies there already.
            if parts.iter().any(|part| name == *part) {
                files.push((copy(&self.path().join(&name), &self.target)?, self.target.join(&name)));
            }
        }
        for part in parts.iter().map(|part| self.target.join(part)) {
            if files.iter().all(|(_, path)| *path != part) {
                match fs::remove_file(&part) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        for (file, path) in files {
            file.persist(path).map_err(|error| error.error)?;
        }
        sync_folder(&self.target);
        Ok(())
    }
}

/// Brings a folder back that a killed process had moved aside and not yet replaced.
///
/// # Errors
/// What the system says.
pub fn recover_folder(folder: &Path) -> io::Result<()> {
    if folder.file_name().is_none() {
        return Ok(());
    }
    let aside = aside(folder);
    if folder.symlink_metadata().is_ok() || aside.symlink_metadata().is_err() {
        return Ok(());
    }
    match Lock::take(&lock_path(parent(folder), &label(folder))) {
        Ok(_lock) if folder.symlink_metadata().is_err() => fs::rename(&aside, folder),
        // Another process is just doing it.
        _ => Ok(()),
    }
}

/// The lock for a target with this label, and a new folder in `place`, from which what killed processes left is removed.
fn stage(place: &Path, label: &str) -> io::Result<(Lock, TempDir)> {
    let lock = Lock::take(&lock_path(place, label))?;
    let prefix = format!("{PREFIX}{label}-");
    if lock.is_held() {
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let letters = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(SUFFIX));
            if letters.is_some_and(|rest| rest.len() == LETTERS && !rest.contains('-')) {
                remove(&entry.path())?;
            }
        }
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(LETTERS);
    // Temporary folders are private by default; this one becomes an ordinary folder.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    Ok((lock, builder.tempdir_in(place)?))
}

fn lock_path(place: &Path, label: &str) -> PathBuf {
    place.join(format!("{PREFIX}{label}.lock"))
}

/// Where the former folder waits while the new one gets its name.
fn aside(target: &Path) -> PathBuf {
    target.with_file_name(format!(".{}.old", label(target)))
}

/// The name of the target in the names of its lock and of what replaces it.
fn label(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut end = name.len().min(LABEL_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

/// Whether a folder has to stay what it is: whoever works in it would be left in one that is gone, and mounts do not move.
fn is_fixed(folder: &Path) -> bool {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.is_ok_and(|here| here.starts_with(folder)) || is_mount(folder)
}

#[cfg(unix)]
fn is_mount(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(folder) != device(parent(folder))
}

#[cfg(not(unix))]
fn is_mount(_folder: &Path) -> bool {
    false
}

/// Whether the system lets nothing be changed in a place, though perhaps in a folder of it.
fn denies(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::ResourceBusy
    ) && error.raw_os_error().is_some()
}

/// Gives a new folder what a former one has beside its `parts`: as links, so that each of the two is whole.
fn carry_over(former: &Path, new: &Path, parts: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(former)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_temporary(Path::new(&name)) && parts.iter().all(|part| name != *part) {
            link(&entry.path(), &new.join(&name), entry.file_type()?.is_dir())?;
        }
    }
    Ok(())
}

fn link(from: &Path, to: &Path, is_folder: bool) -> io::Result<()> {
    if is_folder {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            link(&entry.path(), &to.join(entry.file_name()), entry.file_type()?.is_dir())?;
        }
        return fs::set_permissions(to, fs::metadata(from)?.permissions());
    }
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    // A file system without hard links, or another user's file.
    #[cfg(unix)]
    if fs::symlink_metadata(from)?.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    crate::open(from, crate::Content::Other)?;
    fs::copy(from, to).map(|_| ())
}

/// A copy of a file in a folder, on the disk and without its name yet.
fn copy(from: &Path, folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    io::copy(&mut fs::File::open(from)?, &mut file)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
