//! Which files a run works on.

use std::fs;
use std::path::{Path, PathBuf};

use unet3p_data::{Wanted, list_files};

use super::error::PlanError;
use crate::read_npy_shape;

/// What an input is, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
pub(super) const ENDINGS_TEXT: &str = ".png, .jpg, .jpeg, .tif, .tiff, .npy, .nii or .nii.gz";

/// One file to segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it lies; of several channels the first one's file.
    pub path: PathBuf,
    /// All files of its case, one for each channel; else `path` alone.
    pub files: Vec<PathBuf>,
    /// Its path below the folder that was named, without the ending; outputs are named after it.
    pub stem: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Whether the file itself was named, and not a folder above it.
    pub named: bool,
    /// Whether a list says which files its case has.
    pub is_listed: bool,
}

impl Input {
    pub(super) fn new(path: PathBuf, relative: &Path, named: bool) -> Option<Self> {
        let kind = kind_of(relative)?;
        let mut stem = relative.with_extension("");
        if has_ending(relative, "gz") && has_ending(&stem, "nii") {
            stem.set_extension("");
        }
        Some(Self::single(path, stem, kind, named))
    }

    /// An input of one file.
    pub fn single(path: PathBuf, stem: PathBuf, kind: Kind, named: bool) -> Self {
        Self { files: vec![path.clone()], path, stem, kind, named, is_listed: false }
    }
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

/// What a path's name says it is; `None` for what is not read.
pub(crate) fn kind_of(path: &Path) -> Option<Kind> {
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
/// A path that does not exist, a named file of an unknown kind, or nothing found at all.
pub fn discover(paths: &[PathBuf], skip: Option<&Path>, outputs: bool) -> Result<Vec<Input>, PlanError> {
    let endings = ENDINGS.map(|(ending, _)| ending);
    let mut found = Vec::new();
    for path in paths {
        let metadata =
            fs::metadata(path).map_err(|source| PlanError::Unreadable { path: path.clone(), source })?;
        if metadata.is_dir() {
            let listing =
                list_files(path, Wanted { endings: &endings, skip, outputs }).map_err(PlanError::Listing)?;
            listing.warnings.iter().for_each(|warning| log::warn!("{warning}"));
            found.extend(listing.files.into_iter().filter_map(|file| {
                Some(Input::single(file.path, file.stem, kind_of(&file.relative)?, false))
            }));
        } else {
            let relative = path.file_name().map(Path::new).unwrap_or(path);
            let input = Input::new(path.clone(), relative, true)
                .ok_or_else(|| PlanError::UnknownKind { path: path.clone() })?;
            found.push(input);
        }
    }
    if found.is_empty() {
        return Err(PlanError::NoInput { paths: paths.to_vec() });
    }
    Ok(found)
}

/// How many images the array in `path` holds, `None` when it is a single one. An array that cannot be read is
/// named when its turn comes.
pub(crate) fn images_of(path: &Path) -> Option<usize> {
    match read_npy_shape(path).ok()?.as_slice() {
        // an empty array of any number of images is as long as its header
        shape @ [images, _, _, _] if !shape.contains(&0) => Some(*images),
        _ => None,
    }
}

/// `stem` itself, or `stem_0`, `stem_1`, ... with as many digits as the last one has.
pub(crate) fn stems(stem: &Path, count: Option<usize>) -> impl Iterator<Item = PathBuf> {
    let digits = count.unwrap_or(0).saturating_sub(1).to_string().len();
    (0..count.unwrap_or(1)).map(move |index| match count {
        None => stem.to_path_buf(),
        Some(_) => {
            let mut name = stem.as_os_str().to_os_string();
            name.push(format!("_{index:0digits$}"));
            name.into()
        }
    })
}

/// A path in the one spelling that all paths to the same file share, as far as the file exists.
pub(crate) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
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
        assert!(matches!(error, PlanError::NoInput { .. }), "{error}");
    }
}
