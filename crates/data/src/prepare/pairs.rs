//! Which label map belongs to which volume.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Error, Result, Wanted, list_files};

/// A volume and its label map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePair {
    /// Name that slices are called by.
    pub name: String,
    /// The image, `.nii` or `.nii.gz`.
    pub image: PathBuf,
    /// The label map on the same grid.
    pub labels: PathBuf,
}

impl VolumePair {
    /// A pair named after the image's file.
    pub fn new(image: impl Into<PathBuf>, labels: impl Into<PathBuf>) -> Self {
        let (image, labels) = (image.into(), labels.into());
        Self { name: volume_name(&image).unwrap_or_else(|| image.display().to_string()), image, labels }
    }
}

/// What nnU-Net adds to the name of a case's first channel.
const FIRST_CHANNEL: &str = "_0000";

/// Pairs the volumes of two folders by name: `images/NAME.nii.gz` with `labels/NAME.nii.gz` (or `.nii`).
///
/// As in a raw dataset of nnU-Net, the volume may also be called `NAME_0000.nii.gz`.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be listed; [`Error::File`] when `images` holds no volume, a volume
/// has no label map or a label map no volume (all are named), two files share a name, or a case has more
/// than one channel.
pub fn match_folders(images: &Path, labels: &Path) -> Result<Vec<VolumePair>> {
    let (volumes, mut maps) = (list_volumes(images)?, list_volumes(labels)?);
    if volumes.is_empty() {
        return Err(Error::file(images, "holds no volume (.nii or .nii.gz)"));
    }
    let mut pairs = Vec::new();
    let mut missing = Vec::new();
    for (name, image) in volumes {
        let case = name.strip_suffix(FIRST_CHANNEL).filter(|case| maps.contains_key(*case));
        let name = case.map_or(name.clone(), String::from);
        match maps.remove(&name) {
            Some(labels) => pairs.push(VolumePair { name, image, labels }),
            None if pairs.last().is_some_and(|pair| is_channel_of(&name, &pair.name)) => {
                return Err(Error::file(&image, "is a second channel of its case; one is read"));
            }
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        return Err(Error::file(labels, format!("has no label map named {}", missing.join(", "))));
    }
    if !maps.is_empty() {
        let left: Vec<String> = maps.into_keys().collect();
        return Err(Error::file(
            images,
            format!("has no volume for the label maps named {}", left.join(", ")),
        ));
    }
    Ok(pairs)
}

/// Whether a name is that of a case with the number of a channel: `CASE_0001`.
fn is_channel_of(name: &str, case: &str) -> bool {
    let number = name.strip_prefix(case).and_then(|rest| rest.strip_prefix('_'));
    number.is_some_and(|number| number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The volumes below a folder by their names; what is passed over is logged.
fn list_volumes(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let listing = list_files(folder, VOLUMES)?;
    listing.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let mut problems = Vec::new();
    let volumes = listing.by_name(&mut problems);
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(volumes),
    }
}

/// The volumes of a folder.
pub(super) const VOLUMES: Wanted<'_> = Wanted { endings: &["nii", "nii.gz"], skip: None, outputs: false };

/// The file's name without `.nii` or `.nii.gz`; nothing for other files.
pub(super) fn volume_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let lower = name.to_ascii_lowercase();
    let ending = VOLUMES
        .endings
        .iter()
        .filter(|ending| lower.ends_with(&format!(".{ending}")))
        .map(|e| e.len())
        .max()?;
    let stem = &name[..name.len() - ending - 1];
    (!stem.is_empty() && !stem.starts_with('.')).then(|| stem.to_owned())
}
