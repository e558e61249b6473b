//! The folder in which targets leave the files that readers open.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder for temporary files");
}

/// A folder of this thread for one target, filled by `fill` when it is first asked for.
pub(crate) fn folder(target: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().join(target));
    if !path.exists() {
        fs::create_dir(&path).expect("a folder for the target");
        fill(&path);
    }
    path
}

/// Writes a file of a target's folder.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("room for a file of the target");
}

/// The bytes as the file `name` in a folder of this thread.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder("file", |_| {}).join(name);
    write(&path, bytes);
    path
}
