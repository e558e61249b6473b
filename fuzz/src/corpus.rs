//! The files that fuzzing begins with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// Sound files: `TARGET/NAME`, made by the binary `corpus` and by `hdf5.py`.
pub fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Files that a reader once did not stand: `TARGET/NAME`.
pub fn regressions_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

/// All files of a target with their contents, by name: its corpus, its regressions, its golden files.
///
/// # Errors
/// Where one cannot be read.
pub fn files_of(target: &Target) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut paths = Vec::new();
    for folder in [corpus_folder(), regressions_folder()] {
        let folder = folder.join(target.name);
        if folder.is_dir() {
            for entry in fs::read_dir(folder)? {
                paths.push(entry?.path());
            }
        }
    }
    paths.sort();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    paths.extend(target.golden.iter().map(|file| golden.join(file)));
    paths.into_iter().map(|path| fs::read(&path).map(|bytes| (path, bytes))).collect()
}
