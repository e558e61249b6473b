//! The files of a folder: one rule for every command that is given a folder.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The record that prediction writes. A folder that holds one is an output.
pub const OUTPUT_RECORD: &str = "predictions.json";

/// Endings of files that accompany data. They are passed over without a warning.
const COMPANIONS: [&str; 14] =
    ["json", "csv", "tsv", "txt", "md", "toml", "yaml", "yml", "xml", "html", "pdf", "log", "py", "sh"];

/// Names without an ending that are those of a folder's papers. They are passed over without a warning.
const PAPERS: [&str; 12] = [
    "authors",
    "changelog",
    "changes",
    "citation",
    "copying",
    "contributing",
    "licence",
    "license",
    "makefile",
    "notice",
    "readme",
    "version",
];

/// What [`list_files`] looks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The endings of wanted files without the leading dot, in lower case, such as `"nii.gz"`. Upper case in file names
    /// is the same.
    pub endings: &'a [&'a str],
    /// A folder that is passed over without a warning: where outputs will go.
    pub skip: Option<&'a Path>,
    /// Whether folders with an [`OUTPUT_RECORD`] below the listed one are entered. Masks that were predicted are
    /// looked for there; inputs and labels are not.
    pub outputs: bool,
}

/// A file below a listed folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// The folder's path and [`ListedFile::relative`].
    pub path: PathBuf,
    /// The path below the folder.
    pub relative: PathBuf,
    /// The path below the folder without the ending.
    pub stem: PathBuf,
}

impl ListedFile {
    /// [`ListedFile::stem`] with `/` between folders.
    pub(crate) fn name(&self) -> Result<String> {
        let parts: Option<Vec<&str>> = self.stem.iter().map(|part| part.to_str()).collect();
        let name = parts.map(|parts| parts.join("/"));
        name.ok_or_else(|| Error::file(&self.path, "has a name that is not UTF-8: rename it"))
    }
}

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderListing {
    /// The wanted files, folder by folder in the order of their names.
    pub files: Vec<ListedFile>,
    /// What was passed over although the user may have meant it.
    pub warnings: Vec<String>,
}

/// Lists the wanted files of a folder and of all folders below it.
///
/// Names with a leading dot are passed over. Links are followed, each folder is entered once. Other things than files
/// (folders, pipes, devices) that are named like a wanted file are listed: reading one is an error that names it.
///
/// # Errors
/// [`Error::Io`] for a folder that cannot be read.
///
/// ```
/// use unet3p_data::{Wanted, list_files};
/// # let dir = tempfile::tempdir().unwrap();
/// # std::fs::create_dir(dir.path().join("day 1")).unwrap();
/// # std::fs::write(dir.path().join("day 1/scan.NII.GZ"), "").unwrap();
/// # std::fs::write(dir.path().join("photo.bmp"), "").unwrap();
/// let wanted = Wanted { endings: &["nii", "nii.gz"], skip: None, outputs: false };
/// let listing = list_files(dir.path(), wanted)?;
/// assert_eq!(listing.files[0].stem, std::path::Path::new("day 1/scan"));
/// assert!(listing.warnings[0].contains(".bmp"));
/// # Ok::<(), unet3p_data::Error>(())
/// ```
pub fn list_files(folder: &Path, wanted: Wanted<'_>) -> Result<FolderListing> {
    let mut walk = Walk {
        root: folder,
        wanted,
        skip: wanted.skip.and_then(|skip| fs::canonicalize(skip).ok()),
        seen: HashSet::new(),
        others: BTreeMap::new(),
        found: FolderListing::default(),
    };
    walk.enter(folder)?;
    Ok(walk.finish())
}

/// The length of the wanted ending of a file name with its dot, the longest one; nothing for other names.
pub(crate) fn ending_len(name: &str, endings: &[&str]) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    let fits = |ending: &&&str| {
        name.strip_suffix(**ending)
            .and_then(|stem| stem.strip_suffix('.'))
            .is_some_and(|stem| !stem.is_empty())
    };
    endings.iter().filter(fits).map(|ending| ending.len() + 1).max()
}

/// The first of `count` files, and how many others there are.
pub(crate) fn and_more(first: &Path, count: usize) -> String {
    match count {
        0 | 1 => first.display().to_string(),
        count => format!("{} and {} more", first.display(), count - 1),
    }
}

