//! Folders replaced as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Fills a new folder through `write` and puts it in the place of `folder`: that name never holds files of two
/// states. A run that is killed between the two renames leaves the former folder as `.NAME.old`, for
/// [`restore_folder`].
pub(crate) fn replace_folder(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let (new, old) = (beside(folder, "new"), beside(folder, "old"));
    // What a killed run left.
    remove(&new)?;
    fs::create_dir(&new).map_err(|e| Error::io(&new, "create the folder", e))?;
    if let Err(error) = write(&new) {
        // The first error is the one to tell.
        let _ = remove(&new);
        return Err(error);
    }
    let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(|e| Error::io(from, "rename", e));
    if folder.exists() {
        remove(&old)?;
        rename(folder, &old)?;
    }
    rename(&new, folder)?;
    remove(&old)
}

/// Brings back a folder that a killed run had moved aside and not yet replaced.
pub(crate) fn restore_folder(folder: &Path) -> Result<()> {
    let old = beside(folder, "old");
    if folder.exists() || !old.exists() {
        return Ok(());
    }
    fs::rename(&old, folder).map_err(|e| Error::io(&old, "rename", e))
}

/// `.NAME.WHAT` beside the folder NAME.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{what}"))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, "remove", e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_whole_or_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("last");
        let write = |name: &'static str| {
            move |dir: &Path| fs::write(dir.join(name), name).map_err(|e| Error::io(dir, "write", e))
        };
        let names = |dir: &Path| -> Vec<String> {
            let entries = fs::read_dir(dir).unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        };
        replace_folder(&folder, write("one")).unwrap();
        assert_eq!(names(&folder), ["one"]);
        // Left by a run that was killed.
        fs::create_dir(dir.path().join(".last.new")).unwrap();
        fs::write(dir.path().join(".last.new/half"), "").unwrap();
        replace_folder(&folder, write("two")).unwrap();
        assert_eq!((names(&folder), names(dir.path())), (vec!["two".into()], vec!["last".into()]));
        // Killed between the two renames.
        fs::rename(&folder, dir.path().join(".last.old")).unwrap();
        restore_folder(&folder).unwrap();
        restore_folder(&folder).unwrap();
        assert_eq!((names(&folder), names(dir.path())), (vec!["two".into()], vec!["last".into()]));
        let failed = replace_folder(&folder, |dir| {
            write("three")(dir)?;
            Err(Error::Loader)
        });
        assert!(matches!(failed, Err(Error::Loader)));
        assert_eq!((names(&folder), names(dir.path())), (vec!["two".into()], vec!["last".into()]));
    }
}
