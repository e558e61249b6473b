//! Where slices come from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::{MaskName, folder, list, nnunet};
use crate::listing::and_more;
use crate::prepare::{DatasetIndex, Split};
use crate::{Error, Preprocessor, Result, Wanted, list_files};

/// Extensions taken for images, in lower case.
pub(super) const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "tif", "tiff"];

/// A place that holds images with masks: an entry of `data.paths`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder in which `images/NAME.png` (or JPEG, TIFF) belongs to `masks/NAME.png` and, if that folder exists,
    /// `regions/NAME.png`. `dataset.json`, if there, names each slice's volume:
    /// `{"slices": [{"name": "a_000", "volume": "a"}, ...]}`; without it each image is a volume of its own. In the layout
    /// "channels" the images of NAME are `images/NAME_0000.png`, `images/NAME_0001.png`, ..., one for each channel.
    Folder(PathBuf),
    /// A CSV file with the columns `image` and `mask` (paths relative to the file) and perhaps `group` (the volume)
    /// and `split` ("train" or "validation"). Several channels are the columns `image`, `image_1`, `image_2`, ..., or
    /// columns with the channels' own names.
    List(PathBuf),
    /// A raw dataset of nnU-Net with 2D images: `dataset.json`, `imagesTr/CASE_0000.png` (`CASE_0001.png`, ... for further
    /// channels), `labelsTr/CASE.png`.
    NnUnet(PathBuf),
}

/// Files that belong together.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) split: Option<Split>,
    /// One file, or one for each channel.
    pub(super) images: Vec<PathBuf>,
    pub(super) mask: PathBuf,
    pub(super) regions: Option<PathBuf>,
}

/// What a source holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    /// What is wrong with other files.
    pub(super) problems: Vec<Error>,
    /// Masks without an image.
    pub(super) unused: Vec<PathBuf>,
    /// The value of mask pixels that do not count.
    pub(super) ignore: Option<u16>,
    /// What was passed over or guessed.
    pub(super) warnings: Vec<String>,
}

impl Source {
    /// Tells what kind of source a path is.
    ///
    /// # Errors
    /// [`Error::Setting`] for a path that is none.
    pub fn at(path: &Path) -> Result<Self> {
        let is_csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        if path.join("images").is_dir() {
            Ok(Self::Folder(path.into()))
        } else if path.join(nnunet::IMAGES).is_dir() {
            Ok(Self::NnUnet(path.into()))
        } else if is_csv && path.is_file() {
            Ok(Self::List(path.into()))
        } else {
            let found = match path.exists() {
                true => "has none of these",
                false if path.is_relative() => "does not exist below the current folder",
                false => "does not exist",
            };
            let allowed = format!(
                "{found}: a folder with images/ and masks/ (as `unet3p prepare` writes them), an nnU-Net dataset with imagesTr/ and labelsTr/, or a CSV file with the columns image and mask is needed"
            );
            Err(Error::setting("data.paths", path.display(), allowed))
        }
    }

    /// The folder or the list.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::List(path) | Self::NnUnet(path) => path,
        }
    }

    /// The folder that everything lies in.
    fn folder(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::NnUnet(path) => path,
            Self::List(path) => path.parent().unwrap_or(Path::new("")),
        }
    }

    /// The source's `preprocessor_config.json`, if there is one.
    ///
    /// # Errors
    /// As [`Preprocessor::load`].
    pub fn preprocessor(&self) -> Result<Option<Preprocessor>> {
        let exists = self.folder().join(Preprocessor::FILE_NAME).exists();
        exists.then(|| Preprocessor::load(self.folder())).transpose()
    }

    /// Names of the classes 1, 2, ... where the source tells them.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] for a `dataset.json` that cannot be read, or whose names do not tell the classes
    /// apart (see [`check_class_names`](crate::check_class_names)).
    pub fn class_names(&self) -> Result<Vec<String>> {
        Ok(match self {
            Self::Folder(path) => {
                let index = folder::read_index(&path.join(DatasetIndex::FILE_NAME))?;
                index.map(|index| index.class_names()).unwrap_or_default()
            }
            Self::NnUnet(path) => nnunet::read_labels(path)?.classes,
            Self::List(_) => Vec::new(),
        })
    }

    /// Names of the channels where each case has a file for each of them: the columns of a list, or what nnU-Net's index
    /// says of `CASE_0000`, `CASE_0001`, ...; nothing where a case is one file.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] for an index, a list or a folder that cannot be read.
    pub fn channel_names(&self) -> Result<Option<Vec<String>>> {
        match self {
            Self::Folder(_) => Ok(None),
            Self::List(path) => list::channel_names(path),
            Self::NnUnet(path) => nnunet::channel_names(path),
        }
    }

    /// The files that belong together.
    pub(super) fn list(&self, rule: Option<&MaskName>, how: &Preprocessor) -> Result<Listing> {
        match self {
            Self::Folder(path) => folder::list(path, rule, how),
            Self::List(path) => list::list(path, how),
            Self::NnUnet(path) => nnunet::list(path, how),
        }
    }
}

/// The sources of paths, none of which may be there twice: its slices would count twice.
pub(super) fn distinct(paths: &[PathBuf]) -> Result<Vec<Source>> {
    let mut seen: HashMap<PathBuf, PathBuf> = HashMap::new();
    let once = |path: &PathBuf| {
        let source = Source::at(path)?;
        match seen.insert(real(path), path.clone()) {
            None => Ok(source),
            Some(other) => {
                let allowed = format!(
                    "is there twice, also as {}: its slices would count twice; name it once",
                    other.display()
                );
                Err(Error::setting("data.paths", path.display(), allowed))
            }
        }
    };
    paths.iter().map(once).collect()
}

/// A word on images that are listed more than once, by several sources or by links: their slices count as often.
pub(super) fn shared<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<String> {
    let mut seen = HashSet::new();
    let again: Vec<&PathBuf> =
        entries.filter_map(|entry| entry.images.first()).filter(|image| !seen.insert(real(image))).collect();
    let first = again.first()?;
    let more = and_more(first, again.len());
    Some(format!("{more}: listed more than once by data.paths, so that these slices count more than once"))
}

/// A path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

impl Listing {
    /// The files below a folder that have one of the `extensions`, by the path below it without extension. What cannot be
    /// told apart becomes a problem, what is passed over a warning.
    pub(super) fn files(&mut self, dir: &Path, extensions: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
        let listing = list_files(dir, Wanted { endings: extensions, skip: None, outputs: false })?;
        self.warnings.extend_from_slice(&listing.warnings);
        Ok(listing.by_name(&mut self.problems))
    }
}