struct Walk<'a> {
    root: &'a Path,
    wanted: Wanted<'a>,
    skip: Option<PathBuf>,
    /// Folders already entered, by their real path: links may lead in circles.
    seen: HashSet<PathBuf>,
    /// Endings of files that are passed over ("" for none), with the first file of each and their number.
    others: BTreeMap<String, (PathBuf, usize)>,
    found: FolderListing,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Path) -> Result<()> {
        let failed = |source| Error::io(folder, "read the folder", source);
        let real = fs::canonicalize(folder).map_err(failed)?;
        let below = folder != self.root;
        if (below && self.skip.as_ref() == Some(&real)) || !self.seen.insert(real) {
            return Ok(());
        }
        if below && !self.wanted.outputs && folder.join(OUTPUT_RECORD).is_file() {
            self.found.warnings.push(format!(
                "{}: is passed over, because it holds outputs of an earlier run ({OUTPUT_RECORD})",
                folder.display()
            ));
            return Ok(());
        }
        let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
        let mut entries = entries.map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            self.visit(entry.path())?;
        }
        Ok(())
    }

    fn visit(&mut self, path: PathBuf) -> Result<()> {
        // Only the ending decides, so a name that is not UTF-8 is listed as well.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ending = ending_len(&name, self.wanted.endings);
        if ending.is_none() && path.is_dir() {
            return self.enter(&path);
        }
        let Some(ending) = ending else {
            self.pass_over(path);
            return Ok(());
        };
        let relative = path.strip_prefix(self.root).unwrap_or(&path).to_path_buf();
        let dots = name[name.len() - ending..].matches('.').count();
        let stem = (0..dots).fold(relative.clone(), |stem, _| stem.with_extension(""));
        self.found.files.push(ListedFile { path, relative, stem });
        Ok(())
    }

    /// Counts a file that is not wanted.
    fn pass_over(&mut self, path: PathBuf) {
        let lower = |text: &std::ffi::OsStr| text.to_string_lossy().to_lowercase();
        let ending = path.extension().map(lower).unwrap_or_default();
        let is_paper =
            ending.is_empty() && PAPERS.contains(&lower(path.file_name().unwrap_or_default()).as_str());
        if !is_paper && !COMPANIONS.contains(&ending.as_str()) {
            self.others.entry(ending).or_insert((path, 0)).1 += 1;
        }
    }

    fn finish(mut self) -> FolderListing {
        for (ending, (first, count)) in self.others {
            let kind = if ending.is_empty() {
                "files without an ending".to_owned()
            } else {
                format!(".{ending} files")
            };
            self.found.warnings.push(format!(
                "{}: passed over, because {kind} are not read here (.{} are)",
                and_more(&first, count),
                self.wanted.endings.join(", .")
            ));
        }
        self.found
    }
}

impl FolderListing {
    /// The files by their names: the path below the folder without the ending, with `/` between folders.
    ///
    /// A file whose name is not UTF-8, or is the name of another file as well, becomes a problem.
    pub(crate) fn by_name(self, problems: &mut Vec<Error>) -> BTreeMap<String, PathBuf> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        for file in self.files {
            match file.name().map(|name| files.entry(name)) {
                Ok(Entry::Vacant(entry)) => {
                    entry.insert(file.path);
                }
                Ok(Entry::Occupied(other)) => {
                    let problem = format!("has the same name as {}", other.get().display());
                    problems.push(Error::file(&file.path, problem));
                }
                Err(problem) => problems.push(problem),
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: Wanted<'_> = Wanted { endings: &["png", "nii", "nii.gz"], skip: None, outputs: false };

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn stems(listing: &FolderListing) -> Vec<&str> {
        listing.files.iter().map(|file| file.stem.to_str().unwrap()).collect()
    }

    #[test]
    fn folders_are_searched_to_the_bottom_in_order() {
        let dir = folder(&[
            "b/2.png",
            "b/1.NII.gz",
            "a.x.png",
            "c/d/e.Nii",
            "c/.hidden.png",
            "._a.png",
            ".g/h.png",
            ".png",
        ]);
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path(), dir.path().join("b/circle")).unwrap();
        let listing = list_files(dir.path(), IMAGES).unwrap();
        assert_eq!(stems(&listing), ["a.x", "b/1", "b/2", "c/d/e"]);
        assert!(listing.warnings.is_empty(), "{:?}", listing.warnings);
        assert!(list_files(&dir.path().join("none"), IMAGES).is_err());
    }

    #[test]
    fn what_is_left_out_is_said() {
        let dir = folder(&[
            "a.png",
            "b.bmp",
            "c/d.bmp",
            "e.nii.zip",
            "notes.txt",
            "LICENSE",
            "Readme",
            "IM0001",
            "c/IM0002",
            "out/predictions.json",
            "out/x.png",
        ]);
        let listing = list_files(dir.path(), IMAGES).unwrap();
        assert_eq!(stems(&listing), ["a"]);
        let [out, none, bmp, zip] = listing.warnings.as_slice() else { panic!("{:?}", listing.warnings) };
        assert!(none.contains("IM0001 and 1 more") && none.contains("without an ending"), "{none}");
        assert!(out.contains("out: is passed over") && out.contains("predictions.json"), "{out}");
        assert!(bmp.contains("b.bmp and 1 more") && bmp.contains(".nii.gz"), "{bmp}");
        assert!(zip.contains("e.nii.zip:"), "{zip}");
        // A folder that is named itself is listed, and so are outputs where they are asked for.
        let out = dir.path().join("out");
        assert_eq!(stems(&list_files(&out, IMAGES).unwrap()), ["x"]);
        assert_eq!(
            stems(&list_files(dir.path(), Wanted { outputs: true, ..IMAGES }).unwrap()),
            ["a", "out/x"]
        );
        let skipped = list_files(dir.path(), Wanted { skip: Some(&out), ..IMAGES }).unwrap();
        assert!(
            !skipped.warnings.iter().any(|warning| warning.contains("predictions")),
            "{:?}",
            skipped.warnings
        );
    }

    #[test]
    fn names_that_cannot_be_told_apart_are_problems() {
        let dir = folder(&["a/1.png", "a/1.nii", "b/1.png"]);
        #[cfg(target_os = "linux")]
        fs::write(
            dir.path().join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff.png")),
            "",
        )
        .unwrap();
        let mut problems = Vec::new();
        let names = list_files(dir.path(), IMAGES).unwrap().by_name(&mut problems);
        assert_eq!(names.keys().collect::<Vec<_>>(), ["a/1", "b/1"]);
        let problems: Vec<String> = problems.iter().map(Error::to_string).collect();
        assert!(problems.iter().any(|problem| problem.contains("same name")), "{problems:?}");
        #[cfg(target_os = "linux")]
        assert!(problems.iter().any(|problem| problem.contains("not UTF-8")), "{problems:?}");
    }
}
