//! Where slices wait until all of them are written.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{DatasetIndex, FolderOptions};
use crate::atomic::create_folder;
use crate::{Error, Result};

/// The folders of slices, by what they hold.
const FOLDERS: [&str; 3] = ["images", "masks", "regions"];

/// A hidden folder inside the output (the same file system: files can be renamed), gone when this is dropped.
pub(super) struct Staging {
    folder: TempDir,
    out: PathBuf,
    regions: bool,
}

impl Staging {
    /// Makes the folders to write to. What an earlier run left is not touched, but refused unless it may go.
    pub(super) fn new(out: &Path, options: &FolderOptions) -> Result<Self> {
        create_folder(out)?;
        if !options.overwrite {
            let index = out.join(DatasetIndex::FILE_NAME);
            let mut there = index.exists().then_some(index);
            for folder in FOLDERS {
                if there.is_none() {
                    there = files(&out.join(folder))?.into_iter().next();
                }
            }
            if let Some(path) = there {
                let problem = "exists: choose another folder, or ask for it to be overwritten";
                return Err(Error::file(&path, problem));
            }
        }
        let folder = tempfile::Builder::new()
            .prefix(".unet3p-")
            .suffix(".tmp")
            .tempdir_in(out)
            .map_err(|source| Error::io(out, "write to", source))?;
        let staging = Self { folder, out: out.to_path_buf(), regions: options.regions };
        for folder in staging.folders() {
            create_folder(&staging.path().join(folder))?;
        }
        Ok(staging)
    }

    /// The folder that holds `images/` and the others for now.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn folders(&self) -> impl Iterator<Item = &'static str> {
        let regions = self.regions;
        FOLDERS.into_iter().filter(move |&folder| folder != "regions" || regions)
    }

    /// Replaces an earlier run's slices (stale ones would be trained on) by the new ones. The index goes first,
    /// so that a folder in between does not pass for a finished one.
    pub(super) fn finish(self) -> Result<()> {
        let remove =
            |path: &Path| std::fs::remove_file(path).map_err(|source| Error::io(path, "remove", source));
        let index = self.out.join(DatasetIndex::FILE_NAME);
        if index.exists() {
            remove(&index)?;
        }
        for folder in FOLDERS {
            for path in files(&self.out.join(folder))?.iter().filter(|path| is_slice(path)) {
                remove(path)?;
            }
        }
        for folder in self.folders() {
            let to = self.out.join(folder);
            create_folder(&to)?;
            for from in files(&self.path().join(folder))? {
                let to = to.join(from.file_name().unwrap_or_default());
                std::fs::rename(&from, &to).map_err(|source| Error::io(&to, "write", source))?;
            }
        }
        Ok(())
    }
}

/// What a folder holds; nothing where it does not exist.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let failed = |source| Error::io(folder, "list", source);
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

/// Whether a file's name is one that a prepared slice has: `NAME_z0042.png`.
fn is_slice(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_suffix(".png")).is_some_and(is_slice_name)
}

/// Whether a name without extension is one that a prepared slice has: `NAME_z0042`.
pub(crate) fn is_slice_name(stem: &str) -> bool {
    stem.rsplit_once("_z")
        .is_some_and(|(_, digits)| digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit()))
}
