//! Which files a run works on.

use std::fs;
use std::path::{Path, PathBuf};

use unet3p_data::{Wanted, list_files};

use crate::failure::{Failure, describe};

/// What an input is, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A PNG, JPEG or TIFF image.
    Image,
    /// A `.npy` array: the network's input as it is.
    Array,
    /// A NIfTI volume.
    Volume,
}

/// The endings that are read.
const ENDINGS: [(&str, Kind); 8] = [
    ("png", Kind::Image),
    ("jpg", Kind::Image),
    ("jpeg", Kind::Image),
    ("tif", Kind::Image),
    ("tiff", Kind::Image),
    ("npy", Kind::Array),
    ("nii", Kind::Volume),
    ("nii.gz", Kind::Volume),
];

/// The same for messages.
const ENDINGS_TEXT: &str = ".png, .jpg, .jpeg, .tif, .tiff, .npy, .nii or .nii.gz";

/// One file to segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Its path below the folder that was named, without the ending; outputs are named after it.
    pub(crate) stem: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
    /// Whether the file itself was named, and not a folder above it.
    pub(crate) named: bool,
}

impl Input {
    pub(super) fn new(path: PathBuf, relative: &Path, named: bool) -> Option<Self> {
        let kind = kind_of(relative)?;
        let mut stem = relative.with_extension("");
        if has_ending(relative, "gz") && has_ending(&stem, "nii") {
            stem.set_extension("");
        }
        Some(Self { path, stem, kind, named })
    }
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

/// What a path's name says it is; `None` for what is not read.
pub(super) fn kind_of(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    ENDINGS.iter().find_map(|&(ending, kind)| {
        let stem = name.strip_suffix(ending)?.strip_suffix('.')?;
        (!stem.is_empty()).then_some(kind)
    })
}

/// The files behind `paths`: files as they are, folders as [`list_files`] lists them, without the folder `skip` (the
/// outputs, where they lie below the inputs). What a folder holds beside inputs is warned of.
///
/// `outputs` enters folders that an earlier run wrote.
///
/// # Errors
/// Wrong usage: a path that does not exist, a named file of an unknown kind, or nothing found at all.
pub(crate) fn discover(paths: &[PathBuf], skip: Option<&Path>, outputs: bool) -> Result<Vec<Input>, Failure> {
    let endings = ENDINGS.map(|(ending, _)| ending);
    let mut found = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path)
            .map_err(|e| Failure::usage(format!("{}: cannot be read: {e}", path.display())))?;
        if metadata.is_dir() {
            let listing = list_files(path, Wanted { endings: &endings, skip, outputs })
                .map_err(|e| Failure::usage(describe(&e)))?;
            listing.warnings.iter().for_each(|warning| log::warn!("{warning}"));
            found.extend(listing.files.into_iter().filter_map(|file| {
                Some(Input { kind: kind_of(&file.relative)?, path: file.path, stem: file.stem, named: false })
            }));
        } else {
            let relative = path.file_name().map(Path::new).unwrap_or(path);
            let input = Input::new(path.clone(), relative, true).ok_or_else(|| {
                Failure::usage(format!(
                    "{}: this kind of file is not read; use {ENDINGS_TEXT}",
                    path.display()
                ))
            })?;
            found.push(input);
        }
    }
    if found.is_empty() {
        let names: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(Failure::usage(format!(
            "{}: no input found; a folder needs files that end in {ENDINGS_TEXT}",
            names.join(", ")
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kind_and_stem() {
        let cases = [
            ("a/scan.nii.gz", Some((Kind::Volume, "a/scan"))),
            ("scan.NII", Some((Kind::Volume, "scan"))),
            ("v1.2/x.y.png", Some((Kind::Image, "v1.2/x.y"))),
            ("x.nii.png", Some((Kind::Image, "x.nii"))),
            ("x.JPEG", Some((Kind::Image, "x"))),
            ("x.npy", Some((Kind::Array, "x"))),
            ("x.gz", None),
            ("png", None),
            (".png", None),
            ("x.png.txt", None),
        ];
        for (name, expected) in cases {
            let input = Input::new(name.into(), Path::new(name), true);
            let got = input.as_ref().map(|i| (i.kind, i.stem.to_str().unwrap()));
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn folders_are_walked_without_the_outputs() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b/2.png", "b/1.nii.gz", "a.npy", "out/old_mask.png", "c/.hidden.png", "c/notes.txt"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = discover(&[root.path().into()], Some(&root.path().join("out")), false).unwrap();
        let found: Vec<_> = found.iter().map(|i| (i.stem.to_str().unwrap(), i.kind)).collect();
        assert_eq!(found, [("a", Kind::Array), ("b/1", Kind::Volume), ("b/2", Kind::Image)]);
        let error = discover(&[root.path().join("c")], None, false).unwrap_err();
        assert!(matches!(error, Failure::Usage(_)), "{error}");
    }
}
