//! Which files a run works on.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

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
    fn new(path: PathBuf, relative: &Path, named: bool) -> Option<Self> {
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
fn kind_of(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    ENDINGS.iter().find_map(|&(ending, kind)| {
        let stem = name.strip_suffix(ending)?.strip_suffix('.')?;
        (!stem.is_empty()).then_some(kind)
    })
}

/// The files behind `paths`: files as they are, folders recursively in the order of their names.
///
/// In folders, names with a leading dot and files of other kinds are passed over, and so is the folder `skip`
/// (the outputs, where they lie below the inputs).
///
/// # Errors
/// Wrong usage: a path that does not exist, a named file of an unknown kind, or nothing found at all.
pub(crate) fn discover(paths: &[PathBuf], skip: &Path) -> Result<Vec<Input>, Failure> {
    let skip = fs::canonicalize(skip).ok();
    let mut found = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path)
            .map_err(|e| Failure::usage(format!("{}: cannot be read: {e}", path.display())))?;
        if metadata.is_dir() {
            let mut walk =
                Walk { root: path, skip: skip.as_deref(), seen: HashSet::new(), found: &mut found };
            walk.folder(path)?;
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

/// The recursive walk below one named folder.
struct Walk<'a> {
    root: &'a Path,
    skip: Option<&'a Path>,
    /// Folders already entered, by their real path: links may lead in circles.
    seen: HashSet<PathBuf>,
    found: &'a mut Vec<Input>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path) -> Result<(), Failure> {
        let unreadable = |path: &Path, e: std::io::Error| {
            Failure::usage(format!("{}: cannot be read: {e}", path.display()))
        };
        let real = fs::canonicalize(folder).map_err(|e| unreadable(folder, e))?;
        if (folder != self.root && self.skip == Some(&real)) || !self.seen.insert(real) {
            return Ok(());
        }
        let mut entries = fs::read_dir(folder)
            .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
            .map_err(|e| unreadable(folder, e))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            // Follows links; one that leads nowhere is passed over like any other file that is no input.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            if metadata.is_dir() {
                self.folder(&path)?;
            } else {
                let relative = path.strip_prefix(self.root).unwrap_or(&path);
                self.found.extend(Input::new(path.clone(), relative, false));
            }
        }
        Ok(())
    }
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
    fn folders_are_walked_in_order_without_the_outputs() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b/2.png", "b/1.nii.gz", "a.npy", "out/old_mask.png", "c/.hidden.png", "c/notes.txt"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.path(), root.path().join("b/circle")).unwrap();
        let found = discover(&[root.path().into()], &root.path().join("out")).unwrap();
        let stems: Vec<_> = found.iter().map(|i| i.stem.to_str().unwrap()).collect();
        assert_eq!(stems, ["a", "b/1", "b/2"]);
        let error = discover(&[root.path().join("c")], Path::new("")).unwrap_err();
        assert!(matches!(error, Failure::Usage(_)), "{error}");
    }
}
