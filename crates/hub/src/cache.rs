//! A model's folder in the cache, laid out as Python's huggingface_hub does: `blobs/` holds contents by their ETag,
//! `snapshots/COMMIT/` links to them by file name, `refs/REVISION` tells a branch's or tag's commit.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use crate::files::FILES;
use crate::id::is_commit;
use crate::{HubError, ModelId};

/// A model's folder in the cache.
pub(crate) struct ModelCache {
    root: PathBuf,
    repo: Repo,
    folder: CacheRepo,
}

/// Why the cache alone cannot serve a model.
pub(crate) enum Gap {
    /// A file that a model needs is not there.
    Missing(&'static str),
    /// A file is there and is not sound.
    Damaged { path: PathBuf, problem: String },
}

impl ModelCache {
    pub(crate) fn new(root: &Path, id: &ModelId) -> Self {
        let repo = Repo::with_revision(id.repo().to_string(), RepoType::Model, id.revision().to_string());
        let folder = Cache::new(root.to_path_buf()).repo(repo.clone());
        Self { root: root.to_path_buf(), repo, folder }
    }

    /// The folder of the revision as it was last seen, with all that a model needs and nothing damaged; else the first
    /// file at fault.
    pub(crate) fn complete(&self) -> Result<PathBuf, Gap> {
        let folder = self.commit().map(|commit| self.snapshot(&commit)).ok_or(Gap::Missing(FILES[0].name))?;
        for file in &FILES {
            let path = folder.join(file.name);
            if file.required && !path.exists() {
                return Err(Gap::Missing(file.name));
            }
            // A link whose content is gone is there, and damaged.
            if path.symlink_metadata().is_ok() {
                (file.check)(&path).map_err(|problem| Gap::Damaged { path, problem })?;
            }
        }
        Ok(folder)
    }

    /// The commit that the revision was when it was last seen.
    fn commit(&self) -> Option<String> {
        let revision = self.repo.revision();
        if is_commit(revision) {
            return Some(revision.to_string());
        }
        let commit = fs::read_to_string(self.reference()).ok()?;
        Some(commit.trim().to_string()).filter(|commit| is_commit(commit))
    }

    fn reference(&self) -> PathBuf {
        self.root.join(self.repo.folder_name()).join("refs").join(self.repo.revision())
    }

    /// Remembers the revision's commit.
    pub(crate) fn set_commit(&self, commit: &str) -> Result<(), HubError> {
        if self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.reference();
        create_parent(&path)?;
        unet3p_files::write(&path, |file| file.write_all(commit.as_bytes()))
            .map_err(|cause| HubError::io(&path, cause))
    }

    /// The folder of a commit.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.pointer_path(commit)
    }

    /// Where the content with this ETag lies; its folder is made.
    pub(crate) fn blob(&self, etag: &str) -> Result<PathBuf, HubError> {
        let path = self.folder.blob_path(etag);
        create_parent(&path)?;
        Ok(path)
    }

    /// Keeps other processes, Python's among them, from fetching the same content until the file is dropped.
    pub(crate) fn lock(&self, etag: &str) -> Result<File, HubError> {
        let path = self.root.join(".locks").join(self.repo.folder_name()).join(format!("{etag}.lock"));
        create_parent(&path)?;
        let lock = || {
            let file = File::options().create(true).append(true).open(&path)?;
            match file.lock() {
                // Some network file systems know no locks: then nobody is kept away.
                Err(cause) if cause.kind() != ErrorKind::Unsupported => Err(cause),
                _ => Ok(file),
            }
        };
        lock().map_err(|cause| HubError::io(&path, cause))
    }

    /// Gives the content with this ETag its name in the folder of a commit. A link that is there is replaced in one step:
    /// another process may be reading through it.
    pub(crate) fn link(&self, etag: &str, commit: &str, name: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(name);
        create_parent(&path)?;
        link(&self.folder.blob_path(etag), &path, etag).map_err(|cause| HubError::io(&path, cause))
    }
}

/// Links to the content, two folders up and across, so that the cache may be moved.
///
/// The temporary link has the same name each time, so that one that a killed process left is used or replaced. Whoever
/// calls holds the content's lock. Where a file system has no locks, another process may make the same link meanwhile.
#[cfg(unix)]
fn link(_blob: &Path, path: &Path, etag: &str) -> std::io::Result<()> {
    use std::os::unix::fs::symlink;
    let target = Path::new("../../blobs").join(etag);
    let leads_there = |link: &Path| fs::read_link(link).is_ok_and(|found| found == target);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".unet3p-{name}.tmp"));
    if let Err(error) = symlink(&target, &new) {
        if error.kind() != ErrorKind::AlreadyExists {
            return Err(error);
        }
        if !leads_there(&new) {
            let _ = fs::remove_file(&new);
            symlink(&target, &new)?;
        }
    }
    match fs::rename(&new, path) {
        Err(error) if error.kind() == ErrorKind::NotFound && leads_there(path) => Ok(()),
        renamed => renamed,
    }
}

/// Elsewhere links need privileges: the content itself gets the name, as huggingface_hub does it then.
#[cfg(not(unix))]
fn link(blob: &Path, path: &Path, _etag: &str) -> std::io::Result<()> {
    fs::rename(blob, path)
}

/// Removes a file or link, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(HubError::io(path, cause)),
        _ => Ok(()),
    }
}

fn create_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|cause| HubError::io(parent, cause))
}
