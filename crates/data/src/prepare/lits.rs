//! The layout of the Liver Tumor Segmentation benchmark (LiTS; Bilic et al. 2023, arXiv:1901.04056).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::pairs::{VOLUMES, volume_name};
use super::{ClassLabels, Validation, VolumePair};
use crate::{Error, ListedFile, Result, list_files};

/// Label of the liver in LiTS's label maps.
const LIVER: u16 = 1;
/// Label of tumours.
const TUMOR: u16 = 2;

/// What becomes of LiTS's tumours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tumors {
    /// They are liver: one class.
    Merge,
    /// A class of their own: liver is 1, tumor 2.
    Keep,
}

impl Tumors {
    /// The classes of the slices.
    pub fn classes(self) -> Vec<ClassLabels> {
        let class = |name: &str, labels: &[u16]| ClassLabels { name: name.into(), labels: labels.into() };
        match self {
            Self::Merge => vec![class("liver", &[LIVER, TUMOR])],
            Self::Keep => vec![class("liver", &[LIVER]), class("tumor", &[TUMOR])],
        }
    }
}

/// The training volumes of LiTS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lits {
    volumes: BTreeMap<u32, VolumePair>,
}

impl Lits {
    /// The highest number of a volume that is validated on by custom: those of the benchmark's first training
    /// batch.
    pub const LAST_VALIDATION: u32 = 27;

    /// Finds `volume-N.nii` and `segmentation-N.nii` (or `.nii.gz`) in a folder and the folders inside it, as the two
    /// training batches are unpacked.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be listed; [`Error::File`] when there is no volume, a volume has no
    /// segmentation or a segmentation no volume (all are named), or a number is there twice.
    pub fn find(root: &Path) -> Result<Self> {
        let (mut images, mut labels) = (BTreeMap::new(), BTreeMap::new());
        collect(root, &mut images, &mut labels)?;
        if images.is_empty() {
            return Err(Error::file(root, "holds no LiTS volume (volume-N.nii or volume-N.nii.gz)"));
        }
        let missing = |of: &BTreeMap<u32, PathBuf>, there: &BTreeMap<u32, PathBuf>, name: &str| {
            let names: Vec<_> = of
                .keys()
                .filter(|number| !there.contains_key(number))
                .map(|n| format!("{name}-{n}.nii"))
                .collect();
            if names.is_empty() {
                Ok(())
            } else {
                Err(Error::file(root, format!("lacks {}", names.join(", "))))
            }
        };
        missing(&images, &labels, "segmentation")?;
        missing(&labels, &images, "volume")?;
        let pair = |((number, image), labels)| {
            (number, VolumePair { name: format!("volume-{number}"), image, labels })
        };
        Ok(Self { volumes: images.into_iter().zip(labels.into_values()).map(pair).collect() })
    }

    /// The volumes, by number.
    pub fn pairs(&self) -> Vec<VolumePair> {
        self.volumes.values().cloned().collect()
    }

    /// Keeps the volumes up to a number for validation.
    pub fn validation(&self, last: u32) -> Validation {
        Validation::Volumes(self.volumes.range(..=last).map(|(_, pair)| pair.name.clone()).collect())
    }
}

/// Sorts the files below a folder by what their names say.
fn collect(
    folder: &Path,
    images: &mut BTreeMap<u32, PathBuf>,
    labels: &mut BTreeMap<u32, PathBuf>,
) -> Result<()> {
    let listing = list_files(folder, VOLUMES)?;
    listing.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let mut others: Vec<PathBuf> = Vec::new();
    for ListedFile { path, .. } in listing.files {
        let name = volume_name(&path);
        let files = match name.as_deref().and_then(|name| name.split_once('-')) {
            Some(("volume", number)) => number.parse().ok().map(|number| (number, &mut *images)),
            Some(("segmentation", number)) => number.parse().ok().map(|number| (number, &mut *labels)),
            _ => None,
        };
        let Some((number, files)) = files else {
            others.push(path);
            continue;
        };
        if let Some(other) = files.insert(number, path.clone()) {
            return Err(Error::file(&path, format!("has the same number as {}", other.display())));
        }
    }
    if let Some(first) = others.first() {
        let more = if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
        log::warn!(
            "{}{more}: passed over, because the name is not volume-N or segmentation-N",
            first.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        dir
    }

    #[test]
    fn both_batches_are_found_and_split_by_number() {
        let dir = folder(&[
            "Training Batch 1/volume-3.nii",
            "Training Batch 1/segmentation-3.nii",
            "Training Batch 2/volume-28.nii.gz",
            "Training Batch 2/segmentation-28.nii",
            "Training Batch 2/volume-100.nii",
            "Training Batch 2/segmentation-100.nii.gz",
            "readme.txt",
            "other-1.nii",
        ]);
        let lits = Lits::find(dir.path()).unwrap();
        let names: Vec<String> = lits.pairs().into_iter().map(|pair| pair.name).collect();
        assert_eq!(names, ["volume-3", "volume-28", "volume-100"]);
        assert!(lits.pairs()[1].labels.ends_with("Training Batch 2/segmentation-28.nii"));
        let validation = lits.validation(Lits::LAST_VALIDATION);
        assert_eq!(validation, Validation::Volumes(vec!["volume-3".into()]));
    }

    #[test]
    fn what_does_not_belong_together_is_named() {
        let problem = |files: &[&str]| Lits::find(folder(files).path()).unwrap_err().to_string();
        assert!(problem(&["liver.nii"]).contains("volume-N.nii"));
        let lacks = problem(&["volume-1.nii", "volume-2.nii", "segmentation-2.nii"]);
        assert!(lacks.contains("lacks segmentation-1.nii"), "{lacks}");
        let lacks = problem(&["volume-1.nii", "segmentation-1.nii", "segmentation-7.nii"]);
        assert!(lacks.contains("lacks volume-7.nii"), "{lacks}");
        assert!(problem(&["a/volume-1.nii", "b/volume-1.nii.gz"]).contains("same number"));
    }
}
